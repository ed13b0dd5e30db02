"""The loops that numba compiles: sums of 64 units in a band of rows, computed in the cache, then written.

A worker takes tasks one after another, each a band of an image (one row, or the two that are pooled) and 64 units.
It copies the rows of the input that the band needs, with zeros around, computes the sums of all places, and writes
them as integers or as bits. The innermost loops hold the sums of four places in registers, so that a vector of
weights, once loaded, is used four times.
"""

import numpy as np
from numba import njit, prange

from bnn.bits import lanes
from bnn.bits.compiling import compiled
from bnn.bits.kernels import BLOCK
from bnn.bits.lanes import LANES, WIDE
from bnn.bits.words import WORD

SHORT = 128  # products of a weight and an integer of size <= 255 that an int16 can sum
WORDS, WEIGHTS = lanes.WORDS, lanes.WEIGHTS


@njit
def _copy_rows(images, image, first, left, patch):
    """Rows of an image, (planes, images, height, width n), into (planes, rows, padded width n), from `left` on."""
    planes, _, height, length = images.shape
    for plane in range(planes):
        for row in range(patch.shape[1]):
            if 0 <= first + row < height:
                patch[plane, row, left : left + length] = images[plane, image, first + row]
            else:
                patch[plane, row] = 0


def _counter(places):
    """Compiled function for sums of bits at so many places side by side, and `LANES` units."""
    zeros = lanes.ZERO_COUNTS[places]

    @njit
    def count(patch, row, column, words, length, inside, signs, nonzero, unit, base, start, sums, index):
        planes, rows, width = patch.shape
        counts = zeros()
        for plane in range(planes):
            for i in range(inside[0], inside[1]):
                x = (plane * rows + row + i) * width + column * words
                w = (unit // BLOCK * signs.shape[1] + i * length) * BLOCK + unit % BLOCK
                for _ in range(length):
                    sign = lanes.load(WORDS, signs, w)
                    if nonzero is None:
                        counts = lanes.add_counts(counts, patch, x, words, sign, None)
                    else:
                        mask = lanes.load(WORDS, nonzero, w)
                        counts = lanes.add_counts(counts, patch, x, words, sign, mask)
                    x += 1
                    w += BLOCK
        # Each plane of ternary values counts half, and a bit that differs counts twice.
        lanes.store_counts(sums, index, WORD, base, start, WORD, counts, 2 - planes)

    return count


def _adder(places):
    """Compiled function for sums of integers at so many places side by side, and `WIDE` units."""
    zeros = lanes.ZERO_PRODUCTS[places]

    @njit
    def add(patch, row, column, channels, window, weights, unit, sums, index):
        length = window[1] * channels
        products, summed = zeros(), 0
        w = unit // WORD * weights.shape[1] * WORD + unit % WORD
        for i in range(window[0]):
            x = (row + i) * patch.shape[2] + column * channels
            behind = x + length
            while x < behind:
                if summed == SHORT:
                    lanes.increase(sums, index, WORD, products)
                    products, summed = zeros(), 0
                count = min(behind - x, SHORT - summed)
                for _ in range(count):
                    weight = lanes.load(WEIGHTS, weights, w)
                    products = lanes.add_products(products, patch, x, channels, weight)
                    x += 1
                    w += WORD
                summed += count
        lanes.increase(sums, index, WORD, products)

    return add


_count_four, _count_one = _counter(4), _counter(1)
_add_four, _add_one = _adder(4), _adder(1)


@njit
def _sum_bits(patch, words, window, signs, nonzero, group, rows, top, base, sums):
    """The sums, (band rows, width, 64), of a group of 64 units from patches of words."""
    length, groups = window[1] * words, base.shape[1]
    fours = sums.shape[1] // 4 * 4
    for lane in range(0, WORD, LANES):
        unit = group * WORD + lane
        for row in range(sums.shape[0]):
            inside = rows[top + row]
            start = (inside[2] * groups + group) * base.shape[2] * WORD + lane
            index = row * sums.shape[1] * WORD + lane
            for column in range(0, fours, 4):
                _count_four(patch, row, column, words, length, inside, signs, nonzero, unit,
                            base, start + column * WORD, sums, index + column * WORD)  # fmt: skip
            for column in range(fours, sums.shape[1]):
                _count_one(patch, row, column, words, length, inside, signs, nonzero, unit,
                           base, start + column * WORD, sums, index + column * WORD)  # fmt: skip


@njit
def _sum_integers(patch, channels, window, weights, group, sums):
    """The sums, (band rows, width, 64), of a group of 64 units from patches of int16."""
    fours = sums.shape[1] // 4 * 4
    sums[:] = 0
    for lane in range(0, WORD, WIDE):
        unit = group * WORD + lane
        for row in range(sums.shape[0]):
            index = row * sums.shape[1] * WORD + lane
            for column in range(0, fours, 4):
                _add_four(patch, row, column, channels, window, weights, unit, sums, index + column * WORD)
            for column in range(fours, sums.shape[1]):
                _add_one(patch, row, column, channels, window, weights, unit, sums, index + column * WORD)


@njit
def _write_integers(sums, pool, out, image, band, group):
    """The sums of a band, or the largest of 2x2 of them, into (images, height, width, units)."""
    first = group * WORD
    units = min(WORD, out.shape[3] - first)
    for column in range(out.shape[2]):
        target = out[image, band, column, first : first + units]
        if pool:
            window = sums[:, 2 * column : 2 * column + 2]
            for i in range(units):
                target[i] = max(max(window[0, 0, i], window[0, 1, i]), max(window[1, 0, i], window[1, 1, i]))
        else:
            place = sums[0, column]
            for i in range(units):
                target[i] = place[i]


@njit
def _write_bits(sums, pool, exceed, flip, out, image, band, group):
    """Bits of the sums of a band, or of the largest of 2x2, into (planes, images, height, width, words)."""
    below = sums.shape[1] * WORD
    for plane in range(out.shape[0]):
        limit = plane * exceed.shape[1] + group * WORD
        for column in range(out.shape[3]):
            if pool:
                index = 2 * column * WORD
                word = lanes.greater(sums, index, exceed, limit)
                word |= lanes.greater(sums, index + WORD, exceed, limit)
                word |= lanes.greater(sums, index + below, exceed, limit)
                word |= lanes.greater(sums, index + below + WORD, exceed, limit)
            else:
                word = lanes.greater(sums, column * WORD, exceed, limit)
            out[plane, image, band, column, group] = word ^ flip[group]


@njit
def _buffers(x, n, window, band_rows, zero):
    """Patch, of zero's type, and sums for the bands of x, (planes, images, height, width n)."""
    width = x.shape[3] // n
    patch = np.zeros((x.shape[0], band_rows + window[0] - 1, (width + window[1] - 1) * n), zero.dtype)
    return patch, np.empty((band_rows, width // band_rows * band_rows, WORD), np.int32)


@njit
def _work_on_bits(x, words, window, signs, nonzero, rows, base, pool, exceed, flip, out, tasks):
    """The tasks from the first to the last, excluded, of `convolve_bits`; a band is copied once for all its units."""
    band_rows = 2 if pool else 1
    bands, groups = x.shape[2] // band_rows, base.shape[1]
    patch, sums = _buffers(x, words, window, band_rows, signs)
    copied = -1
    for task in range(tasks[0], tasks[1]):
        image, band, group = task // groups // bands, task // groups % bands, task % groups
        top = band * band_rows
        if copied != task // groups:
            copied = task // groups
            _copy_rows(x, image, top - (window[0] - 1) // 2, (window[1] - 1) // 2 * words, patch)
        _sum_bits(patch, words, window, signs, nonzero, group, rows, top, base, sums)
        if exceed is None:
            _write_integers(sums, pool, out, image, band, group)
        else:
            _write_bits(sums, pool, exceed, flip, out, image, band, group)


@njit
def _work_on_integers(x, channels, window, weights, pool, exceed, flip, out, tasks):
    """The tasks from the first to the last, excluded, of `convolve_integers`."""
    band_rows = 2 if pool else 1
    bands, groups = x.shape[2] // band_rows, weights.shape[0]
    patch, sums = _buffers(x, channels, window, band_rows, weights)
    copied = -1
    for task in range(tasks[0], tasks[1]):
        image, band, group = task // groups // bands, task // groups % bands, task % groups
        if copied != task // groups:
            copied = task // groups
            first = band * band_rows - (window[0] - 1) // 2
            _copy_rows(x, image, first, (window[1] - 1) // 2 * channels, patch)
        _sum_integers(patch, channels, window, weights, group, sums)
        if exceed is None:
            _write_integers(sums, pool, out, image, band, group)
        else:
            _write_bits(sums, pool, exceed, flip, out, image, band, group)


@compiled
def convolve_bits(x, words, window, signs, nonzero, rows, base, pool, exceed, flip, out, workers):
    """Convolution of bits, stride 1, SAME.

    Args:
        x: (planes, images, height, width words) uint64 array.
        words: int, words of a place.
        window: (height, width) of the kernel.
        signs: of `Kernel`.
        nonzero: of `Kernel`.
        rows: of `Borders`.
        base: of `Borders`.
        pool: bool, whether to take the largest of 2x2 sums.
        exceed: of `Thresholds`, or None.
        flip: of `Thresholds`, or None.
        out: C-contiguous array to write to: (images, height, width, units) int32; with thresholds, (planes, images,
            height, width, words) uint64.
        workers: int, number of threads.
    """
    tasks = x.shape[1] * (x.shape[2] // (2 if pool else 1)) * base.shape[1]
    for worker in prange(workers):
        share = (worker * tasks // workers, (worker + 1) * tasks // workers)
        _work_on_bits(x, words, window, signs, nonzero, rows, base, pool, exceed, flip, out, share)


@compiled
def convolve_integers(x, channels, window, weights, pool, exceed, flip, out, workers):
    """Convolution of integers of size <= 255, (1, images, height, width channels), with `weights` of `Kernel`.

    The other arguments are those of `convolve_bits`.
    """
    tasks = x.shape[1] * (x.shape[2] // (2 if pool else 1)) * weights.shape[0]
    for worker in prange(workers):
        share = (worker * tasks // workers, (worker + 1) * tasks // workers)
        _work_on_integers(x, channels, window, weights, pool, exceed, flip, out, share)
