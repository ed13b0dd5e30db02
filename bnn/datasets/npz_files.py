"""Arrays in an .npz file from any source: what its headers declare is checked before an array is allocated."""

import math
import os
import struct
import zipfile
import zlib

import numpy as np
from numpy.lib import format as npy

from bnn.datasets.storing import DataError

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_val", "y_val", "class_names")
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of np.savez and np.savez_compressed
MOST_DEFLATED = 1032  # times, by which deflate can shrink anything
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read(path):
    """Read the arrays of a data set. Nothing in the file is executed.

    Args:
        path: Path of an .npz file with the arrays `REQUIRED`, and perhaps `OPTIONAL`. Others are ignored.

    Returns:
        dict from name to array.

    Raises:
        DataError: the file is none, an array is missing or pickled, or a header declares what the file cannot hold.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _expect_names(infos)
            infos = {name: info for name, info in infos.items() if name in REQUIRED + OPTIONAL}
            _expect_sizes(infos.values(), path.stat().st_size)
            for name, info in infos.items():
                _expect_array(archive, name, info)
            return {name: _array(archive, info) for name, info in infos.items()}
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise DataError(
            f"{path}: expected an .npz file that NumPy saved, received another or a damaged one ({reason})"
        ) from None


def _expect_names(names):
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        received = ", ".join(sorted(names)[:10]) or "none"
        raise DataError(
            f"expected the arrays {', '.join(REQUIRED)}, received {received}; {missing[0]} is missing"
        )


def _expect_sizes(infos, file_size):
    """Raise `DataError` unless the members fit the file, and their content fits the memory."""
    packed, content = (sum(getattr(info, size) for info in infos) for size in ("compress_size", "file_size"))
    if packed > file_size or any(info.file_size > MOST_DEFLATED * info.compress_size for info in infos):
        raise DataError(
            f"expected sizes that a file of {file_size:,} bytes can hold, received {content:,} bytes"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if content > memory:
        raise DataError(
            f"expected at most {memory:,} bytes, the memory of this machine, received {content:,}"
        )


def _expect_array(archive, name, info):
    """Raise `DataError` unless a member's header declares a plain array of exactly the member's size."""
    if info.compress_type not in METHODS:
        raise DataError(f"{name}: expected an array as NumPy saves it, received another kind of compression")
    with archive.open(info) as member:
        version = npy.read_magic(member)
        if version not in HEADERS:
            raise DataError(f"{name}: expected version 1.0 or 2.0 of NumPy's format, received {version}")
        shape, _, dtype = HEADERS[version](member)
        header = member.tell()
    if dtype.hasobject or dtype.kind not in "biufUS":
        raise DataError(f"{name}: expected an array of numbers or texts, received pickled objects or records")
    declared = header + dtype.itemsize * math.prod(shape)
    if min(shape, default=0) < 0 or declared != info.file_size:
        raise DataError(
            f"{name}: expected {info.file_size:,} bytes as the file holds them, "
            f"received a header for {declared:,}"
        )


def _array(archive, info):
    with archive.open(info) as member:
        return np.asarray(npy.read_array(member, allow_pickle=False))
