"""Kernels of bits, in the layout that the compiled products need."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from bnn.bits.words import WORD, Bits, unpack, word_count

BLOCK = 32  # number of units whose weights are adjacent in memory
LINE = 64  # bytes


@dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of a convolution or of a dense layer; make it with `convolution_kernel` or `dense_kernel`.

    Attributes:
        bits: Bits. For a convolution, (kernel height, kernel width, units, channels). For a dense layer,
            (units, ..., channels); products sum over every axis except the first.
        dense: bool, whether it is the kernel of a dense layer.
    """

    bits: Bits
    dense: bool

    @property
    def units(self):
        """The number of outputs."""
        return self.bits.shape[0 if self.dense else 2]

    @property
    def size(self):
        """The (height, width) of the window; (1, 1) for a dense layer."""
        return (1, 1) if self.dense else self.bits.shape[:2]

    @property
    def fan_in(self):
        """The number of weights of one unit at one position of the window."""
        return prod(self.bits.shape[1:]) if self.dense else self.bits.channels

    @cached_property
    def planes(self):
        """The planes of words, (1 or 2, kernel height, kernel width, units, words) uint64 array."""
        planes = self.bits.planes
        return planes.reshape(len(planes), 1, 1, self.units, -1) if self.dense else planes

    @cached_property
    def values(self):
        """The weights in {-1, 0, +1}, (kernel height, kernel width, units, fan-in) int8 array."""
        return unpack(self.bits).reshape(*self.size, self.units, self.fan_in)

    @cached_property
    def nonzeros(self):
        """The number of weights that are not 0, (kernel height, kernel width, units) int32 array."""
        differ = np.bitwise_count(self.planes[0] ^ self.planes[-1])  # [v >= 0] and [v > 0] differ only at 0
        return self.fan_in - differ.sum(axis=-1, dtype=np.int32)

    @cached_property
    def totals(self):
        """The sums of the weights, (kernel height, kernel width, units) int32 array."""
        return 2 * np.bitwise_count(self.planes[-1]).sum(axis=-1, dtype=np.int32) - self.nonzeros

    @cached_property
    def signs(self):
        """The bits [v > 0], (blocks, positions x words, 32) uint64 array. A block has 32 units."""
        return blocks_of(self.planes[-1], BLOCK)

    @cached_property
    def nonzero(self):
        """The bits [v != 0], in the layout of `signs`, and 1 after the last channel; None for binary kernels."""
        return blocks_of(~(self.planes[0] ^ self.planes[-1]), BLOCK) if self.bits.ternary else None

    @cached_property
    def weights(self):
        """The weights, (groups, positions x fan-in, 64) int16 array. A group has 64 units."""
        return blocks_of(self.values.astype(np.int16), WORD)

    @cached_property
    def borders(self):
        """A function from (height, width) to the `Borders` of images of that size, with a small cache."""
        return lru_cache(maxsize=8)(lambda height, width: Borders(self, height, width))


class Borders:
    """The initial values of the sums of bits at each position of an image. They make zero padding count as 0.

    The compiled products skip rows of the window outside the image. They read columns outside the image as -1, which
    adds minus the sum of the weights of these columns. `base` corrects this. Rows with the same part of the window
    inside the image belong to the same case.

    Attributes:
        rows: (height, 3) int64 array: first row of the window inside the image, the row after the last one inside,
            and the case.
        base: (cases, groups of 64 units, width, 64) int32 array: the number of nonzero weights in the rows inside, plus
            the sum of the weights in those rows and in the columns outside.
    """

    def __init__(self, kernel, height, width):
        spans, cases = np.unique(inside_spans(height, kernel.size[0]), axis=0, return_inverse=True)
        self.rows = np.column_stack([spans[cases.reshape(-1)], cases.reshape(-1)])
        base = np.zeros((len(spans), width, kernel.units), np.int32)
        for case, (top, bottom) in enumerate(spans):
            nonzeros, totals = (a[top:bottom].sum(axis=0) for a in (kernel.nonzeros, kernel.totals))
            for column, (left, right) in enumerate(inside_spans(width, kernel.size[1])):
                outside = totals[:left].sum(axis=0) + totals[right:].sum(axis=0)
                base[case, column] = nonzeros.sum(axis=0) + outside
        self.base = np.ascontiguousarray(
            np.swapaxes(_padded(base).reshape(len(spans), width, -1, WORD), 1, 2)
        )


def convolution_kernel(bits):
    """Make the kernel of a convolution.

    Args:
        bits: Bits of shape (kernel height, kernel width, units, channels), all sizes >= 1. This is Keras's kernel with
            the last two axes swapped.

    Returns:
        Kernel.

    Raises:
        ValueError: the number of axes is not 4, or an axis has size 0.
    """
    return _kernel(bits, len(bits.shape) == 4, "(kernel height, kernel width, units, channels)", dense=False)


def dense_kernel(bits):
    """Make the kernel of a dense layer.

    Args:
        bits: Bits of shape (units, ..., channels), all sizes >= 1. The axes in the middle are those of the input, such
            as (height, width, channels) of a convolution's output. With them, the words of the input can be flattened
            without repacking.

    Returns:
        Kernel.

    Raises:
        ValueError: there are fewer than two axes, or an axis has size 0.
    """
    return _kernel(bits, len(bits.shape) >= 2, "(units, ..., channels)", dense=True)


def _kernel(bits, valid, expected, dense):
    if not valid or 0 in bits.shape:
        raise ValueError(f"kernel: expected {expected}, sizes >= 1, received {bits.shape}")
    return Kernel(bits, dense)


def inside_spans(size, window):
    """Find the part of a SAME window that is inside the image at each position: (size, 2) array of start and stop."""
    starts = np.arange(size) - (window - 1) // 2
    return np.column_stack([np.maximum(-starts, 0), np.minimum(size - starts, window)])


def _padded(array):
    """Pad the last axis of an array, the units, with zeros to whole words."""
    padded = np.zeros((*array.shape[:-1], WORD * word_count(array.shape[-1])), array.dtype)
    padded[..., : array.shape[-1]] = array
    return padded


def blocks_of(array, size):
    """Rearrange (height, width, units, n) to (blocks of units, height width n, size), aligned with cache lines."""
    rows = _padded(np.swapaxes(array, 2, 3)).reshape(-1, WORD * word_count(array.shape[2]))
    blocks = np.moveaxis(rows.reshape(len(rows), -1, size), 0, 1)
    buffer = np.empty(blocks.nbytes + LINE, np.uint8)
    start = -buffer.ctypes.data % LINE
    aligned = buffer[start : start + blocks.nbytes].view(array.dtype).reshape(blocks.shape)
    aligned[:] = blocks
    return aligned
