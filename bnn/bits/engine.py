"""The choice between numba and NumPy. It is made at the first call, because loading numba takes a second."""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

_numpy_alone = ContextVar("numpy_alone", default=False)


@contextmanager
def numpy_alone():
    """Within this context NumPy computes the products, for so few images that loading numba would take longer."""
    token = _numpy_alone.set(True)
    try:
        yield
    finally:
        _numpy_alone.reset(token)


def engine():
    """Return the module with the products: `fastest`, or `numpy_products` within `numpy_alone`."""
    if not _numpy_alone.get():
        return fastest()
    from bnn.bits import numpy_products

    return numpy_products


@cache
def fastest():
    """Return the module `numba_products` if numba can be imported, else `numpy_products`."""
    try:
        from bnn.bits import numba_products as products
    except ImportError:
        from bnn.bits import numpy_products as products
    return products
