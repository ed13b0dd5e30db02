"""Small data sets for the tests of the downloader: entries of the catalog, with every kind of container."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile

import numpy as np
from PIL import Image

from bnn.datasets.catalog import Archive, Content, Entry, Gzip, Mirror, Package, Plain


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def contents_of(files):
    return {name: Content(len(content), sha256(content)) for name, content in files.items()}


def toy(files, default_containers, sources, **others):
    """An entry of the catalog, named toy."""
    sources = tuple(Mirror(source) if isinstance(source, str) else source for source in sources)
    return Entry(
        **{
            "name": "toy",
            "folder": "toy",
            "image_shape": (1, 1, 1),
            "files": contents_of(files),
            "test_files": tuple(files)[-1:],
            "validation": 1,
            "class_names": tuple("0123456789"),
            "containers": default_containers,
            "sources": sources,
        }
        | others
    )


# ---- separate files ----

CONTENTS = {"images": bytes(range(256)) * 40, "labels": b"0123456789" * 5}
GZIPPED = {f"{name}.gz": gzip.compress(content) for name, content in CONTENTS.items()}


def gzip_toy(*sources):
    return toy(CONTENTS, (Gzip(),), sources)


def plain_toy(*sources):
    return toy(CONTENTS, (Plain(), Gzip()), sources)


# ---- an archive of the files ----


def tar_bytes(entries, level=6):
    """A .tar.gz of (TarInfo or name, content) pairs, always with the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), level, mtime=0)


MEMBERS = {"one": b"1" * 900, "two": b"22"}
GOOD_ENTRIES = [(f"toy/{name}", content) for name, content in MEMBERS.items()]
TAR = tar_bytes([*GOOD_ENTRIES, ("toy/readme.html", b"<html>")])
VARIANT_MEMBERS = {"one": b"I" * 900, "two": b"II"}
VARIANT = tar_bytes([(f"toy/{name}", content) for name, content in VARIANT_MEMBERS.items()])
ARCHIVE = Archive("toy.tar.gz", sha256(TAR), 1_000_000, "toy")


def tar_toy(*sources):
    return toy(MEMBERS, (ARCHIVE,), sources)


# ---- a package of the files ----

PACKED = tar_bytes([("package/data/one", MEMBERS["one"]), ("package/data/two", MEMBERS["two"])])
PACKAGE = Package("toy@1.0.0", Archive("toy-1.0.0.tgz", sha256(PACKED), 1_000_000, "package/data"))


# ---- batches of labels and planes of pixels: as binary files, pickles and sheets ----

ROWS, PIXELS = 6, 4
_rng = np.random.default_rng(0)
BATCH_NAMES = ("first", "second", "test")
PLANES = {name: _rng.integers(0, 256, (ROWS, 3 * PIXELS), np.uint8) for name in BATCH_NAMES}
LABELS = {name: _rng.integers(0, 10, ROWS).tolist() for name in BATCH_NAMES}
BATCHES = {
    f"{name}.bin": np.column_stack([np.array(LABELS[name], np.uint8), PLANES[name]]).tobytes()
    for name in BATCH_NAMES
}


def png(array):
    """A PNG file of an array of pixels."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def sheet(name):
    """The pixels of a batch, one image per row."""
    return PLANES[name].reshape(ROWS, 3, PIXELS).transpose(0, 2, 1)


def sheet_members():
    """The members of a package of sheets, a dict from name to content."""
    members = {f"{name}.png": png(sheet(name)) for name in BATCH_NAMES}
    members["train_lables.json"] = json.dumps(LABELS["first"] + LABELS["second"]).encode()
    members["test_lables.json"] = json.dumps(LABELS["test"]).encode()
    return members


def package_of(members):
    """The .tgz file of a package."""
    return tar_bytes([(f"package/{name}", content) for name, content in members.items()])


# ---- pickles ----


class Python2Pickler(pickle._Pickler):
    """Pickles as Python 2 did: bytes as its str, arrays of numpy.core."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_bytes(self, value):
        short = len(value) < 256
        self.write(b"U" + bytes([len(value)]) if short else b"T" + struct.pack("<i", len(value)))
        self.write(value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python2_dumps(value):
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def pickled_batch(pixels, labels, **others):
    """A batch in the format of the archive for Python."""
    others = {key.encode(): value for key, value in others.items()}
    return python2_dumps(
        {b"data": pixels, b"labels": labels, b"batch_label": b"testing batch 1 of 1"} | others
    )


PICKLED = {name: pickled_batch(PLANES[name], LABELS[name]) for name in BATCH_NAMES}


def python_archive(members):
    """The archive for Python, with these members."""
    return tar_bytes([(f"toy-py/{name}", content) for name, content in members.items()])


PICKLES = Archive("toy-py.tar.gz", sha256(python_archive(PICKLED)), 1_000_000, "toy-py", form="pickles")
SHEETS = Archive("toy-1.0.0.tgz", sha256(package_of(sheet_members())), 1_000_000, "package", form="sheets")
SHEETS_PACKAGE = Package("toy@1.0.0", SHEETS)


def batches_toy(*sources, **others):
    return toy(BATCHES, (PICKLES,), sources, **others)
