r"""Why dot products survive the quantization of a kernel: the angle and the gain.

Write the quantized kernel as w_b = alpha w_c + e with e orthogonal to the latent kernel w_c, theta the angle between
w_b and w_c. For inputs a of covariance S in d dimensions let

    g     = Var(a.w_c) / (|w_c|^2 tr S / d),    the gain of the latent kernel
    g_e   = Var(a.e) / (|e|^2 tr S / d),        the gain of the residual
    kappa = Cov(a.e, a.w_c) / (alpha Var(a.w_c)).

The gain says how much more of the inputs' variance a kernel catches than a random direction does, for which it is 1 on
average. Since |e|^2 = tan^2(theta) alpha^2 |w_c|^2, the correlation of a.w_b and a.w_c is exactly

    r = sign(alpha) (1 + kappa) / sqrt(1 + 2 kappa + tan^2(theta) g_e / g).

If the residual is blind to the inputs (g_e = 1, kappa = 0), two numbers give it:

    r = sign(alpha) / sqrt(1 + tan^2(theta) / g).

NumPy and SciPy only, float64; angles in radians.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from bnn.geometry.angles import angle
from bnn.geometry.levels import lloyd_max

CONSTANT = 1e-12  # of the mean square: a product of smaller variance differs by rounding alone
MOST_LEVELS = 64


def two_number_r(theta, gain):
    r"""Correlation of a.w_b with a.w_c, if the residual is blind to the inputs: sign(cos) / sqrt(1 + tan^2 / g).

    Args:
        theta: array_like, angle of quantized and latent kernel, radians in [0, pi].
        gain: array_like, g >= 0.

    Returns:
        Float64 array of the broadcast shape, in [-1, 1]; 0 where theta is a right angle or the gain is 0 (unless theta
        is 0 or pi); NaN where an argument is.
    """
    cos, sin = np.cos(theta), np.sin(theta)
    with np.errstate(invalid="ignore", divide="ignore"):
        return cos / np.sqrt(cos**2 + np.where(sin == 0, 0, sin**2 / np.asarray(gain, np.float64)))


def exact_r(theta, gain, residual_gain, kappa):
    r"""Correlation of a.w_b with a.w_c from all four numbers; an identity.

    Args:
        theta: array_like, angle of quantized and latent kernel, radians in [0, pi].
        gain: array_like, g > 0.
        residual_gain: array_like, g_e >= 0.
        kappa: array_like.

    Returns:
        Float64 array of the broadcast shape, in [-1, 1]; NaN where an argument is.
    """
    tan2 = np.tan(theta) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(1 + 2 * np.asarray(kappa) + tan2 * np.asarray(residual_gain) / np.asarray(gain))
        return np.sign(np.cos(theta)) * (1 + np.asarray(kappa)) / root


class Gains(NamedTuple):
    """What relates the products of quantized and latent kernel, for each unit a float64.

    Attributes:
        r: (units,) correlation of a.w_b and a.w_c over images and positions.
        gain: (units,) g.
        residual_gain: (units,) g_e; NaN where w_b is a multiple of w_c.
        kappa: (units,); NaN where alpha is 0.
        r_two_numbers: (units,) `two_number_r` of angle and gain.
        constant: (units,) bool, whether a.w_b or a.w_c does not vary; all else is then NaN.
    """

    r: np.ndarray
    gain: np.ndarray
    residual_gain: np.ndarray
    kappa: np.ndarray
    r_two_numbers: np.ndarray
    constant: np.ndarray


def gains(quantized, latent, moments, input_variance):
    """The numbers of each unit, from the moments of its products.

    Args:
        quantized: (d, units) array_like, w_b.
        latent: (d, units) array_like, w_c.
        moments: streaming.UnitMoments of the pairs (a.w_b, a.w_c).
        input_variance: (units,) array_like or float, the mean variance tr S / d of the unit's inputs.

    Returns:
        Gains. All are NaN where a kernel is zero.
    """
    quantized, latent = np.asarray(quantized, np.float64), np.asarray(latent, np.float64)
    norm2 = np.sum(latent**2, axis=0)
    bb, bc, cc = moments.covariance
    mean_b, mean_c = moments.mean
    constant = (bb <= CONSTANT * (bb + mean_b**2)) | (cc <= CONSTANT * (cc + mean_c**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = np.sum(quantized * latent, axis=0) / norm2
        residual = quantized - alpha * latent
        residual2 = np.sum(residual**2, axis=0)
        blind = residual2 <= CONSTANT * np.sum(quantized**2, axis=0)  # no residual but rounding
        scale = np.asarray(input_variance, np.float64)
        gain = cc / (norm2 * scale)
        residual_gain = np.maximum(bb - 2 * alpha * bc + alpha**2 * cc, 0) / (residual2 * scale)
        kappa = np.where(alpha == 0, np.nan, (bc - alpha * cc) / (alpha * cc))
        found = Gains(
            np.clip(bc / np.sqrt(bb * cc), -1, 1),
            gain,
            np.where(blind, np.nan, residual_gain),
            np.where(blind, 0.0, kappa),
            np.where(blind, np.sign(alpha), two_number_r(angle(quantized, latent, axis=0), gain)),
            constant,
        )
    undefined = constant | np.isnan(alpha) | ~np.any(quantized, axis=0)
    return Gains(*(np.where(undefined, np.nan, values) for values in found[:-1]), constant)


def levels_needed(gain, r):
    """The fewest levels with which a kernel's dot products keep a correlation, foretold by the gain alone.

    The Lloyd-Max quantizer of k levels turns a Gaussian kernel by the angle of tan^2 = D / (1 - D), D its distortion,
    and `two_number_r` gives r. Nothing is quantized for it. It does not hold for kernels whose signs were trained:
    their residual is not blind to the inputs.

    Args:
        gain: array_like, g > 0.
        r: float in (0, 1), the correlation to keep.

    Returns:
        Int array of the gain's shape, from 2 to `MOST_LEVELS` + 1, which stands for more; 0 where the gain is NaN.

    Raises:
        ValueError: r is not between 0 and 1.
    """
    if not 0 < r < 1:
        raise ValueError(f"r: expected a number between 0 and 1, received {r!r}")
    gain = np.asarray(gain, np.float64)
    # r >= r* means tan^2 <= g (1 / r*^2 - 1); the angle falls with the number of levels.
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
    """tan^2 of the angle by which the Lloyd-Max quantizer turns a Gaussian vector of high dimension."""
    distortion = lloyd_max(levels)[2]
    return distortion / (1 - distortion)
