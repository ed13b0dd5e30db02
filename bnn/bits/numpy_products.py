"""The products of bits with NumPy: the reference for the compiled products, and the fallback without numba."""

import numpy as np

from bnn.bits.words import pack_bools


def pack(values, ternary):
    """Pack an array of numbers, (..., channels), into planes of words in the layout of `Bits`."""
    planes = (values >= 0, values > 0) if ternary else (values >= 0,)
    return np.stack([pack_bools(plane) for plane in planes])


def binarize(sums, thresholds):
    """Pack (..., channels) int32 sums into planes of words with the given Thresholds."""
    planes = (np.where(thresholds.rising, sums >= at, sums <= at) for at in thresholds.at)
    return np.stack([pack_bools(plane) for plane in planes])


def max_pool(planes, falling):
    """Combine 2x2 windows of (planes, n, height, width, words) by OR; in `falling` channels by AND."""
    corners = _corners(planes, axis=2)
    reverse = pack_bools(falling)
    return np.bitwise_or.reduce(corners) & ~reverse | np.bitwise_and.reduce(corners) & reverse


def convolve(planes, kernel, thresholds, pool):
    """Convolve bits with stride 1 and SAME padding with zeros.

    Args:
        planes: (planes, n, height, width, words) uint64 array.
        kernel: Kernel.
        thresholds: Thresholds, or None to return the sums.
        pool: bool, whether to take the largest sum of every 2x2 window.

    Returns:
        (n, height, width, units) int32 array; with thresholds, (planes, n, height, width, words) uint64 array.
    """
    images = (_add_window(image, kernel, _product_of_bits) for image in np.moveaxis(planes, 1, 0))
    return _collect(images, planes.shape[1:4], kernel, thresholds, pool)


def convolve_integers(images, kernel, thresholds, pool):
    """Convolve integers with stride 1 and SAME padding with zeros.

    Args:
        images: (n, height, width, channels) uint8 or int16 array.
        kernel: Kernel.
        thresholds: Thresholds, or None to return the sums.
        pool: bool, whether to take the largest sum of every 2x2 window.

    Returns:
        The same as `convolve`.
    """
    sums = (_add_window(image[None].astype(np.int32), kernel, _product_of_integers) for image in images)
    return _collect(sums, images.shape[:3], kernel, thresholds, pool)


def stir():
    """XOR, count and add words in the first-level cache on one thread, and return the number of words."""
    words, rounds = np.arange(1024, dtype=np.uint64), 1000
    for _ in range(rounds):
        words += np.bitwise_count(words ^ np.uint64(0x5555555555555555))
    return rounds * words.size


def _add_window(image, kernel, product):
    """Sum product(part of the image, kernel, place) over the window; the image is (planes, height, width, n)."""
    height, width = image.shape[1:3]
    sums = np.zeros((height, width, kernel.units), np.int32)
    for place in np.ndindex(kernel.size):
        (to_rows, rows), (to_columns, columns) = (
            _overlap(size, i - (window - 1) // 2)
            for size, i, window in zip((height, width), place, kernel.size, strict=True)
        )
        sums[to_rows, to_columns] += product(image[:, rows, columns], kernel, place)
    return sums


def _overlap(size, shift):
    """Return the slice of positions whose neighbor at distance `shift` is inside the image, and the neighbors."""
    start, stop = max(0, -shift), max(0, -shift, min(size, size - shift))
    return slice(start, stop), slice(start + shift, stop + shift)


def _product_of_bits(planes, kernel, place):
    """Multiply (planes, height, width, words) uint64 by the weights at one place of the window."""
    signs = kernel.planes[-1][place]
    nonzero = ~(kernel.planes[0][place] ^ signs)
    differ = np.zeros((*planes.shape[:-1], kernel.units), np.int32)
    for word in range(planes.shape[-1]):
        differ += np.bitwise_count((planes[..., word, None] ^ signs[:, word]) & nonzero[:, word])
    return kernel.nonzeros[place] - 2 // len(planes) * differ.sum(axis=0, dtype=np.int32)


def _product_of_integers(image, kernel, place):
    """Multiply (1, height, width, channels) int32 by the weights at one place of the window."""
    return image[0] @ kernel.values[place].T.astype(np.int32)


def _collect(images, shape, kernel, thresholds, pool):
    """Pool and binarize the sums of each image and collect the results; shape is (n, height, width)."""
    n, height, width = shape
    if pool:
        height, width = height // 2, width // 2
        images = (_corners(sums, axis=0).max(axis=0) for sums in images)
    if thresholds is None:
        return _stack(images, (n, height, width, kernel.units), np.int32)
    words = thresholds.flip.size
    bits = (binarize(sums, thresholds) for sums in images)
    planes = _stack(bits, (n, len(thresholds.at), height, width, words), np.uint64)
    return np.ascontiguousarray(np.moveaxis(planes, 1, 0))


def _stack(arrays, shape, dtype):
    out = np.empty(shape, dtype)
    for entry, array in zip(out, arrays, strict=True):
        entry[...] = array
    return out


def _corners(array, axis):
    """Return the corners of 2x2 windows over two axes, a (4, ...) array. An odd last row or column is ignored."""
    height, width = (size // 2 * 2 for size in array.shape[axis : axis + 2])
    before = (slice(None),) * axis
    return np.stack(
        [array[(*before, slice(i, height, 2), slice(j, width, 2))] for i in (0, 1) for j in (0, 1)]
    )
