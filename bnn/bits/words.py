"""Binary and ternary values as bits in 64-bit words.

One encoding serves both. Plane 0 holds the bit [v >= 0]. Ternary values have a second plane with the bit [v > 0], so
that 0 differs from both others. Hence a ternary value is the mean of the signs +-1 of its two planes, a product with
it is the mean of two binary products, and the maximum of values is OR in every plane.
"""

from dataclasses import dataclass

import numpy as np

WORD = 64


def word_count(channels):
    """Number of words that hold so many bits."""
    return -(-channels // WORD)


@dataclass(frozen=True, eq=False)
class Bits:
    """An array of values -1 and +1, or -1, 0 and +1, packed along its last axis.

    Attributes:
        planes: (1 or 2, ..., words) uint64 array, C-contiguous; value i is bit i % 64 of word i // 64. Plane 0 holds
            [v >= 0]; plane 1, of ternary values alone, [v > 0]. Bits behind the last channel are 0.
        channels: length of the last axis, >= 1.
    """

    planes: np.ndarray
    channels: int

    def __post_init__(self):
        expected = word_count(self.channels)
        if self.planes.dtype != np.uint64 or self.planes.ndim < 2 or self.planes.shape[-1] != expected:
            raise ValueError(
                f"planes: expected uint64 words, {expected} on the last axis for {self.channels} channels, "
                f"received {self.planes.dtype} {self.planes.shape}"
            )
        object.__setattr__(self, "planes", np.ascontiguousarray(self.planes))

    @property
    def ternary(self):
        """Whether 0 is among the possible values."""
        return len(self.planes) == 2

    @property
    def shape(self):
        """Shape of the unpacked array."""
        return (*self.planes.shape[1:-1], self.channels)


def pack_bools(bits):
    """Words of bits.

    Args:
        bits: (..., channels) bool array.

    Returns:
        (..., words) uint64 array.
    """
    octets = np.packbits(bits, axis=-1, bitorder="little")
    whole = np.zeros((*bits.shape[:-1], 8 * word_count(bits.shape[-1])), np.uint8)
    whole[..., : octets.shape[-1]] = octets
    return whole.view("<u8").astype(np.uint64, copy=False)


def unpack(bits):
    """The values of `bits`.

    Args:
        bits: Bits.

    Returns:
        int8 array of shape `bits.shape` with values in {-1, +1}, or {-1, 0, +1} if ternary.
    """
    octets = bits.planes.astype("<u8", copy=False).view(np.uint8)
    flags = np.unpackbits(octets, axis=-1, count=bits.channels, bitorder="little").astype(np.int8)
    return flags[0] + flags[1] - 1 if bits.ternary else 2 * flags[0] - 1
