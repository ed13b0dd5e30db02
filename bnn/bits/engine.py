"""The choice between numba and NumPy, and the highest speed that either can reach on this machine.

It is made at the first call, because loading numba takes a second.
"""

import time
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from bnn.bits.words import WORD

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


def compiled():
    """Whether numba computes the products, and not NumPy."""
    return engine().__name__.endswith(".numba_products")


@cache
def fastest():
    """Return the module `numba_products` if numba can be imported, else `numpy_products`."""
    try:
        from bnn.bits import numba_products as products
    except ImportError:
        from bnn.bits import numpy_products as products
    return products


def popcount_limit(seconds=0.5):
    """Measure the operations per second of XOR, popcount and addition on words in registers, on all numba threads.

    The multiplication of two bits and the addition of the product count as two operations. Without numba, this is the
    speed of NumPy on words in the first-level cache, on one thread.

    Args:
        seconds: float, how long to measure.

    Returns:
        Float, the best of many attempts of about a millisecond, because other work on the machine can only slow one.
    """
    stir = engine().stir
    stir()  # compiles the function
    best, end = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        start = time.perf_counter()
        words = stir()
        best = max(best, 2 * WORD * words / (time.perf_counter() - start))
    return best
