"""The products of bits with NumPy: what the compiled ones must equal, and what runs where numba is not installed."""

import numpy as np

from bnn.bits.words import pack_bools


def pack(values, ternary):
    """Planes of words of an array of numbers, (..., channels), as `Bits` has them."""
    planes = (values >= 0, values > 0) if ternary else (values >= 0,)
    return np.stack([pack_bools(plane) for plane in planes])


def binarize(sums, thresholds):
    """Planes of words of (..., channels) int32 sums; thresholds: Thresholds."""
    planes = (np.where(thresholds.rising, sums >= at, sums <= at) for at in thresholds.at)
    return np.stack([pack_bools(plane) for plane in planes])


def max_pool(planes, falling):
    """Words of 2x2 windows of (planes, n, height, width, words): OR, and AND in channels where `falling`."""
    corners = _corners(planes, axis=2)
    reverse = pack_bools(falling)
    return np.bitwise_or.reduce(corners) & ~reverse | np.bitwise_and.reduce(corners) & reverse


def convolve(planes, kernel, thresholds, pool):
    """Convolution of bits, stride 1, SAME, of zeros around the image.

    Args:
        planes: (planes, n, height, width, words) uint64 array.
        kernel: Kernel.
        thresholds: Thresholds, or None for the sums.
        pool: bool, whether to take the largest sum of every 2x2 window.

    Returns:
        (n, height, width, units) int32 array; with thresholds, (planes, n, height, width, words) uint64 array.
    """
    images = (_add_window(image, kernel, _product_of_bits) for image in np.moveaxis(planes, 1, 0))
    return _collect(images, planes.shape[1:4], kernel, thresholds, pool)


def convolve_integers(images, kernel, thresholds, pool):
    """Convolution of integers, stride 1, SAME, of zeros around the image.

    Args:
        images: (n, height, width, channels) uint8 or int16 array.
        kernel: Kernel.
        thresholds: Thresholds, or None for the sums.
        pool: bool, whether to take the largest sum of every 2x2 window.

    Returns:
        What `convolve` returns.
    """
    sums = (_add_window(image[None].astype(np.int32), kernel, _product_of_integers) for image in images)
    return _collect(sums, images.shape[:3], kernel, thresholds, pool)


def stir():
    """XOR, count and add words in the first cache, on one thread; returns the number of words."""
    words, rounds = np.arange(1024, dtype=np.uint64), 1000
    for _ in range(rounds):
        words += np.bitwise_count(words ^ np.uint64(0x5555555555555555))
    return rounds * words.size


def _add_window(image, kernel, product):
    """Sums of one image, (planes, height, width, n): product(part of the image, kernel, place) for each place."""
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
    """(slice of places whose neighbor at distance `shift` is inside of the image, slice of these neighbors)."""
    first, behind = max(0, -shift), max(0, -shift, min(size, size - shift))
    return slice(first, behind), slice(first + shift, behind + shift)


def _product_of_bits(planes, kernel, place):
    """(planes, height, width, words) uint64 with the weights at one place of the window: (height, width, units)."""
    signs = kernel.planes[-1][place]
    nonzero = ~(kernel.planes[0][place] ^ signs)
    differ = np.zeros((*planes.shape[:-1], kernel.units), np.int32)
    for word in range(planes.shape[-1]):
        differ += np.bitwise_count((planes[..., word, None] ^ signs[:, word]) & nonzero[:, word])
    return kernel.nonzeros[place] - 2 // len(planes) * differ.sum(axis=0, dtype=np.int32)


def _product_of_integers(image, kernel, place):
    """(1, height, width, channels) int32 with the weights at one place of the window: (height, width, units)."""
    return image[0] @ kernel.values[place].T.astype(np.int32)


def _collect(images, shape, kernel, thresholds, pool):
    """Pool and binarize the sums of one image after another; shape: (n, height, width)."""
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
    """(4, ...) array: the corners of 2x2 windows over two axes; a last odd row or column is left out."""
    height, width = (size // 2 * 2 for size in array.shape[axis : axis + 2])
    before = (slice(None),) * axis
    return np.stack(
        [array[(*before, slice(i, height, 2), slice(j, width, 2))] for i in (0, 1) for j in (0, 1)]
    )
