r"""Why dot products survive the quantization of a kernel: the angle and the gain.

Write the quantized kernel as w_b = alpha w_c + e, where e is orthogonal to the latent kernel w_c. Let theta be the
angle between w_b and w_c. For inputs a with covariance S in d dimensions, define

    g     = Var(a.w_c) / (|w_c|^2 tr S / d),    the gain of the latent kernel
    g_e   = Var(a.e) / (|e|^2 tr S / d),        the gain of the residual
    kappa = Cov(a.e, a.w_c) / (alpha Var(a.w_c)).

The gain compares the variance of the inputs along the kernel with the variance along a random direction, whose gain is
1 on average. Because |e|^2 = tan^2(theta) alpha^2 |w_c|^2, the correlation of a.w_b and a.w_c is exactly

    r = sign(alpha) (1 + kappa) / sqrt(1 + 2 kappa + tan^2(theta) g_e / g).

If the residual is not aligned with the inputs (g_e = 1, kappa = 0), two numbers determine the correlation:

    r = sign(alpha) / sqrt(1 + tan^2(theta) / g).

If only kappa is small, three numbers do:

    r = sign(alpha) / sqrt(1 + tan^2(theta) g_e / g).

Do not use either formula in place of a measurement: two numbers are enough in hidden layers that were trained with
batch norm, in LSTM kernels and in a text encoder; in VGG-16, without batch norm, all four are needed (docs/theory.md).

All values are float64; angles are in radians.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from bnn.geometry.angles import angle
from bnn.geometry.levels import lloyd_max

CONSTANT = 1e-12  # a variance below this fraction of the mean square is only rounding
MOST_LEVELS = 64
TOLERANCE = 0.03  # largest error of r for which the angle and the gain of a layer explain its r


def two_number_r(theta, gain):
    r"""Correlation of a.w_b with a.w_c if g_e = 1 and kappa = 0: sign(cos) / sqrt(1 + tan^2 / g).

    Args:
        theta: array_like, angle between the quantized and the latent kernel, radians in [0, pi].
        gain: array_like, g >= 0.

    Returns:
        Float64 array of the broadcast shape, in [-1, 1]. It is 1 where theta is 0, whatever the gain is; elsewhere it
        is 0 where theta is a right angle or the gain is 0, and NaN where an argument is NaN.
    """
    cos, sin = np.cos(theta), np.sin(theta)
    with np.errstate(invalid="ignore", divide="ignore"):
        return cos / np.sqrt(cos**2 + np.where(sin == 0, 0, sin**2 / np.asarray(gain, np.float64)))


def r_three_numbers(theta, gain, residual_gain):
    r"""Correlation of a.w_b with a.w_c if kappa = 0: sign(cos) / sqrt(1 + tan^2 g_e / g).

    Args:
        theta: array_like, angle between the quantized and the latent kernel, radians in [0, pi].
        gain: array_like, g > 0.
        residual_gain: array_like, g_e >= 0; 1 gives `two_number_r`.

    Returns:
        Float64 array of the broadcast shape, in [-1, 1]. It is 1 where theta is 0, whatever the gains are; elsewhere it
        is NaN where an argument is NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return two_number_r(theta, np.asarray(gain, np.float64) / np.asarray(residual_gain, np.float64))


def exact_r(theta, gain, residual_gain, kappa):
    r"""Correlation of a.w_b with a.w_c from all four numbers. The equation is exact.

    Args:
        theta: array_like, angle between the quantized and the latent kernel, radians in [0, pi].
        gain: array_like, g > 0.
        residual_gain: array_like, g_e >= 0.
        kappa: array_like.

    Returns:
        Float64 array of the broadcast shape, in [-1, 1]; NaN where an argument is NaN.
    """
    tan2 = np.tan(theta) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(1 + 2 * np.asarray(kappa) + tan2 * np.asarray(residual_gain) / np.asarray(gain))
        return np.sign(np.cos(theta)) * (1 + np.asarray(kappa)) / root


class Gains(NamedTuple):
    """The numbers that relate the products of the quantized and the latent kernel, one float64 per unit.

    Attributes:
        r: (units,) correlation of a.w_b and a.w_c over images and positions.
        gain: (units,) g.
        residual_gain: (units,) g_e; NaN where w_b is a multiple of w_c.
        kappa: (units,) kappa; NaN where alpha is 0.
        r_two_numbers: (units,) `two_number_r` of the angle and the gain.
        r_three_numbers: (units,) `r_three_numbers` of the angle and both gains.
        constant: (units,) bool, True where a.w_b or a.w_c is constant. The other numbers of the unit are then NaN.
    """

    r: np.ndarray
    gain: np.ndarray
    residual_gain: np.ndarray
    kappa: np.ndarray
    r_two_numbers: np.ndarray
    r_three_numbers: np.ndarray
    constant: np.ndarray

    @property
    def angle_inputs(self):
        """(units,) angles between w_b and w_c in the metric of the inputs, in degrees: arccos(r)."""
        return np.degrees(np.arccos(self.r))


def gains(quantized, latent, moments, input_variance):
    """Compute the numbers of each unit from the moments of its products.

    Args:
        quantized: (d, units) array_like, w_b.
        latent: (d, units) array_like, w_c.
        moments: UnitMoments of the pairs (a.w_b, a.w_c).
        input_variance: (units,) array_like or float, the mean variance tr S / d of the unit's inputs.

    Returns:
        Gains. All numbers of a unit are NaN if one of its kernels is zero.
    """
    quantized, latent = np.asarray(quantized, np.float64), np.asarray(latent, np.float64)
    norm2 = _dot(latent, latent)
    bb, bc, cc = moments.covariance
    mean_b, mean_c = moments.mean
    constant = (bb <= CONSTANT * (bb + mean_b**2)) | (cc <= CONSTANT * (cc + mean_c**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = _dot(quantized, latent) / norm2
        residual = quantized - alpha * latent
        residual2 = _dot(residual, residual)
        blind = residual2 <= CONSTANT * _dot(quantized, quantized)  # the residual is only rounding
        theta = angle(quantized, latent, axis=0)
        scale = np.asarray(input_variance, np.float64)
        gain = cc / (norm2 * scale)
        residual_gain = np.maximum(bb - 2 * alpha * bc + alpha**2 * cc, 0) / (residual2 * scale)
        kappa = np.where(alpha == 0, np.nan, (bc - alpha * cc) / (alpha * cc))
        found = Gains(
            np.clip(bc / np.sqrt(bb * cc), -1, 1),
            gain,
            np.where(blind, np.nan, residual_gain),
            np.where(blind, 0.0, kappa),
            np.where(blind, np.sign(alpha), two_number_r(theta, gain)),
            np.where(blind, np.sign(alpha), r_three_numbers(theta, gain, residual_gain)),
            constant,
        )
    undefined = constant | np.isnan(alpha) | ~np.any(quantized, axis=0)
    return Gains(*(np.where(undefined, np.nan, values) for values in found[:-1]), constant)


def _dot(x, y):
    return np.einsum("du,du->u", x, y)


def r_of_levels(gain, levels):
    """Predict the correlation of dot products with a Gaussian kernel that is quantized to some levels by Lloyd-Max.

    Args:
        gain: array_like, g >= 0.
        levels: int, >= 2.

    Returns:
        Float64 array of the gain's shape: `two_number_r` at the angle of the quantizer.
    """
    return two_number_r(np.arctan(np.sqrt(_tan2(levels))), gain)


def levels_needed(gain, r):
    """Predict from the gain how few levels preserve a given correlation of a kernel's dot products.

    The Lloyd-Max quantizer with k levels changes a Gaussian kernel by an angle with tan^2 = D / (1 - D), where D is the
    distortion of the quantizer. `two_number_r` then gives r. The function does not quantize any kernel. The prediction
    does not hold for kernels that were trained with their signs, because their residual depends on the inputs.

    Args:
        gain: array_like, g > 0.
        r: float in (0, 1), the correlation to keep.

    Returns:
        Int array of the gain's shape, from 2 to `MOST_LEVELS` + 1, which means more than `MOST_LEVELS`; 0 where the
        gain is NaN.

    Raises:
        ValueError: r is not between 0 and 1.
    """
    if not 0 < r < 1:
        raise ValueError(f"r: expected a number between 0 and 1, received {r!r}")
    gain = np.asarray(gain, np.float64)
    # The correlation is at least r if tan^2 <= g (1 / r^2 - 1). The angle decreases with the number of levels.
    allowed = gain * (1 / r**2 - 1)
    needed, k = np.zeros(gain.shape, int), 2
    open_ = ~np.isnan(gain)
    while open_.any() and k <= MOST_LEVELS:
        reached = open_ & (_tan2(k) <= allowed)
        needed[reached], open_, k = k, open_ & ~reached, k + 1
    needed[open_] = MOST_LEVELS + 1
    return needed


@cache
def _tan2(levels):
    """tan^2 of the angle between a Gaussian vector of high dimension and its Lloyd-Max quantized version."""
    distortion = lloyd_max(levels)[2]
    return distortion / (1 - distortion)
