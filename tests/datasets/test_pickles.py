"""The restricted unpickler reads numbers, strings and plain containers; hostile files cannot call functions."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn.datasets.pickles import restricted_loads
from tests.toy_data_sets import python2_dumps


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
def test_arrays_of_numbers_are_read(array):
    read = restricted_loads(python2_dumps({b"a": array}))[b"a"]
    assert read.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    "dumps", [python2_dumps, *(lambda value, k=k: pickle.dumps(value, k) for k in (3, 4, 5))]
)
def test_plain_values_are_read(dumps):
    value = {
        b"name": b"airplane",
        b"n": [1, 2.5, None, True, (3, 4)],
        b"big": 10**30,
        b"deeper": {b"a": {1: 2}},
    }
    assert restricted_loads(dumps(value)) == value


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
    content = pickle.dumps({b"data": exploits(target)[number]}, protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"a reference to .*, which data files do not need"):
        restricted_loads(content)
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
    ids=[
        "array over bytes",
        "objects",
        "numbers made of objects",
        "type as text",
        "list",
        "negative",
        "huge",
        "state",
        "type's state",
        "class's state",
        "class's attributes",
        "no type",
    ],
)
def test_no_array_is_made_from_pointers(stream):
    """With such types, NumPy's own functions would read the bytes as addresses of objects."""
    with pytest.raises(pickle.UnpicklingError):
        restricted_loads(b"\x80\x02" + stream + b".")


def test_the_handwritten_stream_is_valid():
    read = restricted_loads(b"\x80\x02" + ARRAY + state(NUMBER) + b".")
    assert read.tolist() == [int.from_bytes(b"ABCDEFGH", sys.byteorder)]


@settings(max_examples=200)
@given(st.data())
def test_damaged_pickles_raise_only_unpickling_errors(data):
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
