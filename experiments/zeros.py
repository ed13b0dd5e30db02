"""Quantizers of the experiment `ternary`: a given share of the smallest weights of every kernel becomes 0."""

import math

import keras
from keras import ops

from bnn.layers.gradients import straight_through
from bnn.layers.quantizer_functions import ABSMEAN_RATIO, BEST_RATIO, ternary
from bnn.layers.quantizers import Quantizer

# Weights of a kernel that decide its threshold; sorting all of them would double the time of a step.
SAMPLE = 2**14


class FixedZeros(Quantizer):
    """Ternary quantizer of kernels without a scale; the share of zeros does not depend on the shape of the weights.

    A subclass sets `threshold`: the share is that of Gaussian weights with this threshold, in standard deviations.
    """

    levels = 3
    relative = True

    def __call__(self, x):
        """Quantize a float tensor, straight-through backward. The shape and the dtype do not change."""
        return straight_through(lambda values: ternary(values, smallest(values, self.share)))(x)

    @property
    def share(self):
        """The share of zeros, a float in [0, 1]."""
        return math.erf(self.threshold / math.sqrt(2))


@keras.saving.register_keras_serializable("experiments")
class AbsmeanZeros(FixedZeros):
    """The share of zeros that `absmean` gives Gaussian weights: 31 %."""

    threshold = ABSMEAN_RATIO


@keras.saving.register_keras_serializable("experiments")
class OptimalZeros(FixedZeros):
    """The share of zeros that `optimal_ternary` gives Gaussian weights: 46 %."""

    threshold = BEST_RATIO


def smallest(x, share):
    """Return the magnitude that a share of a tensor's values does not exceed, estimated from about `SAMPLE` of them."""
    size = math.prod(x.shape)
    step = (size // SAMPLE) | 1  # odd, so that the sample contains weights of every unit
    sizes = ops.sort(ops.reshape(ops.abs(x), (-1,))[::step])
    return sizes[max(round(share * len(range(0, size, step))) - 1, 0)]
