"""Products of bits, and the steps around them in a network: packing, thresholds and pooling.

All sums are exact. This module checks the arguments for both engines.
"""

import numpy as np

from bnn.bits.engine import engine
from bnn.bits.words import Bits

LIMIT = 255  # largest absolute value of the integers that a first layer multiplies
BLOCK = 32  # number of input rows of a dense layer that use a weight while it is in the cache


def pack(values, ternary=False):
    """Pack the signs of numbers along the last axis.

    Args:
        values: (..., channels) array_like of real numbers, channels >= 1.
        ternary: bool. If False, the sign is +1 where the value is >= 0, also for 0, and -1 elsewhere, also for NaN. If
            True, the sign of 0 is 0.

    Returns:
        Bits of the values' shape.

    Raises:
        ValueError: the values have no axis or no channel.
    """
    values = np.asarray(values)
    if not values.ndim or not values.shape[-1]:
        raise ValueError(f"values: expected (..., channels), channels >= 1, received {values.shape}")
    return Bits(engine().pack(values, bool(ternary)), values.shape[-1])


def binarize(sums, thresholds):
    """Compute activations from sums with thresholds.

    Args:
        sums: (..., channels) int32 array, entries above -2^31.
        thresholds: Thresholds with the same number of channels.

    Returns:
        Bits of the sums' shape, ternary if the thresholds are ternary.

    Raises:
        ValueError: the dtype or the number of channels does not match.
    """
    if sums.dtype != np.int32 or sums.shape[-1:] != (thresholds.channels,):
        raise ValueError(
            f"sums: expected int32 (..., {thresholds.channels}), received {sums.dtype} {sums.shape}"
        )
    return Bits(engine().binarize(sums, thresholds), thresholds.channels)


def max_pool(x, falling=None):
    """Max pooling of 2x2 windows that do not overlap. An odd last row or column is ignored.

    Args:
        x: Bits of shape (n, height, width, channels).
        falling: (channels,) bool array_like, True for channels that take the smallest value of a window instead. Use it
            for activations that fall as the sums grow: the largest sum then gives the smallest activation. None means
            that no channel is falling.

    Returns:
        Bits of shape (n, height // 2, width // 2, channels).

    Raises:
        ValueError: the shapes do not match.
    """
    falling = np.zeros(x.channels, bool) if falling is None else np.asarray(falling, bool)
    if len(x.shape) != 4 or falling.shape != (x.channels,):
        raise ValueError(
            f"x, falling: expected (n, height, width, channels) and (channels,), "
            f"received {x.shape} and {falling.shape}"
        )
    return Bits(engine().max_pool(x.planes, falling), x.channels)


def convolve(x, kernel, thresholds=None, pool=False):
    """Convolve bits with stride 1 and SAME padding with zeros, which count as 0.

    A window of size k needs k - 1 zeros. (k - 1) // 2 of them are before the image and the others after it, the same as
    in Keras.

    Args:
        x: Bits of shape (n, height, width, channels), height and width >= 1.
        kernel: Kernel from `convolution_kernel` with the same number of channels.
        thresholds: Thresholds with one channel per unit of the kernel, or None to return the sums.
        pool: bool, whether to take the largest sum of every 2x2 window before the thresholds; the windows are the same
            as in `max_pool`.

    Returns:
        (n, height, width, units) int32 array, or with thresholds Bits of that shape. With `pool`, the height and the
        width are halved and rounded down.

    Raises:
        ValueError: the shapes do not match.
    """
    _check_convolution(x.shape, kernel, thresholds)
    return _wrap(engine().convolve(x.planes, kernel, thresholds, bool(pool)), thresholds)


def convolve_integers(images, kernel, thresholds=None, pool=False):
    """Convolve integers with a binary or ternary kernel; see `convolve`.

    Args:
        images: (n, height, width, channels) array, uint8, or int16 with values from -255 to 255. For an image that is
            scaled to [-1, 1], pass 2 image - 255 and divide the sums by 255. The 0 of the padding is then between two
            shades.
        kernel: see `convolve`.
        thresholds: see `convolve`.
        pool: see `convolve`.

    Returns:
        The same as `convolve`.

    Raises:
        ValueError: the shapes do not match, or the dtype or the values are not allowed.
    """
    _check_convolution(images.shape, kernel, thresholds)
    _check_integers(images)
    return _wrap(engine().convolve_integers(images, kernel, thresholds, bool(pool)), thresholds)


def dense(x, kernel, thresholds=None):
    """Multiply rows of bits by the kernel of a dense layer.

    Args:
        x: Bits of shape (n, ..., channels).
        kernel: Kernel from `dense_kernel` of shape (units, ..., channels).
        thresholds: Thresholds with one channel per unit of the kernel, or None to return the sums.

    Returns:
        (n, units) int32 array, or with thresholds Bits of that shape.

    Raises:
        ValueError: the shapes do not match.
    """
    _check_dense(x.shape, kernel, thresholds)
    planes = x.planes.reshape(len(x.planes), x.shape[0], kernel.planes.shape[-1])
    image = _as_images(planes, axis=1)
    return _rows(engine().convolve(image, kernel, thresholds, False), planes.shape[1], thresholds)


def dense_integers(rows, kernel, thresholds=None):
    """Multiply rows of integers by the kernel of a dense layer; see `dense`.

    Args:
        rows: (n, channels) array, uint8, or int16 with values from -255 to 255.
        kernel: Kernel from `dense_kernel` of shape (units, channels).
        thresholds: see `dense`.

    Returns:
        The same as `dense`.

    Raises:
        ValueError: the shapes do not match, or the dtype or the values are not allowed.
    """
    _check_dense(rows.shape, kernel, thresholds)
    _check_integers(rows)
    images = _as_images(rows, axis=0)
    return _rows(engine().convolve_integers(images, kernel, thresholds, False), len(rows), thresholds)


def _as_images(array, axis):
    """Reshape rows along `axis` to images of height 1 and equal width <= `BLOCK`. Rows of zeros fill the last image."""
    n = array.shape[axis]
    images = max(1, -(-n // BLOCK))
    width = max(1, -(-n // images))
    fill = [(0, 0)] * array.ndim
    fill[axis] = (0, images * width - n)
    if any(fill[axis]):
        array = np.pad(array, fill)
    return array.reshape(*array.shape[:axis], images, 1, width, *array.shape[axis + 1 :])


def _rows(out, n, thresholds):
    """Convert the output of a convolution of `_as_images` to the n rows that `dense` returns."""
    if thresholds is None:
        return out.reshape(-1, out.shape[-1])[:n]
    return Bits(out.reshape(len(out), -1, out.shape[-1])[:, :n], thresholds.channels)


def _wrap(out, thresholds):
    return out if thresholds is None else Bits(out, thresholds.channels)


def _check_convolution(shape, kernel, thresholds):
    if kernel.dense or len(shape) != 4 or shape[3] != kernel.bits.channels or 0 in shape[1:3]:
        raise ValueError(
            f"x, kernel: expected (n, height, width, channels), sizes >= 1, and a convolution's "
            f"(kernel height, kernel width, units, channels), received {shape} and {kernel.bits.shape}"
        )
    _check_thresholds(thresholds, kernel)


def _check_dense(shape, kernel, thresholds):
    if not kernel.dense or shape[1:] != kernel.bits.shape[1:]:
        raise ValueError(
            f"x, kernel: expected (n, ..., channels) and a dense layer's (units, ..., channels), "
            f"received {shape} and {kernel.bits.shape}"
        )
    _check_thresholds(thresholds, kernel)


def _check_thresholds(thresholds, kernel):
    if thresholds is not None and thresholds.channels != kernel.units:
        raise ValueError(
            f"thresholds: expected {kernel.units} channels, one per unit, received {thresholds.channels}"
        )


def _check_integers(values):
    valid = values.dtype in (np.uint8, np.int16)
    if not valid or (values.dtype == np.int16 and values.size and max(-values.min(), values.max()) > LIMIT):
        raise ValueError(
            f"integers: expected uint8, or int16 from -{LIMIT} to {LIMIT}, received {values.dtype}"
            + (f" from {values.min()} to {values.max()}" if valid else "")
        )
