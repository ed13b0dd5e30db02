"""Convolution loops that numba compiles: they compute the sums of 64 units in a band of rows in the cache.

A task is a band of an image (one row, or the two rows that are pooled) and a group of 64 units. A worker copies the
rows of the input that the band needs, with zeros around them, computes the sums of all positions, and writes them as
integers or as bits. Then it takes the next task. The innermost loops keep the sums of four positions in registers, so
each vector of weights is loaded once and used four times.
"""

import numpy as np
from numba import njit, prange

from bnn.bits import lanes
from bnn.bits.kernels import BLOCK
from bnn.bits.lanes import LANES, WIDE
from bnn.bits.word_loops import compiled
from bnn.bits.words import WORD

SHORT = 128  # number of products of a weight and an integer in -255 ... 255 that an int16 can sum
WORDS, WEIGHTS = lanes.WORDS, lanes.WEIGHTS


@njit
def _copy_rows(images, image, first, left, patch):
    """Copy rows of an image.

    Args:
        images: (planes, images, height, width n) array.
        image: index of the image.
        first: first row to copy; rows outside the image become 0.
        left: where to start in each row of `patch`.
        patch: (planes, rows, padded width n) array to write to.
    """
    planes, _, height, length = images.shape
    for plane in range(planes):
        for row in range(patch.shape[1]):
            if 0 <= first + row < height:
                patch[plane, row, left : left + length] = images[plane, image, first + row]
            else:
                patch[plane, row] = 0


def _counter(places):
    """Make a compiled function that sums bits for `LANES` units, `places` neighboring positions at a time."""
    zeros = lanes.ZERO_COUNTS[places]

    @njit
    def count(patch, row, first, last, words, length, inside, signs, nonzero, unit, base, start, sums, index):
        planes, rows, width = patch.shape
        for column in range(first, last, places):
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
            at, base_at = index + column * WORD, start + column * WORD
            lanes.store_counts(sums, at, WORD, base, base_at, WORD, counts, 2 - planes)

    return count


def _adder(places):
    """Make a compiled function that sums integers for `WIDE` units at `places` neighboring positions."""
    zeros = lanes.ZERO_PRODUCTS[places]

    @njit
    def add(patch, row, column, channels, window, weights, unit, sums, index):
        length = window[1] * channels
        products, summed = zeros(), 0
        w = unit // WORD * weights.shape[1] * WORD + unit % WORD
        for i in range(window[0]):
            x = (row + i) * patch.shape[2] + column * channels
            end = x + length
            while x < end:
                if summed == SHORT:
                    lanes.increase(sums, index, WORD, products)
                    products, summed = zeros(), 0
                count = min(end - x, SHORT - summed)
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
    """Compute the sums, (band rows, width, 64), of a group of 64 units from patches of words."""
    length, groups, width = window[1] * words, base.shape[1], sums.shape[1]
    fours = width // 4 * 4
    for lane in range(0, WORD, LANES):
        unit = group * WORD + lane
        for row in range(sums.shape[0]):
            inside = rows[top + row]
            start = (inside[2] * groups + group) * base.shape[2] * WORD + lane
            index = row * width * WORD + lane
            _count_four(
                patch, row, 0, fours, words, length, inside, signs, nonzero, unit, base, start, sums, index
            )
            _count_one(
                patch,
                row,
                fours,
                width,
                words,
                length,
                inside,
                signs,
                nonzero,
                unit,
                base,
                start,
                sums,
                index,
            )


@njit
def _sum_integers(patch, channels, window, weights, group, sums):
    """Compute the sums, (band rows, width, 64), of a group of 64 units from patches of int16."""
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
    """Write the sums of a band, or their 2x2 maxima, into (images, height, width, units)."""
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
    """Write the bits of the sums of a band, or of their 2x2 maxima, into (planes, images, height, width, words)."""
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
def _write(sums, pool, exceed, flip, integers, planes, image, band, group):
    """Write the sums of a band as integers, or with thresholds as bits."""
    if len(exceed) == 0:
        _write_integers(sums, pool, integers, image, band, group)
    else:
        _write_bits(sums, pool, exceed, flip, planes, image, band, group)


@njit
def _buffers(x, n, window, band_rows, like):
    """Create a patch of the dtype of `like`, and the sums, for the bands of x, (planes, images, height, width n)."""
    width = x.shape[3] // n
    patch = np.zeros((x.shape[0], band_rows + window[0] - 1, (width + window[1] - 1) * n), like.dtype)
    return patch, np.empty((band_rows, width // band_rows * band_rows, WORD), np.int32)


@njit
def _work_on_bits(x, words, window, signs, nonzero, rows, base, pool, exceed, flip, integers, planes, tasks):
    """Run the tasks range(*tasks) of `convolve_bits`. A band is copied once for all of its units."""
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
        _write(sums, pool, exceed, flip, integers, planes, image, band, group)


@njit
def _work_on_integers(x, channels, window, weights, pool, exceed, flip, integers, planes, tasks):
    """Run the tasks range(*tasks) of `convolve_integers`."""
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
        _write(sums, pool, exceed, flip, integers, planes, image, band, group)


@compiled
def convolve_bits(
    x, words, window, signs, nonzero, rows, base, pool, exceed, flip, integers, planes, workers
):
    """Convolve bits with stride 1 and SAME padding.

    Args:
        x: (planes, images, height, width words) uint64 array.
        words: int, number of words per position.
        window: (height, width) of the kernel.
        signs: `Kernel.signs`.
        nonzero: `Kernel.nonzero`.
        rows: `Borders.rows`.
        base: `Borders.base`.
        pool: bool, whether to take the maximum of every 2x2 sums.
        exceed: `Thresholds.exceed`, or an array of length 0 for no thresholds.
        flip: `Thresholds.flip`, or an empty array.
        integers: without thresholds, the C-contiguous (images, height, width, units) int32 array to write to.
        planes: with thresholds, the C-contiguous (planes, images, height, width, words) uint64 array to write to.
        workers: int, number of threads.
    """
    tasks = x.shape[1] * (x.shape[2] // (2 if pool else 1)) * base.shape[1]
    for worker in prange(workers):
        share = (worker * tasks // workers, (worker + 1) * tasks // workers)
        _work_on_bits(
            x, words, window, signs, nonzero, rows, base, pool, exceed, flip, integers, planes, share
        )


@compiled
def convolve_integers(x, channels, window, weights, pool, exceed, flip, integers, planes, workers):
    """Convolve int16 numbers in -255 ... 255, (1, images, height, width channels), with `Kernel.weights`.

    The other arguments are the same as in `convolve_bits`.
    """
    tasks = x.shape[1] * (x.shape[2] // (2 if pool else 1)) * weights.shape[0]
    for worker in prange(workers):
        share = (worker * tasks // workers, (worker + 1) * tasks // workers)
        _work_on_integers(x, channels, window, weights, pool, exceed, flip, integers, planes, share)
