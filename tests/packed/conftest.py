"""These tests compile nothing: `tests/bits` shows that numba and NumPy give the same."""

import pytest

from bnn import bits


@pytest.fixture(autouse=True)
def _numpy_alone():
    with bits.numpy_alone():
        yield
