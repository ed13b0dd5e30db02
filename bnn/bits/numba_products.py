"""The products of bits with numba. The functions are the same as in `numpy_products`."""

import numpy as np
from numba import get_num_threads

from bnn.bits import convolution_loops, numpy_products, word_loops
from bnn.bits.lanes import LANES
from bnn.bits.words import WORD, pack_bools, word_count

PACKED = (np.int8, np.int16, np.int32, np.int64, np.float32, np.float64)


def pack(values, ternary):
    """See `numpy_products.pack`."""
    if values.dtype not in PACKED:
        return numpy_products.pack(values, ternary)
    out = np.empty((1 + ternary, *values.shape[:-1], word_count(values.shape[-1])), np.uint64)
    rows = np.ascontiguousarray(values).reshape(-1, values.shape[-1])
    flat = out.reshape(len(out), -1, out.shape[-1])
    word_loops.pack(rows, np.zeros(WORD, values.dtype), flat, get_num_threads())
    return out


def binarize(sums, thresholds):
    """See `numpy_products.binarize`."""
    exceed, flip = thresholds.exceed, thresholds.flip
    out = np.empty((len(exceed), *sums.shape[:-1], len(flip)), np.uint64)
    rows = np.ascontiguousarray(sums).reshape(-1, sums.shape[-1])
    word_loops.binarize(rows, exceed, flip, out.reshape(len(out), -1, len(flip)), get_num_threads())
    return out


def max_pool(planes, falling):
    """See `numpy_products.max_pool`."""
    count, n, height, width, words = planes.shape
    out = np.empty((count, n, height // 2, width // 2, words), np.uint64)
    word_loops.max_pool(planes, pack_bools(falling), out, get_num_threads())
    return out


def convolve(planes, kernel, thresholds, pool):
    """See `numpy_products.convolve`."""
    count, n, height, width, words = planes.shape
    borders = kernel.borders(height, width)
    rows = planes.reshape(count, n, height, width * words)
    out, arrays = _output(n, height, width, kernel, thresholds, pool)
    bits = kernel.signs, kernel.nonzero, borders.rows, borders.base
    convolution_loops.convolve_bits(rows, words, kernel.size, *bits, pool, *arrays, get_num_threads())
    return out


def convolve_integers(images, kernel, thresholds, pool):
    """See `numpy_products.convolve_integers`."""
    n, height, width, channels = images.shape
    # One dtype, because the code for each is compiled for several seconds.
    rows = np.ascontiguousarray(images, np.int16).reshape(1, n, height, width * channels)
    out, arrays = _output(n, height, width, kernel, thresholds, pool)
    convolution_loops.convolve_integers(
        rows, channels, kernel.size, kernel.weights, pool, *arrays, get_num_threads()
    )
    return out


def stir():
    """XOR, count and add words in registers on every thread, and return the number of words."""
    workers, rounds = get_num_threads(), 1 << 17
    out = np.zeros((workers, 4, WORD), np.int32)
    word_loops.stir(np.arange(LANES, dtype=np.uint64), rounds, out, workers)
    return workers * rounds * 4 * LANES


def _output(n, height, width, kernel, thresholds, pool):
    """Return the array to write to, and the loops' thresholds and outputs.

    Their types are the same with and without thresholds, because the loops are compiled again for other types.
    """
    if pool:
        height, width = height // 2, width // 2
    if thresholds is None:
        out = np.empty((n, height, width, kernel.units), np.int32)
        none = np.empty((0, 0), np.int32), np.empty(0, np.uint64)
        return out, (*none, out, np.empty((0,) * 5, np.uint64))
    exceed, flip = thresholds.exceed, thresholds.flip
    out = np.empty((len(exceed), n, height, width, len(flip)), np.uint64)
    return out, (exceed, flip, np.empty((0,) * 4, np.int32), out)
