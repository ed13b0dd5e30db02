"""Only the slow tests compile with numba; `tests/bits` checks that NumPy gives the same results."""

import contextlib

import pytest

from bnn import bits


@pytest.fixture(autouse=True)
def _numpy_alone(request):
    slow = request.node.get_closest_marker("slow")
    with contextlib.nullcontext() if slow else bits.numpy_alone():
        yield
