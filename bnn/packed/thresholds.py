"""Batch norm and quantizer folded into thresholds that agree with them for every number.

Rounding never reverses an order: for a larger sum, the float32 batch norm is never smaller if its factor is >= 0, and
never larger if it is < 0. Quantizers increase. So bisection finds the sum at which the activation changes; at each step
the layers of the network itself are evaluated. Solving batch norm for the sum would be wrong because of rounding.
Float sums are searched in the same way, as integers that number them in their order (`floats.number_of`).
"""

import numpy as np

from bnn.bits import Thresholds

PROBES = 257  # number of further sums at which the result is checked


def search(activations, largest, units):
    """Find the thresholds of a layer.

    Args:
        activations: function from an (n, units) int64 array of sums, from -largest to largest, to their activations, an
            array of -1 and +1, or -1, 0 and +1. In each unit they increase or decrease with the sum.
        largest: int, the largest magnitude of a sum.
        units: int, number of units.

    Returns:
        Thresholds, ternary if some sum gives 0.

    Raises:
        ValueError: activations neither increase nor decrease, or have other values.
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
    """For each unit, the smallest n such that n * direction meets the condition; largest + 1 if there is none."""
    low, high = np.full(len(direction), -largest), np.full(len(direction), largest + 1)
    while (low < high).any():
        middle = np.minimum((low + high) // 2, largest)
        met = condition(activations((middle * direction)[None])[0])
        high, low = np.where(met, np.minimum(high, middle), high), np.where(met, low, middle + 1)
    return high


def _verify(found, activations, largest):
    """Raise a `ValueError` unless the thresholds give the activations, at both sides of each threshold and between."""
    beside = np.concatenate([found.at + step for step in (-1, 0, 1)])
    between = np.linspace(-largest, largest, PROBES).astype(np.int64)[:, None] * np.ones(found.channels, int)
    sums = np.clip(np.concatenate([beside, between]), -largest, largest)
    planes = np.where(found.rising, sums >= found.at[:, None], sums <= found.at[:, None]).astype(int)
    expected = planes.sum(axis=0) - 1 if len(planes) == 2 else 2 * planes[0] - 1
    if not np.array_equal(activations(sums), expected):
        raise ValueError("activations of -1 and +1, or of -1, 0 and +1, that rise or fall with the sum")
