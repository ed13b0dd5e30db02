"""Binary and ternary values as bits in 64-bit words.

Binary and ternary values use the same encoding. Plane 0 holds the bit [v >= 0]. Ternary values have a second plane with
the bit [v > 0], which distinguishes 0 from +1. Therefore a ternary value is the mean of the signs +-1 of its two
planes, a product with it is the mean of two binary products, and the maximum of values is the OR in each plane.
"""

from dataclasses import dataclass

import numpy as np

WORD = 64


def word_count(channels):
    """Return the number of words for a number of channels."""
    return -(-channels // WORD)


@dataclass(frozen=True, eq=False)
class Bits:
    """An array of values -1 and +1, or -1, 0 and +1, packed along its last axis.

    Attributes:
        planes: (1 or 2, ..., words) uint64 array, C-contiguous. Value i is bit i % 64 of word i // 64. Plane 0 holds
            [v >= 0]. Plane 1, which only ternary values have, holds [v > 0]. Bits after the last channel are 0.
        channels: int, the length of the last axis, >= 1.
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
        """The shape of the unpacked array."""
        return (*self.planes.shape[1:-1], self.channels)


def pack_bools(bits):
    """Pack bools into words.

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
    """Unpack `bits` into an array of values.

    Args:
        bits: Bits.

    Returns:
        An int8 array of shape `bits.shape` with values in {-1, +1}, or {-1, 0, +1} if ternary.
    """
    octets = bits.planes.astype("<u8", copy=False).view(np.uint8)
    flags = np.unpackbits(octets, axis=-1, count=bits.channels, bitorder="little").astype(np.int8)
    return flags[0] + flags[1] - 1 if bits.ternary else 2 * flags[0] - 1
