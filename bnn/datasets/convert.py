"""Convert containers to official files: gzip files, tar archives, pickled batches and sheets of pixels.

A container is never trusted. `archives` unpacks only entries with known names and sizes, pickles cannot call anything,
and the header of a sheet is checked before its pixels are decoded.
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
# signature, "IHDR", width, height, bits, color type, interlacing
PNG_HEADER = struct.Struct(">8s4x4sIIBBxxB")
# Pillow and the modules below it raise these errors for damaged files.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def gunzip(path, target, size):
    """Unpack a gzip file, and stop after at most `size` + 1 bytes.

    Raises:
        ConversionError: the file is not a gzip file, is damaged, or does not hold `size` bytes.
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
        raise ConversionError(f"expected a complete gzip file, received a damaged one: {error}") from None
    if left:
        received = f"{size - left:,}" if left > 0 else "more"
        raise ConversionError(f"expected {size:,} bytes of content, received {received}")


def unpack(path, archive, files, stage):
    """Write the official files that an archive holds in any form into a folder.

    Args:
        path: Path of the archive.
        archive: catalog.Archive, the expected content.
        files: dict from the names of the files to catalog.Content.
        stage: Path of the folder. It must not contain a file or folder named "members".

    Raises:
        ConversionError: the archive or one of its members is not as expected.
        OSError: the folder is not writable.
    """
    members = stage / "members"
    members.mkdir()
    try:
        extract(path, archive, members)
        FORMS[archive.form](members, files, stage)
    finally:
        shutil.rmtree(members)


# ---- conversion of the members, by form ----


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
    """Convert a pickled CIFAR-10 batch to the binary form.

    Args:
        name: str, for messages.
        content: bytes of the pickle.

    Returns:
        Bytes: for each of 10,000 images, one byte for the label, then 1,024 bytes each for red, green and blue.

    Raises:
        ConversionError: the pickle is damaged, refers to code, or holds other content.
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
    train, test = (
        _read_labels(members / f"{part}_lables.json", count)
        for part, count in (("train", ROWS * (len(files) - 1)), ("test", ROWS))
    )
    labels = np.concatenate([train, test])
    for k, name in enumerate(files):
        sheet = members / name.replace(".bin", ".png")
        pixels = read_sheet(sheet.name, sheet.read_bytes())
        planes = pixels.reshape(ROWS, PIXELS, 3).transpose(0, 2, 1).reshape(ROWS, -1)
        (stage / name).write_bytes(_batch(planes, labels[k * ROWS : (k + 1) * ROWS]))


def read_sheet(name, content):
    """Read the pixels of a PNG file with one image in each row.

    Args:
        name: str, for messages.
        content: bytes of the file.

    Returns:
        (10000, 1024, 3) uint8 array.

    Raises:
        ConversionError: the file is not a PNG of this size with three channels of 8 bits, or is damaged.
    """
    from PIL import Image

    header = content[: PNG_HEADER.size]
    found = PNG_HEADER.unpack(header) if len(header) == PNG_HEADER.size else None
    if found != (b"\x89PNG\r\n\x1a\n", b"IHDR", PIXELS, ROWS, 8, 2, 0):
        if found is None or found[1] != b"IHDR":
            received = f"one that starts with {content[:16]!r}"
        else:
            received = f"{found[2]} x {found[3]} pixels of {found[4]} bits, color type {found[5]}"
        expected = f"a PNG file of {PIXELS} x {ROWS} pixels of 8 bits in red, green and blue"
        raise ConversionError(f"{name}: expected {expected}, received {received}")
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=["PNG"]) as image,
        ):
            if (image.size, image.mode) != ((PIXELS, ROWS), "RGB"):
                raise ValueError("a second header")
            return np.asarray(image.convert("RGB"))
    except (*DAMAGED, Image.DecompressionBombError) as error:
        raise ConversionError(
            f"{name}: expected a complete PNG file, received a damaged one: {error}"
        ) from None


def _read_labels(path, count):
    try:
        labels = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path.name}: expected a list in JSON, received {error!r:.200}") from None
    return check_labels(path.name, labels, count)


def check_labels(name, labels, count):
    """Convert labels to a (count,) uint8 array.

    Raises:
        ConversionError: the labels are not a list of `count` whole numbers from 0 to 9.
    """
    if not isinstance(labels, list) or len(labels) != count:
        received = f"{len(labels)}" if isinstance(labels, list) else type(labels).__name__
        raise ConversionError(f"{name}: expected a list of {count} labels, received {received}")
    for label in labels:
        if type(label) is not int or not 0 <= label <= 9:
            short = type(label) is int and abs(label) < 10**9
            received = label if short else f"one of type {type(label).__name__}"
            raise ConversionError(f"{name}: expected labels from 0 to 9, received {received}")
    return np.array(labels, np.uint8)


def _batch(planes, labels):
    return np.concatenate([labels[:, None], planes], axis=1).tobytes()


FORMS = {"files": _from_files, "pickles": _from_pickles, "sheets": _from_sheets}
