"""The choice between numba and NumPy. It is made at the first call, because loading numba takes a second."""

from functools import cache


@cache
def engine():
    """Return the module with the products: `numba_products` if numba can be imported, else `numpy_products`."""
    try:
        from bnn.bits import numba_products as products
    except ImportError:
        from bnn.bits import numpy_products as products
    return products
