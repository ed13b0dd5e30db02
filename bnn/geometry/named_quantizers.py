"""Quantizers of NumPy arrays that are chosen by name, and the angle that theory predicts for each."""

import math
from dataclasses import dataclass

import numpy as np

from bnn.geometry import angles, estimators, levels
from bnn.geometry.estimators import QuantizerError

ABSMEAN_RATIO = 1 / math.sqrt(2 * math.pi)  # half the mean of |x|, in standard deviations of Gaussian values
__all__ = ["QuantizerError", "ScalarQuantizer", "named"]


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


class _Absmean(ScalarQuantizer):
    """The ternary map of `layers.AbsmeanTernary`: 0 where |w| <= m / 2, else +m or -m, m the mean of |w|."""

    def unit(self, values):
        """Return the unit of the thresholds, the deviation of Gaussian values with the same mean of |w|."""
        return np.mean(np.abs(values), dtype=np.float64) * math.sqrt(math.pi / 2)

    def __call__(self, x):
        m = np.mean(np.abs(x), dtype=np.float64)
        return (m * angles.ternarize(x, m / 2)).astype(x.dtype)


class _CenteredSign(ScalarQuantizer):
    """The sign of w - mean of w, times the mean of |w|, as in `layers.CenteredSign`."""

    def __call__(self, x):
        mean, scale = np.mean(x, dtype=np.float64), np.mean(np.abs(x), dtype=np.float64)
        return (scale * angles.sign(x - mean)).astype(x.dtype)


class _MagnitudeAware(ScalarQuantizer):
    """The sign times the mean of |w| of each unit, on the last axis, as in `layers.MagnitudeAwareSign`."""

    def __call__(self, x):
        scale = np.mean(np.abs(x), axis=tuple(range(x.ndim - 1)), dtype=np.float64)
        return (scale * angles.sign(x)).astype(x.dtype)


_ABSMEAN_EDGES = (-ABSMEAN_RATIO, float(np.nextafter(ABSMEAN_RATIO, np.inf)))
# By the quantizers of layers: their values in inference, as functions of the number in the name.
_MAPS = {
    **dict.fromkeys(("Sign", "ApproxSign", "SwishSign", "IdentitySign", "StochasticSign"), lambda _: SIGN),
    "MagnitudeAwareSign": lambda _: _MagnitudeAware("magnitude_aware_sign", SIGN.thresholds, SIGN.values),
    "CenteredSign": lambda _: _CenteredSign("centered_sign", SIGN.thresholds, SIGN.values),
    "Ternary": ternary_quantizer,
    "OptimalTernary": lambda _: ternary_quantizer(),
    "unit_ternary": lambda _: ternary_quantizer(),
    "AbsmeanTernary": lambda _: _Absmean("absmean", _ABSMEAN_EDGES, (-1.0, 0.0, 1.0), relative=True),
    "unit_absmean": lambda _: ternary_quantizer(ABSMEAN_RATIO, relative=True),
    "LloydMax": lloyd_max_quantizer,
    "unit_lloyd_max": lloyd_max_quantizer,
}


def named(name, place="quantizer"):
    """Return the quantizer of arrays with a given name.

    Args:
        name: str, see `bnn.geometry.estimators.get`. The estimator of a gradient is left out: `approx_sign` is sign.
        place: str, the argument that has this value; for "activations" it is the quantizer of activations, whose
            deviation is 1.

    Returns:
        ScalarQuantizer

    Raises:
        ConfigError: there is no such name.
    """
    found = estimators.get(name, place)
    makers = found.activation if place == "activations" else found.kernel
    return _MAPS[makers[found.levels[0]]](found.number)
