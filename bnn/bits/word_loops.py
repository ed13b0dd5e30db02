"""Loops on words that numba compiles and caches: packing, thresholds, pooling, and the popcounts of a benchmark."""

import os
from pathlib import Path

import numpy as np
from numba import njit, prange

from bnn.bits import lanes
from bnn.bits.words import WORD

_zeros = lanes.ZERO_COUNTS[4]


@njit
def _bit(condition, place):
    return np.uint64(condition) << np.uint64(place)


# GNU's OpenMP reads it when its threads start. By default they spin while they wait for each other: on a busy machine,
# for up to 50 times as long as the layers of one image take.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def compiled(function, parallel=True):
    """Compile a function that releases the GIL, by default for all threads; cache its code if a folder is writable.

    numba recompiles if the file of the function itself has changed. But the function also calls code in other files of
    this package, such as `lanes`. Therefore this function deletes cached code that is older than any of these files.
    """
    try:
        dispatcher = njit(parallel=parallel, nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(parallel=parallel, nogil=True)(function)
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}-*.nbi"
    for index in Path(dispatcher.stats.cache_path).glob(name):
        if index.stat().st_mtime < newest:
            index.unlink(missing_ok=True)
    return dispatcher


def compiled_alone(function):
    """Compile a function for the thread that calls it; see `compiled`."""
    return compiled(function, parallel=False)


@compiled
def pack(values, zeros, out, workers):
    """Write the signs of numbers, (n, channels), into (planes, n, words); `zeros` has 64 zeros of the same dtype."""
    n, channels = values.shape
    whole = channels // WORD
    for worker in prange(workers):
        for row in range(worker * n // workers, (worker + 1) * n // workers):
            for i in range(whole):
                index = row * channels + i * WORD
                out[0, row, i] = lanes.at_least(values, index, zeros, 0)
                if out.shape[0] == 2:
                    out[1, row, i] = lanes.greater(values, index, zeros, 0)
            if whole < out.shape[2]:
                not_negative, positive = np.uint64(0), np.uint64(0)
                for i in range(channels % WORD):
                    value = values[row, whole * WORD + i]
                    not_negative |= _bit(value >= 0, i)
                    positive |= _bit(value > 0, i)
                out[0, row, whole] = not_negative
                if out.shape[0] == 2:
                    out[1, row, whole] = positive


@compiled
def binarize(sums, exceed, flip, out, workers):
    """Write the bits of int32 sums, (n, channels), into (planes, n, words); `Thresholds` has `exceed` and `flip`."""
    n, channels = sums.shape
    whole = channels // WORD
    for worker in prange(workers):
        for row in range(worker * n // workers, (worker + 1) * n // workers):
            for plane in range(out.shape[0]):
                for i in range(whole):
                    limit = plane * exceed.shape[1] + i * WORD
                    word = lanes.greater(sums, row * channels + i * WORD, exceed, limit)
                    out[plane, row, i] = word ^ flip[i]
                if whole < out.shape[2]:
                    word = flip[whole]
                    for i in range(channels % WORD):
                        word ^= _bit(sums[row, whole * WORD + i] > exceed[plane, whole * WORD + i], i)
                    out[plane, row, whole] = word


@compiled
def max_pool(x, flip, out, workers):
    """Write the OR of 2x2 words of x ^ flip, flipped back, into (planes, n, height, width, words)."""
    planes, n, height, width, words = out.shape
    tasks = planes * n * height
    for worker in prange(workers):
        for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
            plane, image, row = task // height // n, task // height % n, task % height
            top, bottom = x[plane, image, 2 * row], x[plane, image, 2 * row + 1]
            target = out[plane, image, row]
            for column in range(width):
                for i in range(words):
                    left, right = 2 * column, 2 * column + 1
                    word = (top[left, i] ^ flip[i]) | (top[right, i] ^ flip[i])
                    word |= (bottom[left, i] ^ flip[i]) | (bottom[right, i] ^ flip[i])
                    target[column, i] = word ^ flip[i]


@njit
def _stir(words, rounds, out):
    counts, signs = _zeros(), lanes.load(lanes.WORDS, words, 0)
    for _ in range(rounds):
        counts = lanes.stir(counts, signs)
    lanes.store_counts(out, 0, WORD, out, 0, WORD, counts, 0)


@compiled
def stir(words, rounds, out, workers):
    """Repeat XOR, popcount and addition on four vectors of `lanes.LANES` words in registers, on each thread.

    Args:
        words: (lanes.LANES,) uint64 array.
        rounds: int.
        out: (workers, 4, 64) int32 array to write the counts to.
        workers: int, number of threads.
    """
    for worker in prange(workers):
        _stir(words, rounds, out[worker])
