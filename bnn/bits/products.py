"""Products of bits, and what surrounds them in a network: packing, thresholds, pooling.

All sums are exact. What is passed in is checked here, once for both engines.
"""

import numpy as np

from bnn.bits.engine import engine
from bnn.bits.words import Bits

LIMIT = 255  # size of the integers that a first layer multiplies
BLOCK = 32  # rows of a dense layer's input that share a weight from the cache


def pack(values, ternary=False):
    """Pack signs of numbers along the last axis.

    Args:
        values: (..., channels) array_like of real numbers, channels >= 1.
        ternary: bool. False: +1 where the value is >= 0, so that the sign of 0 is +1, and else, NaN included, -1.
            True: the sign is 0 for 0.

    Returns:
        Bits of the values' shape.

    Raises:
        ValueError: no axis, or no channel.
    """
    values = np.asarray(values)
    if not values.ndim or not values.shape[-1]:
        raise ValueError(f"values: expected (..., channels), channels >= 1, received {values.shape}")
    return Bits(engine().pack(values, bool(ternary)), values.shape[-1])


def binarize(sums, thresholds):
    """The activations of sums.

    Args:
        sums: (..., channels) int32 array, entries above -2^31.
        thresholds: Thresholds of as many channels.

    Returns:
        Bits of the sums' shape, ternary if the thresholds are.

    Raises:
        ValueError: another dtype, or another number of channels.
    """
    if sums.dtype != np.int32 or sums.shape[-1:] != (thresholds.channels,):
        raise ValueError(
            f"sums: expected int32 (..., {thresholds.channels}), received {sums.dtype} {sums.shape}"
        )
    return Bits(engine().binarize(sums, thresholds), thresholds.channels)


def max_pool(x, falling=None):
    """Max pooling of 2x2 windows side by side, a last odd row or column left out.

    Args:
        x: Bits of shape (n, height, width, channels).
        falling: (channels,) bool array_like; channels that take the smallest value of a window instead, as
            activations that fall where sums grow do for the largest sum. None: no channel.

    Returns:
        Bits of shape (n, height // 2, width // 2, channels).

    Raises:
        ValueError: shapes do not match.
    """
    falling = np.zeros(x.channels, bool) if falling is None else np.asarray(falling, bool)
    if len(x.shape) != 4 or falling.shape != (x.channels,):
        raise ValueError(
            f"x, falling: expected (n, height, width, channels) and (channels,), "
            f"received {x.shape} and {falling.shape}"
        )
    return Bits(engine().max_pool(x.planes, falling), x.channels)


def convolve(x, kernel, thresholds=None, pool=False):
    """Convolution of bits, stride 1, SAME padding with zeros, which count as 0.

    Of the k - 1 zeros that a window of size k needs, (k - 1) // 2 lie before the image and the others behind, as in
    Keras.

    Args:
        x: Bits of shape (n, height, width, channels), height and width >= 1.
        kernel: Kernel, of `convolution_kernel`, with as many channels.
        thresholds: Thresholds with as many channels as the kernel has units; None: return the sums.
        pool: bool; whether to take the largest sum of every 2x2 window, as of `max_pool`, before the thresholds.

    Returns:
        (n, height, width, units) int32 array; with thresholds, Bits of that shape; pooled, with half the height and
        width, rounded down.

    Raises:
        ValueError: shapes do not match.
    """
    _check_image(x.shape, kernel)
    _check_thresholds(thresholds, kernel)
    return _wrap(engine().convolve(x.planes, kernel, thresholds, bool(pool)), thresholds)


def convolve_integers(images, kernel, thresholds=None, pool=False):
    """Convolution of integers with a binary or ternary kernel; see `convolve`.

    Args:
        images: (n, height, width, channels) array, uint8, or int16 with values from -255 to 255: an image that
            is scaled to [-1, 1], where the padding's 0 lies between two shades, is (2 image - 255) / 255.
        kernel: Kernel, of `convolution_kernel`, with as many channels.
        thresholds: as of `convolve`.
        pool: as of `convolve`.

    Returns:
        What `convolve` returns.

    Raises:
        ValueError: shapes do not match, another dtype or larger values.
    """
    _check_image(images.shape, kernel)
    _check_thresholds(thresholds, kernel)
    _check_integers(images)
    return _wrap(engine().convolve_integers(images, kernel, thresholds, bool(pool)), thresholds)


def dense(x, kernel, thresholds=None):
    """Product of rows of bits with the kernel of a dense layer.

    Args:
        x: Bits of shape (n, ..., channels).
        kernel: Kernel, of `dense_kernel`, of shape (units, ..., channels).
        thresholds: Thresholds with as many channels as the kernel has units; None: return the sums.

    Returns:
        (n, units) int32 array; with thresholds, Bits of that shape.

    Raises:
        ValueError: shapes do not match.
    """
    _check_rows(x.shape, kernel)
    _check_thresholds(thresholds, kernel)
    planes = x.planes.reshape(len(x.planes), x.shape[0], kernel.planes.shape[-1])
    image = _as_images(planes, axis=1)
    return _rows(engine().convolve(image, kernel, thresholds, False), planes.shape[1], thresholds)


def dense_integers(rows, kernel, thresholds=None):
    """Product of rows of integers with the kernel of a dense layer; see `dense`.

    Args:
        rows: (n, channels) array, uint8, or int16 with values from -255 to 255.
        kernel: Kernel, of `dense_kernel`, of shape (units, channels).
        thresholds: as of `dense`.

    Returns:
        What `dense` returns.

    Raises:
        ValueError: shapes do not match, another dtype or larger values.
    """
    _check_rows(rows.shape, kernel)
    _check_thresholds(thresholds, kernel)
    _check_integers(rows)
    images = _as_images(rows, axis=0)
    return _rows(engine().convolve_integers(images, kernel, thresholds, False), len(rows), thresholds)


def _as_images(array, axis):
    """Rows along `axis` as images of height 1, of equal width and at most `BLOCK` wide; rows of zeros fill the last."""
    n = array.shape[axis]
    images = max(1, -(-n // BLOCK))
    width = max(1, -(-n // images))
    fill = [(0, 0)] * array.ndim
    fill[axis] = (0, images * width - n)
    if any(fill[axis]):
        array = np.pad(array, fill)
    return array.reshape(*array.shape[:axis], images, 1, width, *array.shape[axis + 1 :])


def _rows(out, n, thresholds):
    """What `dense` returns, of a convolution's output for `_as_images` of n rows."""
    if thresholds is None:
        return out.reshape(-1, out.shape[-1])[:n]
    return Bits(out.reshape(len(out), -1, out.shape[-1])[:, :n], thresholds.channels)


def _wrap(out, thresholds):
    return out if thresholds is None else Bits(out, thresholds.channels)


def _check_image(shape, kernel):
    if kernel.dense or len(shape) != 4 or shape[3] != kernel.bits.channels or 0 in shape[1:3]:
        raise ValueError(
            f"x, kernel: expected (n, height, width, channels), sizes >= 1, and a convolution's "
            f"(kernel height, kernel width, units, channels), received {shape} and {kernel.bits.shape}"
        )


def _check_rows(shape, kernel):
    if not kernel.dense or shape[1:] != kernel.bits.shape[1:]:
        raise ValueError(
            f"x, kernel: expected (n, ..., channels) and a dense layer's (units, ..., channels), "
            f"received {shape} and {kernel.bits.shape}"
        )


def _check_thresholds(thresholds, kernel):
    if thresholds is not None and thresholds.channels != kernel.units:
        raise ValueError(
            f"thresholds: expected {kernel.units} channels, one per unit, received {thresholds.channels}"
        )


def _check_integers(values):
    right = values.dtype in (np.uint8, np.int16)
    if not right or (values.dtype == np.int16 and values.size and max(-values.min(), values.max()) > LIMIT):
        raise ValueError(
            f"integers: expected uint8, or int16 of size <= {LIMIT}, received {values.dtype}"
            + (f" from {values.min()} to {values.max()}" if right else "")
        )
