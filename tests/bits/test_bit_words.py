"""Packing and unpacking, the choice of the engine, the cache of compiled code, and the imports of the package."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import bnn
from bnn import bits
from bnn.bits.engine import engine, fastest
from tests.bits.bit_arithmetic import ENGINES, using

PACKAGE = Path(bits.__file__).parent
DTYPES = st.sampled_from(
    [np.int8, np.int16, np.int32, np.int64, np.uint8, np.float16, np.float32, np.float64, ">f4"]
)
SHAPES = array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3)
needs_numba = pytest.mark.skipif("numba" not in ENGINES, reason="numba is not installed")


@pytest.mark.parametrize("engine", ENGINES)
@given(DTYPES, SHAPES, st.sampled_from([1, 2, 63, 64, 65, 130]), st.booleans(), st.data())
def test_unpack_inverts_pack(engine, dtype, shape, channels, ternary, data):
    values = data.draw(arrays(dtype, (*shape, channels)))
    with using(engine):
        packed = bits.pack(values, ternary)
    expected = np.where(values >= 0, 1, -1)
    if ternary:
        expected = np.where(values == 0, 0, expected)
    assert packed.shape == values.shape
    np.testing.assert_array_equal(bits.unpack(packed), expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_bits_have_the_documented_layout(engine):
    values = -np.ones((1, 70))
    values[0, [1, 63, 65]] = 5, 0, -0.0
    with using(engine):
        assert bits.pack(values).planes.tolist() == [[[2 + 2**63, 2]]]
        assert bits.pack(values, ternary=True).planes.tolist() == [[[2 + 2**63, 2]], [[2, 0]]]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_nan_is_minus_one(engine, dtype):
    with using(engine):
        assert (bits.unpack(bits.pack(np.full((2, 70), np.nan, dtype))) == -1).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_non_contiguous_arrays(engine):
    values = np.random.default_rng(0).standard_normal((130, 6, 4)).T
    with using(engine):
        packed = bits.pack(values[::2])
    np.testing.assert_array_equal(bits.unpack(packed), np.where(values[::2] >= 0, 1, -1))


def test_numba_is_chosen_if_it_can_be_imported(monkeypatch):
    assert engine() is list(ENGINES.values())[-1]
    with bits.numpy_alone():
        assert engine() is ENGINES["numpy"]
    assert engine() is list(ENGINES.values())[-1]
    monkeypatch.setitem(sys.modules, "numba", None)  # makes import numba raise ImportError
    monkeypatch.delitem(sys.modules, "bnn.bits.numba_products", raising=False)
    monkeypatch.delattr(bits, "numba_products", raising=False)
    for name in ("compiling", "convolution_loops", "lanes", "word_loops"):
        monkeypatch.delitem(sys.modules, f"bnn.bits.{name}", raising=False)
        monkeypatch.delattr(bits, name, raising=False)
    assert fastest.__wrapped__() is ENGINES["numpy"]


def test_the_threshold_of_speed_is_a_rate():
    assert bits.popcount_limit(seconds=0.1) > 1e8


def test_only_numpy_and_numba_are_imported():
    allowed = {"numpy", "numba", "llvmlite", *sys.stdlib_module_names}
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in allowed or name.startswith("bnn.bits"), f"{path.name}: {name}"


def test_importing_the_package_loads_no_numba():
    program = "import sys, bnn.bits; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(bnn.__file__).parents[1], check=True)


STATS = """
from bnn.bits import numba_products, word_loops
numba_products.stir()
print(sum(word_loops.stir.stats.cache_hits.values()))
"""


@needs_numba
def test_compiled_code_is_cached_until_a_file_of_the_package_changes(tmp_path):
    for path in PACKAGE.glob("*.py"):
        copy = tmp_path / "bnn" / "bits" / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
        os.utime(copy, (0, 0))
    (tmp_path / "bnn" / "__init__.py").touch()

    def hits():
        said = subprocess.run([sys.executable, "-c", STATS], cwd=tmp_path, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        return int(said.stdout)

    assert [hits(), hits()] == [0, 1]
    (tmp_path / "bnn" / "bits" / "lanes.py").touch()
    assert hits() == 0
