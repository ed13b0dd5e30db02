"""Integer thresholds that convert the sums of a layer to the bits of its activations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bnn.bits.words import WORD, pack_bools, word_count

LARGEST = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Thresholds:
    """One threshold per channel and plane. See `Bits` for the meaning of the planes.

    The bit of a plane is [sum >= at] in rising channels and [sum <= at] in falling channels. In a falling channel, the
    activation falls as the sum grows. If the bit of a channel is constant, its threshold is outside the range of its
    sums.

    Attributes:
        at: int32 array_like, (channels,) for binary activations, (2, channels) for ternary activations. Row 0 decides
            whether the activation is >= 0, row 1 whether it is > 0.
        rising: (channels,) bool array_like.

    Raises:
        ValueError: the shapes do not match, a threshold does not fit into int32, or the two thresholds of a channel are
            in the wrong order.
    """

    at: np.ndarray
    rising: np.ndarray

    def __post_init__(self):
        with np.errstate(invalid="ignore"):
            at, rising = np.asarray(self.at).astype(np.int32), np.asarray(self.rising, bool)
        if (at != self.at).any():
            raise ValueError("at: expected whole numbers that an int32 holds")
        if at.ndim == 1:
            at = at[None]
        if at.ndim != 2 or len(at) not in (1, 2) or at.shape[1:] != rising.shape or not rising.size:
            raise ValueError(
                f"at, rising: expected (channels,) or (2, channels) and (channels,), channels >= 1, "
                f"received {np.shape(self.at)} and {rising.shape}"
            )
        if (np.where(rising, at[0], at[-1]) > np.where(rising, at[-1], at[0])).any():
            raise ValueError(
                "at: expected every sum that passes row 1 to pass row 0, received the wrong order"
            )
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "rising", rising)

    @property
    def channels(self):
        """The number of channels."""
        return self.at.shape[1]

    @cached_property
    def exceed(self):
        """The (planes, 64 words) int32 array with which a bit, before the flip, is [sum > exceed].

        After the last channel, the bit is always 0.
        """
        padded = np.full((len(self.at), WORD * word_count(self.channels)), LARGEST, np.int32)
        one_less = np.maximum(self.at, -LARGEST) - 1
        padded[:, : self.channels] = np.where(self.rising, one_less, self.at)
        return padded

    @cached_property
    def flip(self):
        """The bits of the falling channels, (words,) uint64 array."""
        return pack_bools(~self.rising)
