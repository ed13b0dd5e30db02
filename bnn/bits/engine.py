"""The choice between numba and NumPy, made when a function is first called, since loading numba takes a second."""

from functools import cache


@cache
def engine():
    """The module with the products, `numba_products` where numba can be imported, else `numpy_products`."""
    try:
        from bnn.bits import numba_products as products
    except ImportError:
        from bnn.bits import numpy_products as products
    return products
