"""Products in float32, for a real first or last layer, and float32 values numbered in their order."""

import numpy as np

LARGEST = 0x7F7FFFFF  # the number that belongs to the largest finite float32
PATCHES = 1 << 23  # maximum number of values in the patches that are multiplied at a time


def multiply(x, kernel):
    """The product of a dense layer, or of a convolution with stride 1 and SAME padding.

    Args:
        x: (n, ...) float32 array; for a convolution (n, height, width, channels).
        kernel: float32 array, (features, units) or (height, width, channels, units).

    Returns:
        (n, units) or (n, height, width, units) float32 array.
    """
    if kernel.ndim == 2:
        return x.reshape(len(x), -1) @ kernel
    patches = x[0].size // x.shape[3] * kernel[..., 0].size
    step = max(1, PATCHES // patches)
    return np.concatenate([_convolve(x[i : i + step], kernel) for i in range(0, len(x), step)])


def pool_largest(values):
    """The largest of each 2x2 window of (n, height, width, units); a last odd row or column is left out."""
    height, width = (size // 2 * 2 for size in values.shape[1:3])
    rows = np.maximum(values[:, 0:height:2, :width], values[:, 1:height:2, :width])
    return np.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def number_of(values):
    """Number float32 values in their order, as int32: both zeros have 0, and the numbers of x and -x differ in sign."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def numbered(numbers):
    """The float32 values that belong to such numbers: the inverse of `number_of`."""
    sizes = np.abs(numbers).astype(np.int32).view(np.float32)
    return np.where(numbers < 0, -sizes, sizes)


def _convolve(x, kernel):
    height, width = kernel.shape[:2]
    pads = [(0, 0), *(((size - 1) // 2, size // 2) for size in (height, width)), (0, 0)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, pads), (height, width), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel[..., 0].size)
    return (patches @ kernel.reshape(-1, kernel.shape[-1])).reshape(*x.shape[:3], -1)
