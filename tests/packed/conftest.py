"""These tests, but for the slow ones, compile nothing: `tests/bits` shows that numba and NumPy give the same."""

import contextlib

import pytest

from bnn import bits


@pytest.fixture(autouse=True)
def _numpy_alone(request):
    slow = request.node.get_closest_marker("slow")
    with contextlib.nullcontext() if slow else bits.numpy_alone():
        yield
