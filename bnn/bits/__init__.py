"""Words of bits: packing, popcounts and products. All results are exact. numba compiles them; without it, NumPy runs.

`pack` converts numbers to `Bits`. `convolution_kernel` and `dense_kernel` convert bits to a `Kernel`. `convolve`,
`dense`, `convolve_integers` and `dense_integers` multiply. They return int32 sums, or the bits of the next layer if
`Thresholds` are given. A `Pipeline` computes a chain of products in one call of numba's code.
"""

from bnn.bits.engine import compiled, numpy_alone, popcount_limit
from bnn.bits.kernels import Kernel, convolution_kernel, dense_kernel
from bnn.bits.pipelines import Pipeline, Step
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
    "Pipeline",
    "Step",
    "Thresholds",
    "binarize",
    "compiled",
    "convolution_kernel",
    "convolve",
    "convolve_integers",
    "dense",
    "dense_integers",
    "dense_kernel",
    "max_pool",
    "numpy_alone",
    "pack",
    "popcount_limit",
    "unpack",
]
