"""Quantizers of NumPy arrays that are chosen by name, and the angle that theory predicts for each."""

import math
from dataclasses import dataclass

import numpy as np

from bnn.errors import UserError
from bnn.geometry import angles, levels
from bnn.spelling import argument

NAMES = "sign, ternary, ternary:THRESHOLD or lloyd-max:LEVELS"
MOST_LEVELS = 256


class QuantizerError(UserError, ValueError):
    """The name of a quantizer is unknown. The message says what was expected and what was received."""


@dataclass(frozen=True)
class ScalarQuantizer:
    """A map from each weight to one of k values: values[i] for thresholds[i-1] <= w < thresholds[i].

    Attributes:
        name: str.
        thresholds: (k - 1,) tuple of floats, increasing.
        values: (k,) tuple of floats. All statistics except the slope depend only on their ratios.
        relative: bool, whether the unit of the thresholds is the standard deviation of the array to quantize.
    """

    name: str
    thresholds: tuple
    values: tuple
    relative: bool = False

    def __call__(self, x):
        """Quantize an array of floats. The shape and the dtype do not change."""
        # If all weights are 0, a tiny sigma keeps the thresholds apart, so 0 falls into the right interval.
        sigma = max(np.std(x, dtype=np.float64), np.finfo(np.float64).tiny)
        return levels.step_quantizer(self.edges(sigma), self.values)(x).astype(x.dtype)

    def edges(self, sigma):
        """Return the thresholds for an array with standard deviation sigma, a (k - 1,) float64 array."""
        return np.multiply(self.thresholds, sigma if self.relative else 1.0)

    def angle(self, d, sigma):
        """Angle between w ~ N(0, sigma^2 I_d) and its quantized version, in radians.

        It is exact for sign, and the limit of large d for other quantizers. It is NaN for those if sigma is 0.
        """
        if len(self.values) == 2:
            return float(np.arccos(angles.expected_cos_sign(d)))
        return levels.quantizer_angle(self.edges(sigma) / sigma, self.values) if sigma > 0 else math.nan

    def angle_std(self, d, sigma):
        """Standard deviation of this angle to leading order in 1/d, in radians; NaN if sigma is 0."""
        if sigma == 0:
            return math.nan
        return float(levels.quantizer_angle_std(self.edges(sigma) / sigma, self.values, d))


SIGN = ScalarQuantizer("sign", (0.0,), (-1.0, 1.0))


def ternary_quantizer(threshold=None, relative=False):
    """Make a quantizer to -1, 0 and +1, with 0 where |w| <= threshold.

    With `relative`, the unit of the threshold is the standard deviation sigma of the weights. None means the best
    threshold for Gaussian weights, 0.6120 sigma.
    """
    if threshold is None:
        name, threshold, relative = "ternary", levels.best_ternary_threshold(), True
    else:
        name = f"ternary:{threshold:g}" + " sigma" * relative
    above = float(np.nextafter(threshold, np.inf))  # a weight equal to the threshold becomes 0
    return ScalarQuantizer(name, (-threshold, above), (-1.0, 0.0, 1.0), relative)


def lloyd_max_quantizer(count):
    """Make the quantizer with the smallest squared error for Gaussian weights, in units of their deviation."""
    thresholds, values, _ = levels.lloyd_max(count)
    return ScalarQuantizer(f"lloyd-max:{count}", tuple(thresholds), tuple(values), relative=True)


def named(name, place="quantizer"):
    """Return the quantizer with a given name.

    Args:
        name: "sign"; "ternary" (the best threshold for the standard deviation of the weights); "ternary:T" with
            T >= 0; or "lloyd-max:K" with K from 2 to 256.
        place: str, the argument that has this value, for the error message.

    Returns:
        ScalarQuantizer

    Raises:
        QuantizerError: the name is none of these.
    """
    kind, colon, number = name.partition(":")
    try:
        if kind in ("sign", "ternary") and not colon:
            return SIGN if kind == "sign" else ternary_quantizer()
        if kind == "ternary" and 0 <= float(number) < math.inf:
            return ternary_quantizer(float(number))
        if kind == "lloyd-max" and 2 <= int(number) <= MOST_LEVELS:
            return lloyd_max_quantizer(int(number))
    except ValueError:
        pass
    raise QuantizerError(
        f"{argument(place)}: expected {NAMES} (threshold >= 0, 2 to {MOST_LEVELS} levels), received {name!r}"
    )
