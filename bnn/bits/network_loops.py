"""A chain of products in one call, compiled by numba: no Python and no allocation between its layers.

`pipelines` plans it. A layer is divided into tasks: a group of 64 units for a band of rows of an image, or for all
images if it is dense. Each thread takes tasks until none is left, and then waits for those that other threads still
compute. So a thread that starts late, or never, delays nothing, and a layer of little work is done by one thread. The
activations of a layer are stored with the zeros that the next layer needs at both sides. Arrays are addresses; see
`accumulators`.
"""

import numpy as np
from numba import njit, types

from bnn.bits import accumulators
from bnn.bits.accumulators import (
    PLACES,
    UNITS,
    WIDE_PLACES,
    WIDE_UNITS,
    add_atomically,
    add_pairs,
    copy_sum,
    mark_above,
    read,
    read_atomically,
    read_pixel,
    read_word,
    store_sums,
    subtract_differences,
    write_number,
    write_word,
)
from bnn.bits.word_loops import compiled_alone
from bnn.bits.words import WORD

IMAGES = 16  # computed at a time, so that their activations and all weights stay in the cache
LINE = 8  # words in a cache line: each counter has one of its own
SPINS = 4000  # checks, some microseconds, before a waiting thread gives its processor away
SMALL = 2_000_000  # products that one thread computes sooner than two can share them
SHARE = 8_000_000  # products that a thread takes at a time, about 10 microseconds, so that none waits long for another

# The columns of the plan, a table with one row per layer. X is what the layer reads, Y what it writes.
(
    INTEGERS, DENSE, HEIGHT, WIDTH, TOP, PLANES, X, X_IMAGE, X_PLANE, X_ROW, X_STEP, LENGTH, TAPS, GROUPS, OUTPUTS,
    SIGNS, NONZERO, ROWS, OFFSETS, CASES, CLASSES, LIMITS, SHIFT, POOL, PLANES_OUT, FLIP, Y, Y_IMAGE, Y_PLANE, Y_ROW,
    Y_STEP, WORK,
) = range(32)  # fmt: skip
COLUMNS = 32
# The columns of its first row, the input, besides HEIGHT, X, X_IMAGE, X_ROW and Y to Y_ROW.
FACTOR, SUMMAND, WIDEST, EXIT = LENGTH, TAPS, WIDTH, GROUPS

_yield = types.ExternalFunction("sched_yield", types.int32())


@njit
def _conclude(t, total, limits, limit, offsets, column, width, lane, marks, sums):
    """Write the sums of some places from a column on, or mark in which units they exceed their limits."""
    own = offsets + 8 * column
    planes = read(t, PLANES_OUT)
    if planes == 0:
        store_sums(sums, column * WORD + lane, WORD, limits, limit, own, read(t, SHIFT), total)
        return
    stride = read(t, CASES) * read(t, GROUPS) * read(t, CLASSES) * WORD
    for plane in range(planes):
        mark_above(marks, plane * width + column, limits, limit + plane * stride, own, lane, total)


def _counter(places):
    """Make a compiled function for the sums of bits of `UNITS` units at neighboring places."""
    zeros = accumulators.zeros(places)

    @njit
    def count(
        t,
        x,
        at,
        first,
        last,
        weights,
        signs,
        nonzero,
        limits,
        limit,
        offsets,
        column,
        width,
        lane,
        marks,
        sums,
    ):
        total = zeros()
        length, step, row = read(t, LENGTH), read(t, X_STEP), read(t, X_ROW)
        for plane in range(read(t, PLANES)):
            for i in range(first, last):
                index = at + plane * read(t, X_PLANE) + i * row
                w = i * length * WORD
                if nonzero < 0:
                    w += signs
                    for _ in range(length):
                        total = subtract_differences(total, x, index, step, weights, w, None)
                        index += 1
                        w += WORD
                else:
                    for _ in range(length):
                        total = subtract_differences(total, x, index, step, weights, signs + w, nonzero + w)
                        index += 1
                        w += WORD
        _conclude(t, total, limits, limit, offsets, column, width, lane, marks, sums)

    return count


def _adder(places):
    """Make a compiled function for the sums of integers of `WIDE_UNITS` units at neighboring places."""
    zeros = accumulators.zeros(places, integers=True)

    @njit
    def add(t, x, at, first, last, weights, start, limits, limit, offsets, column, width, lane, marks, sums):
        total = zeros()
        length, step, row = read(t, LENGTH), read(t, X_STEP), read(t, X_ROW)
        for i in range(first, last):
            index = at + i * row
            w = start + i * length * 2 * WORD
            for _ in range(length):
                total = add_pairs(total, x, index, step, weights, w)
                index += 2
                w += 2 * WORD
        _conclude(t, total, limits, limit, offsets, column, width, lane, marks, sums)

    return add


_count_many, _count_one = _counter(PLACES), _counter(1)
_add_many, _add_one = _adder(WIDE_PLACES), _adder(1)


@njit
def _sum_row(t, row, width, image, group, words, numbers, static, marks, sums):
    """The sums of a row of positions for 64 units: their marks, (planes, width), or the sums, (width, 64)."""
    weights, pairs, index, limits, _ = static
    rows = read(t, ROWS) + 3 * row
    first, last, case = read(index, rows), read(index, rows + 1), read(index, rows + 2)
    at = read(t, X) + image * read(t, X_IMAGE) + (row - read(t, TOP)) * read(t, X_ROW)
    limit = read(t, LIMITS) + (case * read(t, GROUPS) + group) * read(t, CLASSES) * WORD
    offsets = index + 8 * read(t, OFFSETS)
    step, start = read(t, X_STEP), group * read(t, TAPS) * WORD
    for i in range(read(t, PLANES_OUT) * width):
        write_word(marks, i, np.uint64(0))
    column = 0
    if read(t, INTEGERS):
        start = read(t, SIGNS) + 2 * start
        while column < width:
            x = at + column * step
            if column + WIDE_PLACES <= width:
                for lane in range(0, WORD, WIDE_UNITS):
                    w = start + 2 * lane
                    _add_many(
                        t, numbers, x, first, last, pairs, w, limits, limit + lane, offsets, column, width, lane,
                        marks, sums,
                    )  # fmt: skip
                column += WIDE_PLACES
            else:
                for lane in range(0, WORD, WIDE_UNITS):
                    w = start + 2 * lane
                    _add_one(
                        t, numbers, x, first, last, pairs, w, limits, limit + lane, offsets, column, width, lane,
                        marks, sums,
                    )  # fmt: skip
                column += 1
        return
    ternary = read(t, NONZERO) >= 0
    while column < width:
        x = at + column * step
        many = column + PLACES <= width
        for lane in range(0, WORD, UNITS):
            w = read(t, SIGNS) + start + lane
            mask = read(t, NONZERO) + start + lane if ternary else -1
            if many:
                _count_many(
                    t, words, x, first, last, weights, w, mask, limits, limit + lane, offsets, column, width, lane,
                    marks, sums,
                )  # fmt: skip
            else:
                _count_one(
                    t, words, x, first, last, weights, w, mask, limits, limit + lane, offsets, column, width, lane,
                    marks, sums,
                )  # fmt: skip
        column += PLACES if many else 1


@njit
def _write(t, marks, width, flip, out, at):
    """Write the words of a band from the marks of its rows, (rows, planes, width); 2x2 windows are pooled."""
    planes, pool, step = read(t, PLANES_OUT), read(t, POOL), read(t, Y_STEP)
    for plane in range(planes):
        top, bottom = plane * width, (planes + plane) * width
        for column in range(width // 2 if pool else width):
            if pool == 0:
                word = read_word(marks, top + column) ^ flip
            else:
                a, b = read_word(marks, top + 2 * column), read_word(marks, top + 2 * column + 1)
                c, d = read_word(marks, bottom + 2 * column), read_word(marks, bottom + 2 * column + 1)
                largest_sum = (a | b | c | d) ^ flip
                largest_bit = (a ^ flip) | (b ^ flip) | (c ^ flip) | (d ^ flip)
                word = largest_sum if pool == 1 else largest_bit
            write_word(out, at + plane * read(t, Y_PLANE) + column * step, word)


@njit
def _task(t, task, block, words, numbers, static, marks, sums, result):
    """Compute one task of a layer for a block of images; `result` is where the sums of the block go."""
    pool = read(t, POOL)
    band_rows = 2 if pool else 1
    bands = read(t, HEIGHT) // band_rows
    group, image, band, width = task, 0, 0, block
    if not read(t, DENSE):
        group, image, band, width = (
            task // (block * bands),
            task // bands % block,
            task % bands,
            read(t, WIDTH),
        )
    planes = read(t, PLANES_OUT)
    for row in range(band_rows):
        own = marks + 8 * row * planes * width
        _sum_row(t, band * band_rows + row, width, image, group, words, numbers, static, own, sums)
    if planes:
        at = read(t, Y) + image * read(t, Y_IMAGE) + band * read(t, Y_ROW) + group
        _write(t, marks, width, read_word(static[4], read(t, FLIP) + group), words, at)
        return
    units = read(t, OUTPUTS)
    for column in range(width):
        for unit in range(min(WORD, units - group * WORD)):
            copy_sum(result, column * units + group * WORD + unit, sums, column * WORD + unit)


@njit
def _copy_pixels(t, images, length, image, numbers, target):
    """Copy an image of uint8 as integers between the zeros of its rows."""
    rows = read(t, HEIGHT)
    factor, summand = read(t, FACTOR), read(t, SUMMAND)
    for row in range(rows):
        at = read(t, X) + target * read(t, X_IMAGE) + row * read(t, X_ROW)
        start = image * length + row * (length // rows)
        for i in range(length // rows):
            write_number(numbers, at + i, read_pixel(images, start + i) * factor + summand)


@njit
def _copy_words(t, planes, shape, image, words, target):
    """Copy the words of an image, shape is (planes, images, height, words), between the zeros of its rows."""
    for plane in range(shape[0]):
        for row in range(shape[2]):
            at = read(t, Y) + target * read(t, Y_IMAGE) + plane * read(t, Y_PLANE) + row * read(t, Y_ROW)
            start = ((plane * shape[1] + image) * shape[2] + row) * shape[3]
            for i in range(shape[3]):
                write_word(words, at + i, read_word(planes, start + i))


@njit
def _finish(counters, place, total):
    """Wait until all tasks are done."""
    spins = 0
    while read_atomically(counters, place) < total:
        spins += 1
        if spins > SPINS:
            _yield()


@njit
def _work(plan, layers, static, images, length, planes, shape, n, words, numbers, counters, local, sums_out, words_out,
          out_length, workers):  # fmt: skip
    """Take part in all tasks of all layers."""
    marks, sums = local, local + 8 * 4 * read(plan, WIDEST)
    units = read(plan + 8 * COLUMNS * layers, OUTPUTS)
    place = 0
    for first in range(0, n, IMAGES):
        block = min(IMAGES, n - first)
        while True:
            image = add_atomically(counters, place, 1)
            if image >= block:
                break
            if length:
                _copy_pixels(plan, images, length, first + image, numbers, image)
            else:
                _copy_words(plan, planes, shape, first + image, words, image)
            add_atomically(counters, place + LINE, 1)
        _finish(counters, place + LINE, block)
        place += 2 * LINE
        for layer in range(1, layers + 1):
            t = plan + 8 * COLUMNS * layer
            bands = 1 if read(t, DENSE) else block * (read(t, HEIGHT) // (2 if read(t, POOL) else 1))
            tasks = read(t, GROUPS) * bands
            work = read(t, WORK) * block
            step = tasks if work < SMALL else max(1, min(tasks // (8 * workers), tasks * SHARE // work))
            while True:
                task = add_atomically(counters, place, step)
                if task >= tasks:
                    break
                last = min(task + step, tasks)
                for i in range(task, last):
                    _task(t, i, block, words, numbers, static, marks, sums, sums_out + 4 * first * units)
                add_atomically(counters, place + LINE, last - task)
            _finish(counters, place + LINE, tasks)
            place += 2 * LINE
        if out_length:
            while True:
                image = add_atomically(counters, place, 1)
                if image >= block:
                    break
                start = read(plan, EXIT) + image * read(plan, Y_IMAGE)
                for i in range(out_length):
                    write_word(words_out, (first + image) * out_length + i, read_word(words, start + i))
                add_atomically(counters, place + LINE, 1)
            _finish(counters, place + LINE, block)
            place += 2 * LINE


@compiled_alone
def work(plan, static, images, planes, memory, sums_out, words_out, worker, workers):
    """Take part in the computation of all layers, and return when all are computed.

    Args:
        plan: (1 + layers, `COLUMNS`) int64 array.
        static: (5,) int64 array, the addresses of the weights of bits, of pairs of weights, of the rows and columns of
            all layers (int64), of the limits of sums, or what is added to them (int32), and of the bits of falling
            channels.
        images: (n, entries of an image) uint8 array, or (0, 0).
        planes: instead, (planes, n, height, width x words) uint64 array, or (0, 0, 0, 0).
        memory: uint64 array, of the size in `parts`; zeros before the first thread begins.
        sums_out: (n, units) int32 array to write the sums of the last layer to, or (n, 0).
        words_out: (n, words) uint64 array to write its bits to, or (n, 0).
        worker: int, the number of this thread, from 0 on.
        workers: int, the largest number of threads.
    """
    n = sums_out.shape[0]
    layers = plan.shape[0] - 1
    sizes = plan[0, Y_IMAGE], plan[0, X_IMAGE], plan[0, WIDEST]
    numbers, local, own, counters, _ = parts(n, layers, sizes[0], sizes[1], sizes[2], workers)
    start = memory.ctypes.data
    _work(
        plan.ctypes.data, layers, (static[0], static[1], static[2], static[3], static[4]), images.ctypes.data,
        images.shape[1], planes.ctypes.data, planes.shape, n, start, start + 8 * numbers, start + 8 * counters,
        start + 8 * (local + worker * own), sums_out.ctypes.data, words_out.ctypes.data, words_out.shape[1], workers,
    )  # fmt: skip


@njit
def parts(n, layers, image_words, image_numbers, widest, workers):
    """The memory of a call, in words: where the integers, the first thread's marks and sums and the counters are.

    Returns:
        (start of the integers, of the marks and sums, words of these for each thread, start of the counters, all words)
    """
    block = min(n, IMAGES)
    numbers = block * image_words + LINE
    local = numbers + block * image_numbers // 4 + LINE
    own = (4 + WORD // 2) * widest + LINE
    counters = local + workers * own
    return numbers, local, own, counters, counters + -(-n // IMAGES) * (layers + 2) * 2 * LINE
