"""Kernels of bits, arranged once for the compiled products."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from bnn.bits.words import WORD, Bits, unpack, word_count

BLOCK = 32  # units whose weights lie side by side
LINE = 64  # bytes


@dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of a convolution or of a dense layer; `convolution_kernel` and `dense_kernel` make it.

    Attributes:
        bits: Bits of a convolution's kernel, (kernel height, kernel width, units, channels), or of a dense layer's,
            (units, ..., channels): every axis but the first is summed over.
        dense: whether it is a dense layer's.
    """

    bits: Bits
    dense: bool

    @property
    def units(self):
        """Number of outputs."""
        return self.bits.shape[0 if self.dense else 2]

    @property
    def size(self):
        """(height, width) of the window; (1, 1) for a dense layer."""
        return (1, 1) if self.dense else self.bits.shape[:2]

    @property
    def fan_in(self):
        """Number of weights of one unit at one place of the window."""
        return prod(self.bits.shape[1:]) if self.dense else self.bits.channels

    @cached_property
    def planes(self):
        """(1 or 2, kernel height, kernel width, units, words) uint64 array."""
        planes = self.bits.planes
        return planes.reshape(len(planes), 1, 1, self.units, -1) if self.dense else planes

    @cached_property
    def values(self):
        """(kernel height, kernel width, units, fan-in) int8 array with values in {-1, 0, +1}."""
        return unpack(self.bits).reshape(*self.size, self.units, self.fan_in)

    @cached_property
    def nonzeros(self):
        """(kernel height, kernel width, units) int32 array, the number of weights that are not 0."""
        differ = np.bitwise_count(self.planes[0] ^ self.planes[-1])  # [v >= 0] and [v > 0] differ at 0 alone
        return self.fan_in - differ.sum(axis=-1, dtype=np.int32)

    @cached_property
    def totals(self):
        """(kernel height, kernel width, units) int32 array, the sums of the weights."""
        return 2 * np.bitwise_count(self.planes[-1]).sum(axis=-1, dtype=np.int32) - self.nonzeros

    @cached_property
    def signs(self):
        """(blocks, places x words, 32) uint64 array, the bits [v > 0]; a block is 32 units."""
        return _blocks(self.planes[-1], BLOCK)

    @cached_property
    def nonzero(self):
        """Like `signs`: the bits [v != 0], and 1 behind the channels; None for binary kernels."""
        return _blocks(~(self.planes[0] ^ self.planes[-1]), BLOCK) if self.bits.ternary else None

    @cached_property
    def weights(self):
        """(groups, places x fan-in, 64) int16 array, the weights; a group is 64 units."""
        return _blocks(self.values.astype(np.int16), WORD)

    @cached_property
    def borders(self):
        """Function from (height, width) to the `Borders` of images of that size; it remembers some."""
        return lru_cache(maxsize=8)(lambda height, width: Borders(self, height, width))


class Borders:
    """What sums of bits start from at each place of an image, where zero padding counts as 0.

    The compiled products skip rows of the window outside of the image, and read a column outside as -1. The
    column's share, minus its weights, is taken back here. Rows with the same part of the window inside share a case.

    Attributes:
        rows: (height, 3) int64 array: first row of the window inside of the image, first row behind it, case.
        base: (cases, groups of 64 units, width, 64) int32 array: number of weights that are not 0 in the rows
            inside, plus the sum of the weights in those rows and in the columns outside.
    """

    def __init__(self, kernel, height, width):
        spans, cases = np.unique(_spans(height, kernel.size[0]), axis=0, return_inverse=True)
        self.rows = np.column_stack([spans[cases.reshape(-1)], cases.reshape(-1)])
        base = np.zeros((len(spans), width, kernel.units), np.int32)
        for case, (top, bottom) in enumerate(spans):
            nonzeros, totals = (a[top:bottom].sum(axis=0) for a in (kernel.nonzeros, kernel.totals))
            for column, (left, right) in enumerate(_spans(width, kernel.size[1])):
                outside = totals[:left].sum(axis=0) + totals[right:].sum(axis=0)
                base[case, column] = nonzeros.sum(axis=0) + outside
        self.base = np.ascontiguousarray(
            np.swapaxes(_padded(base).reshape(len(spans), width, -1, WORD), 1, 2)
        )


def convolution_kernel(bits):
    """The kernel of a convolution.

    Args:
        bits: Bits of shape (kernel height, kernel width, units, channels), sizes >= 1: Keras's kernel with its last
            two axes swapped.

    Returns:
        Kernel.

    Raises:
        ValueError: another number of axes, or an axis of size 0.
    """
    return _kernel(bits, len(bits.shape) == 4, "(kernel height, kernel width, units, channels)", dense=False)


def dense_kernel(bits):
    """The kernel of a dense layer.

    Args:
        bits: Bits of shape (units, ..., channels), sizes >= 1. The axes between are for inputs with such axes, as
            (height, width, channels) of a convolution's output: their words need no repacking to be flattened.

    Returns:
        Kernel.

    Raises:
        ValueError: fewer than two axes, or an axis of size 0.
    """
    return _kernel(bits, len(bits.shape) >= 2, "(units, ..., channels)", dense=True)


def _kernel(bits, right, expected, dense):
    if not right or 0 in bits.shape:
        raise ValueError(f"kernel: expected {expected}, sizes >= 1, received {bits.shape}")
    return Kernel(bits, dense)


def _spans(size, window):
    """(size, 2) int64 array: first place of a SAME window inside of the image, and first behind, at each position."""
    starts = np.arange(size) - (window - 1) // 2
    return np.column_stack([np.maximum(-starts, 0), np.minimum(size - starts, window)])


def _padded(array):
    """The array with its last axis, units, filled up to whole words with 0."""
    padded = np.zeros((*array.shape[:-1], WORD * word_count(array.shape[-1])), array.dtype)
    padded[..., : array.shape[-1]] = array
    return padded


def _blocks(array, size):
    """From (height, width, units, n) to (blocks of units, height width n, size), aligned with lines of the cache."""
    rows = _padded(np.swapaxes(array, 2, 3)).reshape(-1, WORD * word_count(array.shape[2]))
    blocks = np.moveaxis(rows.reshape(len(rows), -1, size), 0, 1)
    buffer = np.empty(blocks.nbytes + LINE, np.uint8)
    start = -buffer.ctypes.data % LINE
    aligned = buffer[start : start + blocks.nbytes].view(array.dtype).reshape(blocks.shape)
    aligned[:] = blocks
    return aligned
