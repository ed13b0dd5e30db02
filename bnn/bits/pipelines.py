"""A chain of products that numba computes in one call: its weights, thresholds and plan, laid out for `network_loops`.

The products are those of `convolve`, `dense`, `convolve_integers` and `dense_integers`, one after another.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from bnn.bits.kernels import LINE, Kernel, blocks_of, inside_spans
from bnn.bits.thresholds import Thresholds
from bnn.bits.words import WORD, Bits, word_count

POOLS = ("none", "sums", "bits")
ALONE = 10_000_000  # with fewer products, one thread is ready before another one has begun


@dataclass(frozen=True, eq=False)
class Step:
    """One product.

    Attributes:
        kernel: Kernel.
        thresholds: Thresholds, or None for the sums; only the last step may give those, if it is dense.
        pool: "sums": the largest sum of each 2x2 window before the thresholds; "bits": the largest activation; "none".
    """

    kernel: Kernel
    thresholds: Thresholds | None
    pool: str = "none"


class Pipeline:
    """Products that numba computes in one call.

    Args:
        shape: tuple, (height, width, channels) or (features,) of the input.
        steps: list of Step, at least one.
        scale: (factor, summand), whole numbers, if the input is uint8 and the first step multiplies
            factor * pixel + summand, which is from -255 to 255; None: the input is Bits.
        planes: int, the number of planes of an input of Bits.
    """

    def __init__(self, shape, steps, scale=None, planes=1):
        self.made_of = shape, steps, scale, planes
        layout = _Layout(shape, steps, scale, planes)
        self.plan, self.sizes, self.shape_out = layout.plan, layout.sizes(), layout.shape_out
        self.products = int(layout.plan[1:, layout.loops.WORK].sum())  # of an image
        self.arrays = layout.arrays()
        self.addresses = np.array([array.ctypes.data for array in self.arrays])

    def __reduce__(self):
        """Copies are made again, as addresses are those of this object's arrays."""
        return type(self), self.made_of

    def __call__(self, x):
        """The output of the last step.

        Args:
            x: (n, *shape) uint8 array, or Bits of that shape; n >= 1.

        Returns:
            (n, units) int32 sums, or with thresholds Bits.
        """
        from numba import get_num_threads

        from bnn.bits import network_loops

        if isinstance(x, Bits):
            images, n = np.empty((0, 0), np.uint8), x.shape[0]
            rows = x.shape[1] if len(x.shape) == 4 else 1
            planes = x.planes.reshape(len(x.planes), n, rows, -1)
        else:
            images, n = np.ascontiguousarray(x).reshape(len(x), -1), len(x)
            planes = np.empty((0, 0, 0, 0), np.uint64)
        _, steps, *_ = self.made_of
        units, thresholds = steps[-1].kernel.units, steps[-1].thresholds
        sums = np.empty((n, 0 if thresholds else units), np.int32)
        words = np.empty((n, prod(self.shape_out) if thresholds else 0), np.uint64)
        workers = get_num_threads()
        *_, size = network_loops.parts.py_func(n, len(steps), *self.sizes, workers)
        memory = np.zeros(size, np.uint64)
        arrays = self.plan, self.addresses, images, planes, memory, sums, words
        if n * self.products >= ALONE:
            _helpers(workers - 1).help(network_loops.work, arrays)
        network_loops.work(*arrays, 0, workers)
        if thresholds is None:
            return sums
        return Bits(np.moveaxis(words.reshape(n, *self.shape_out), 1, 0), units)


class _Helpers:
    """Threads that take part in calls. Nothing waits for them, so a busy machine delays a call by what they took alone.

    A thread that has not finished the call before the last one, or did not survive a fork, gets no further call. (The
    last one may be computed, while the thread still waits to say so.)
    """

    def __init__(self, count):
        self.threads = [ThreadPoolExecutor(1, f"bnn-bits-{i + 1}") for i in range(count)]
        self.calls = [(None, None)] * count  # the last two

    def help(self, work, arrays):
        """Let each free thread call work(*arrays, its number from 1 on, number of threads with the caller's)."""
        workers = len(self.threads) + 1
        for i, thread in enumerate(self.threads):
            older, newer = self.calls[i]
            if older is None or older.done():
                with suppress(RuntimeError):  # the interpreter ends
                    self.calls[i] = newer, thread.submit(work, *arrays, i + 1, workers)


@cache
def _helpers(count):
    return _Helpers(count)


class _Layout:
    """The plan and the arrays of a `Pipeline`. The memory of an image has what each layer writes and the next reads."""

    def __init__(self, shape, steps, scale, planes):
        from bnn.bits import accumulators, network_loops

        self.loops, self.digit = network_loops, accumulators.DIGIT
        self.digits = WORD // 8 // np.dtype(self.digit).itemsize  # in a word
        self.weights, self.pairs, self.index, self.limits, self.flips = [], [], [], [], []
        self.plan = np.zeros((1 + len(steps), network_loops.COLUMNS), np.int64)
        self.end = 0  # of the memory of an image, in words
        for i, step in enumerate(steps):
            t = self.plan[i + 1]
            if i == 0 and scale is not None:
                self.read_numbers(t, step.kernel, shape, scale)
            else:
                self.read_words(t, step.kernel, self.write(self.plan[i], shape, planes, step.kernel))
            shape, planes = self.conclude(t, step, shape, planes)
        if steps[-1].thresholds is not None:
            self.plan[0, network_loops.EXIT] = self.end
            rows, _, columns, words = self.write(self.plan[-1], shape, planes, None)[:4]
            self.shape_out = (planes, *((rows, columns) if len(shape) == 3 else ()), words)
        else:
            self.shape_out = ()
        self.share()

    def sizes(self):
        """The sizes that `network_loops.parts` takes."""
        return [int(self.plan[0, c]) for c in (self.loops.Y_IMAGE, self.loops.X_IMAGE, self.loops.WIDEST)]

    def arrays(self):
        """The arrays whose addresses `network_loops.run` takes."""
        kinds = self.digit, np.int16, np.int64, np.int32, np.uint64
        lists = self.weights, self.pairs, self.index, self.limits, self.flips
        return [_joined(parts, kind) for parts, kind in zip(lists, kinds, strict=True)]

    def write(self, t, shape, planes, reader):
        """Plan where a layer writes its output, (height, width, channels) or (units,), for the kernel that reads it.

        Returns:
            (rows, positions of a row with zeros, columns, words of a position, planes, start)
        """
        loops = self.loops
        rows, columns, channels = shape if len(shape) == 3 else (1, 1, shape[0])
        left, length, words = *_padding(reader, columns), word_count(channels)
        start, size = self.end, rows * length * words
        t[loops.Y] = start + left * words
        t[loops.Y_PLANE], t[loops.Y_ROW], t[loops.Y_STEP] = size, length * words, words
        self.end = -(-(start + planes * size) // LINE) * LINE
        return rows, length, columns, words, planes, start

    def share(self):
        """Set the distance between the memories of two images, an odd number of cache lines, and of dense positions."""
        loops, table = self.loops, self.plan[1:]
        size = self.end + 8 * (1 - self.end // 8 % 2)
        self.plan[:, loops.Y_IMAGE] = size
        table[table[:, loops.INTEGERS] == 0, loops.X_IMAGE] = size * self.digits
        dense = table[:, loops.DENSE] == 1
        table[dense, loops.X_STEP] = table[dense, loops.X_IMAGE]
        table[dense, loops.Y_STEP] = size
        self.plan[0, loops.WIDEST] = max(loops.IMAGES, table[:, loops.WIDTH].max())

    def read_words(self, t, kernel, written):
        """Plan the product of bits."""
        loops = self.loops
        rows, length, columns, words, planes, start = written
        height, width = kernel.size
        taps = (rows * columns if kernel.dense else width) * words * self.digits
        t[loops.DENSE], t[loops.HEIGHT], t[loops.WIDTH] = (1, 1, 1) if kernel.dense else (0, rows, columns)
        t[loops.TOP], t[loops.PLANES], t[loops.SHIFT] = (height - 1) // 2, planes, 2 - planes
        t[loops.X], t[loops.X_PLANE] = start * self.digits, rows * length * words * self.digits
        t[loops.X_ROW], t[loops.X_STEP] = length * words * self.digits, words * self.digits
        t[loops.LENGTH], t[loops.TAPS] = taps, height * taps
        t[loops.SIGNS] = _append(self.weights, self.in_digits(kernel.planes[-1]))
        nonzero = ~(kernel.planes[0] ^ kernel.planes[-1])
        t[loops.NONZERO] = _append(self.weights, self.in_digits(nonzero)) if kernel.bits.ternary else -1

    def in_digits(self, planes):
        """Words of weights, (height, width, units, words), as digits, (groups, taps, 64)."""
        return blocks_of(np.ascontiguousarray(planes).view(self.digit), WORD)

    def read_numbers(self, t, kernel, shape, scale):
        """Plan the product of integers: pairs of neighboring integers of a row times pairs of weights."""
        loops, entry = self.loops, self.plan[0]
        rows, columns, channels = (1, 1, prod(shape)) if kernel.dense else shape
        left, length = _padding(kernel, columns)
        weights = kernel.values.astype(np.int16).transpose(0, 2, 1, 3)
        weights = weights.reshape(kernel.size[0], kernel.units, -1)
        weights = np.pad(weights, [(0, 0), (0, 0), (0, weights.shape[2] % 2)])
        pairs = blocks_of(np.ascontiguousarray(weights[:, None]).view(np.int32), WORD)
        t[loops.SIGNS] = _append(self.pairs, pairs.view(np.int16))
        t[loops.INTEGERS], t[loops.DENSE], t[loops.NONZERO] = 1, kernel.dense, -1
        t[loops.HEIGHT], t[loops.WIDTH], t[loops.TOP] = rows, columns, (kernel.size[0] - 1) // 2
        t[loops.X_IMAGE], t[loops.X_ROW] = rows * length * channels + 2, length * channels
        t[loops.X_STEP], t[loops.LENGTH], t[loops.TAPS] = channels, weights.shape[2] // 2, pairs.shape[1]
        entry[loops.HEIGHT], entry[loops.X], entry[loops.X_ROW] = rows, left * channels, length * channels
        entry[loops.X_IMAGE], entry[loops.FACTOR], entry[loops.SUMMAND] = t[loops.X_IMAGE], *scale

    def conclude(self, t, step, shape, planes):
        """Plan what is done with the sums; return the shape and the number of planes of the output.

        The sum of a unit is base + 2^shift total. So it exceeds a threshold if the total exceeds a limit.
        """
        loops, kernel, thresholds = self.loops, step.kernel, step.thresholds
        rows, columns = (1, 1) if kernel.dense else shape[:2]
        t[loops.OUTPUTS], t[loops.POOL] = kernel.units, POOLS.index(step.pool)
        t[loops.WORK] = kernel.fan_in * prod(kernel.size) * kernel.units * rows * columns
        base = self.bases(t, kernel, rows, columns)
        if thresholds is None:
            t[loops.LIMITS] = _append(self.limits, base)
            return (kernel.units,), planes
        count = len(thresholds.exceed)
        exceed = thresholds.exceed.reshape(count, 1, -1, 1, WORD).astype(np.int64)
        limits = (exceed - base) >> t[loops.SHIFT]
        ends = np.iinfo(np.int32)
        t[loops.LIMITS] = _append(self.limits, np.clip(limits, ends.min, ends.max).astype(np.int32))
        t[loops.FLIP], t[loops.PLANES_OUT] = _append(self.flips, thresholds.flip), count
        if step.pool != "none":
            rows, columns = rows // 2, columns // 2
        return (kernel.units,) if kernel.dense else (rows, columns, kernel.units), count

    def bases(self, t, kernel, rows, columns):
        """`Borders.base` for each case of rows and each class of columns, (cases, groups, classes, 64)."""
        loops = self.loops
        borders = kernel.borders(rows, columns)
        _, first, classes = np.unique(
            inside_spans(columns, kernel.size[1]), axis=0, return_index=True, return_inverse=True
        )
        base, inside, classes = borders.base[:, :, first], borders.rows, classes.reshape(-1)
        if t[loops.INTEGERS]:  # zeros are zeros
            base, inside, classes = np.zeros_like(base[:1, :, :1]), inside * [1, 1, 0], 0 * classes
        t[loops.ROWS] = _append(self.index, inside)
        offsets = np.zeros(max(columns, loops.IMAGES), np.int64)
        offsets[:columns] = WORD * classes
        t[loops.OFFSETS] = _append(self.index, offsets)
        t[loops.CASES], t[loops.GROUPS], t[loops.CLASSES] = base.shape[:3]
        return base


def _padding(kernel, columns):
    """(zeros before a row, its length with all zeros); only a convolution reads its input with zeros."""
    if kernel is None or kernel.dense:
        return 0, columns
    return (kernel.size[1] - 1) // 2, columns + kernel.size[1] - 1


def _append(arrays, array):
    """Append an array; return the number of entries before it."""
    start = sum(own.size for own in arrays)
    arrays.append(array.reshape(-1))
    return start


def _joined(arrays, dtype):
    """One array, aligned with cache lines, of all arrays."""
    size = sum(own.nbytes for own in arrays)
    buffer = np.zeros(size + LINE, np.uint8)
    start = -buffer.ctypes.data % LINE
    joined = buffer[start : start + size].view(dtype)
    if arrays:
        np.concatenate(arrays, out=joined)
    return joined
