"""The table of data sets: digests and sizes of the official files, and the sources."""

import hashlib
import subprocess

import pytest

from bnn.datasets.catalog import (
    CIFAR_10,
    ENTRIES,
    MNIST,
    SOURCE_KINDS,
    TINY_SHAKESPEARE,
    Mirror,
    Package,
    listing_digest,
)

every_entry = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)


def test_a_listing_equals_the_output_of_sha256sum(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    printed = subprocess.run(["sha256sum", "a", "b"], cwd=tmp_path, capture_output=True, check=True).stdout
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("b", "a")}
    assert listing_digest(digests) == hashlib.sha256(printed).hexdigest()


def test_mnist_keeps_the_digest_that_runs_record():
    assert MNIST.digest == "474311efcf1fd213e64768801dc6195673bffb8385179d6c55cd8748b9e2e8ca"


def test_the_digest_of_the_cifar_10_archive_is_still_accepted():
    assert CIFAR_10.former_digests == {"6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"}
    assert CIFAR_10.digest not in CIFAR_10.former_digests | CIFAR_10.variants.keys()


def test_file_sizes_match_the_images():
    height, width, channels = CIFAR_10.image_shape
    assert {content.size for content in CIFAR_10.files.values()} == {10_000 * (1 + height * width * channels)}
    assert sum(content.size for content in MNIST.files.values()) == 70_000 * (28 * 28 + 1) + 2 * (16 + 8)


@every_entry
def test_entries_are_complete(entry):
    classes = 65 if entry is TINY_SHAKESPEARE else 10
    assert len(entry.class_names) == len(set(entry.class_names)) == classes
    assert set(entry.test_files) < entry.files.keys()
    digests = [content.sha256 for content in entry.files.values()]
    assert len(set(digests)) == len(digests) and all(len(bytes.fromhex(digest)) == 32 for digest in digests)


@every_entry
def test_sources_are_mirrors_over_https_and_a_package_of_one_version(entry):
    # No package of the npm registry holds Fashion-MNIST in the official order, or the text.
    kinds = {"mirrors"} if entry.name in ("fashion-mnist", TINY_SHAKESPEARE.name) else set(SOURCE_KINDS)
    assert {source.kind for source in entry.sources} == kinds
    for source in entry.sources:
        if isinstance(source, Mirror):
            assert source.url.startswith("https://") and source.url.endswith("/")
        else:
            assert isinstance(source, Package) and source.spec.count("@") == 1
            assert source.spec.rsplit("@")[-1].replace(".", "").isdigit()
            assert str(source) == f"npm package {source.spec}"
