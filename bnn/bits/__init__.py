"""Words of bits: packing, popcounts, products. Everything is exact, compiled by numba or, without it, done by NumPy.

`pack` makes `Bits` of numbers, `convolution_kernel` and `dense_kernel` make a `Kernel` of bits, `convolve`, `dense`,
`convolve_integers` and `dense_integers` multiply, to int32 sums or, by `Thresholds`, to the next layer's bits.
"""

from bnn.bits.kernels import Kernel, convolution_kernel, dense_kernel
from bnn.bits.limit import popcount_limit
from bnn.bits.products import (
    binarize,
    convolve,
    convolve_integers,
    dense,
    dense_integers,
    max_pool,
    pack,
)
from bnn.bits.thresholds import Thresholds
from bnn.bits.words import Bits, unpack

__all__ = [
    "Bits",
    "Kernel",
    "Thresholds",
    "binarize",
    "convolution_kernel",
    "convolve",
    "convolve_integers",
    "dense",
    "dense_integers",
    "dense_kernel",
    "max_pool",
    "pack",
    "popcount_limit",
    "unpack",
]
