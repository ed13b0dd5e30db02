"""Batch norm and quantizer folded into thresholds that agree with them for every number, not by dividing and hoping.

Rounding never reverses an order: with a factor >= 0 the float32 batch norm of a larger sum is no smaller, with one < 0
no larger, and quantizers rise. So where the activation changes is found by bisection, in which the network's own layers
decide; nothing is solved for the sum.
Floats are searched, too, as the integers that number them in their order (`floats.number_of`).
"""

import numpy as np

from bnn.bits import Thresholds

PROBES = 257  # further sums at which what was found is checked


def search(activations, largest, units):
    """The thresholds of a layer.

    Args:
        activations: function from (n, units) int64 array, sums from -largest to largest, to their activations, an array
            with values -1 and +1, or -1, 0 and +1. In each unit they rise with the sum, or fall.
        largest: int, what no sum exceeds in size.
        units: int.

    Returns:
        Thresholds, ternary if some sum gives 0.

    Raises:
        ValueError: activations neither rise nor fall, or have other values.
    """
    ends = activations(np.array([[-largest], [largest]]) * np.ones(units, np.int64))
    rising = ends[0] <= ends[1]
    direction = np.where(rising, 1, -1)
    planes = [_bisect(activations, largest, direction, condition) for condition in (_not_negative, _positive)]
    at = np.stack(planes[:1] if np.array_equal(*planes) else planes) * direction
    found = Thresholds(at, rising)
    _verify(found, activations, largest)
    return found


def _not_negative(values):
    return values >= 0


def _positive(values):
    return values > 0


def _bisect(activations, largest, direction, condition):
    """Per unit the smallest number whose multiple by `direction` has the condition; largest + 1 if none has."""
    low, high = np.full(len(direction), -largest), np.full(len(direction), largest + 1)
    while (low < high).any():
        middle = np.minimum((low + high) // 2, largest)
        met = condition(activations((middle * direction)[None])[0])
        high, low = np.where(met, np.minimum(high, middle), high), np.where(met, low, middle + 1)
    return high


def _verify(found, activations, largest):
    """Raise a `ValueError` unless the activations are those of the thresholds, on both sides of each and in between."""
    beside = np.concatenate([found.at + step for step in (-1, 0, 1)])
    between = np.linspace(-largest, largest, PROBES).astype(np.int64)[:, None] * np.ones(found.channels, int)
    sums = np.clip(np.concatenate([beside, between]), -largest, largest)
    planes = np.where(found.rising, sums >= found.at[:, None], sums <= found.at[:, None]).astype(int)
    expected = planes.sum(axis=0) - 1 if len(planes) == 2 else 2 * planes[0] - 1
    if not np.array_equal(activations(sums), expected):
        raise ValueError("activations of -1 and +1, or of -1, 0 and +1, that rise or fall with the sum")
