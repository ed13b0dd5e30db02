"""Integer thresholds that turn the sums of a layer into the bits of its activations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bnn.bits.words import WORD, pack_bools, word_count

LARGEST = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Thresholds:
    """One threshold per channel and plane; see `Bits` for what the planes mean.

    The bit of a plane is [sum >= at] in rising channels, and [sum <= at] in falling ones, whose activations fall
    where sums grow. A channel whose bit is constant takes a threshold beyond the range of its sums.

    Attributes:
        at: (channels,) int32 array_like for binary activations, (2, channels) for ternary ones. Row 0 decides
            whether the activation is >= 0, row 1 whether it is > 0.
        rising: (channels,) bool array_like.

    Raises:
        ValueError: shapes do not match, a threshold is no int32, or a channel's two are in the wrong order.
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
            raise ValueError("at: expected no channel where row 1 holds for a sum, and row 0 does not")
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "rising", rising)

    @property
    def channels(self):
        """Number of channels."""
        return self.at.shape[1]

    @cached_property
    def exceed(self):
        """(planes, 64 words) int32 array: a bit, before it is flipped, is [sum > this]; never behind the channels."""
        padded = np.full((len(self.at), WORD * word_count(self.channels)), LARGEST, np.int32)
        one_less = np.maximum(self.at, -LARGEST) - 1
        padded[:, : self.channels] = np.where(self.rising, one_less, self.at)
        return padded

    @cached_property
    def flip(self):
        """(words,) uint64 array: the bits of the falling channels."""
        return pack_bools(~self.rising)
