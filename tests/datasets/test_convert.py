"""Archives and packages to official files; an archive that the user vouches for may hold anything."""

import gzip
import os
import pickle
import re
import tarfile

import numpy as np
import pytest

from bnn.datasets import convert
from bnn.datasets.transfer import SourceError
from tests.corruption import corrupted, within
from tests.toy_data_sets import (
    ARCHIVE,
    BATCHES,
    GOOD_ENTRIES,
    MEMBERS,
    PACKAGE,
    PACKED,
    PICKLED,
    PICKLES,
    PIXELS,
    PLANES,
    ROWS,
    SHEETS,
    TAR,
    contents_of,
    names_in,
    package_of,
    pickled_batch,
    python2_dumps,
    python_archive,
    sheet_members,
    tar_bytes,
)


@pytest.fixture
def unpack(tmp_path):
    """A function that unpacks an archive; it returns the files, or the error message."""

    def unpack(data, archive=ARCHIVE, files=MEMBERS):
        stage, path = tmp_path / "stage", tmp_path / "archive"
        stage.mkdir(exist_ok=True)
        path.write_bytes(data)
        try:
            with within(30):
                convert.unpack(path, archive, contents_of(files), stage)
        except SourceError as error:
            assert len(str(error).splitlines()) == 1
            assert names_in(tmp_path) == ["archive", "stage"]
            return str(error)
        assert names_in(stage) == sorted(files)
        return {name: (stage / name).read_bytes() for name in files}

    return unpack


# ---- archives ----


@pytest.mark.parametrize(
    ("data", "archive", "files"),
    [
        (TAR, ARCHIVE, MEMBERS),
        (PACKED, PACKAGE.archive, MEMBERS),
        (python_archive(PICKLED), PICKLES, BATCHES),
        (package_of(sheet_members()), SHEETS, BATCHES),
    ],
    ids=["one folder", "a folder in a folder", "pickles", "sheets"],
)
def test_files_are_read_from_archives(data, archive, files, unpack, small_batches):
    assert unpack(data, archive, files) == files


def entry(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "bad",
    [
        "/toy/one",
        "toy/../one",
        "other/one",
        entry("toy/one", tarfile.SYMTYPE, "/etc/passwd"),
        entry("toy/one", tarfile.LNKTYPE, "/etc/passwd"),
        entry("toy/one", tarfile.CHRTYPE),
        entry("toy/one", tarfile.FIFOTYPE),
        entry("toy/one", tarfile.DIRTYPE),
    ],
    ids=["absolute", "parent", "other folder", "link", "hard link", "device", "pipe", "folder"],
)
def test_only_plain_files_of_the_folder_are_read(bad, unpack):
    two = GOOD_ENTRIES[1]
    assert "received KeyError('one')" in unpack(tar_bytes([two, (bad, b"")]))
    assert unpack(tar_bytes([(bad, b""), *GOOD_ENTRIES])) == MEMBERS


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (TAR[: len(TAR) // 2], "end-of-stream|unexpected end"),
        (gzip.compress(b"no tar at all" * 100), "received"),
        (b"", "received"),
        (b"<!DOCTYPE html>", "received ReadError.*not a gzip file"),
        (tar_bytes([("toy/one", b"1" * 899), ("toy/two", b"22")]), "one: expected 900 bytes, received 899"),
    ],
    ids=["truncated", "not a tar file", "nothing", "web page", "wrong size"],
)
def test_other_files_are_refused(data, reason, unpack):
    assert re.search(reason, unpack(data))


@pytest.mark.parametrize("cases", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_damaged_archive_gives_its_members_or_one_line(cases, unpack):
    """The user may vouch for it; it is damaged before compression, so the checksums agree."""
    content, rng, outcomes = gzip.decompress(TAR), np.random.default_rng(0), set()
    for _ in range(cases):
        outcomes.add(type(unpack(gzip.compress(corrupted(content, rng), 1))))
    assert outcomes == {str, dict}


# ---- gzip files ----


def gunzip(data, folder, size):
    (folder / "packed").write_bytes(data)
    convert.gunzip(folder / "packed", folder / "plain", size)
    return (folder / "plain").read_bytes()


@pytest.mark.parametrize("content", [b"", b"x", bytes(1 << 20)])
def test_gzip_files_are_unpacked(content, tmp_path):
    assert gunzip(gzip.compress(content), tmp_path, len(content)) == content


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "expected a gzip file, received one that starts with b''"),
        (b"<!DOCTYPE html>", "expected a gzip file, received one that starts with b'<!DOCTYPE html>'"),
        (gzip.compress(b"12345")[:-3], "expected a complete gzip file, received a damaged one"),
        (gzip.compress(b"1234"), "expected 5 bytes of content, received 4"),
        (gzip.compress(b"123456"), "expected 5 bytes of content, received more"),
        (gzip.compress(bytes(1 << 20)) * 1024, "expected 5 bytes of content, received more"),
        (gzip.compress(b"12345") + gzip.compress(b"6"), "expected 5 bytes of content, received more"),
    ],
    ids=["empty", "web page", "cut", "short", "long", "bomb", "two"],
)
def test_gzip_files_with_other_content_are_refused(data, reason, tmp_path):
    with within(5), pytest.raises(SourceError, match=re.escape(reason)):
        gunzip(data, tmp_path, 5)
    assert not (tmp_path / "plain").exists() or (tmp_path / "plain").stat().st_size <= 6


@pytest.mark.parametrize("cases", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_gzip_files_give_the_content_or_one_line(cases, tmp_path):
    content, rng = bytes(range(60)), np.random.default_rng(0)
    packed = gzip.compress(content, mtime=0)
    for _ in range(cases):
        try:
            read = gunzip(corrupted(packed, rng), tmp_path, len(content))
        except SourceError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert read == content  # Only metadata changed, such as the time in the header.


# ---- pickles ----


def test_each_record_of_a_batch_is_a_label_byte_and_three_planes():
    """This also holds if the pixels of the pickle are stored in column order."""
    pixels = np.random.default_rng(0).integers(0, 256, (10_000, 3072), np.uint8)
    labels = (np.arange(10_000) % 10).tolist()
    content = pickled_batch(np.asfortranarray(pixels), labels)
    assert b"numpy.core.multiarray" in content and b"_codecs" not in content
    records = np.frombuffer(convert.pickled_batch(content), np.uint8).reshape(10_000, 3073)
    np.testing.assert_array_equal(records[:, 0], labels)
    np.testing.assert_array_equal(records[:, 1:], pixels)


RIGHT = PLANES["test"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        python2_dumps([]),
        python2_dumps(None),
        python2_dumps({b"data": RIGHT}),
        pickled_batch(np.zeros((3, 3 * PIXELS), np.uint8), [0, 1, 2]),
        pickled_batch(b"pixels", [0] * ROWS),
        pickled_batch(RIGHT.astype(np.float16), [0] * ROWS),
        pickled_batch(RIGHT, [0] * (ROWS - 1)),
        pickled_batch(RIGHT, [10] * ROWS),
        pickled_batch(RIGHT, [-1] * ROWS),
        pickled_batch(RIGHT, [10**5000] * ROWS),
        pickled_batch(RIGHT, [0.5] * ROWS),
        pickled_batch(RIGHT, [None] * ROWS),
        pickled_batch(RIGHT, [[0], [1, 2]] * 3),
        pickled_batch(RIGHT, 3),
    ],
    ids=[
        *("empty", "list", "none", "no labels", "few", "bytes", "floats", "few labels", "10", "-1", "long"),
        *("float labels", "none labels", "ragged", "one label"),
    ],
)
def test_pickles_with_other_content_are_refused(content, unpack, small_batches):
    message = unpack(python_archive(PICKLED | {"test": content}), PICKLES, BATCHES)
    assert message.startswith("archive: expected the pickles of toy-py/, received ") and len(message) < 400


@pytest.mark.parametrize("cases", [100, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_pickles_give_a_batch_or_one_line(cases, unpack, small_batches):
    rng = np.random.default_rng(0)
    for _ in range(cases):
        damaged = PICKLED | {"test": corrupted(PICKLED["test"], rng)}
        assert isinstance(unpack(python_archive(damaged), PICKLES, BATCHES), str | dict)


class Exploit:
    """A pickle that creates a file when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def exploits(path):
    return [
        Exploit(os.system, f"touch '{path}'"),
        Exploit(exec, f"open({str(path)!r}, 'w').close()"),
        Exploit(os.mkdir, str(path)),
        Exploit(np.memmap, str(path), "uint8", "w+", 0, (4,)),
        Exploit(getattr, "format", "format_map"),
    ]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("number", range(len(exploits(""))))
def test_exploits_do_not_run(number, protocol, tmp_path):
    target = tmp_path / "touched.npy"
    content = pickle.dumps({b"data": exploits(target)[number]}, protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"a reference to .*, which data files do not need"):
        convert.pickled_batch(content)
    assert not target.exists()


def test_the_exploits_are_real(tmp_path):
    for exploit in exploits(tmp_path / "touched")[:3]:
        pickle.loads(pickle.dumps(exploit))
        path = tmp_path / "touched"
        path.rmdir() if path.is_dir() else path.unlink()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
OBJECT = b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR"
STATE = b"(K\x01K\x01\x85" + OBJECT + b"\x89U\x08ABCDEFGHtb"


@pytest.mark.parametrize(
    "stream",
    [
        b"cnumpy\nndarray\n(K\x01\x85U\x01OU\x08ABCDEFGHtR",
        ARRAY + STATE,
        ARRAY + b"K\x01b",
        ARRAY,
        b"cnumpy\ndtype\n" + STATE,
        b"cnumpy\ndtype\n}U\x05arrayK\x01sb",
    ],
    ids=["array over bytes", "objects", "state", "no state", "class's state", "class's attributes"],
)
def test_no_array_is_made_from_pointers(stream, unpack, small_batches):
    """NumPy's own functions would read the bytes as addresses of objects, or the class would be changed."""
    content = b"\x80\x02}U\x04data" + stream + b"sU\x06labels]s."
    message = unpack(python_archive(PICKLED | {"test": content}), PICKLES, BATCHES)
    assert "expected the pickles of toy-py/, received " in message
    assert unpack(python_archive(PICKLED), PICKLES, BATCHES) == BATCHES
