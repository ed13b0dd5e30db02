r"""Quantizers with any number of levels for x ~ N(0, 1), and the angle between x and q(x) in high dimension.

k - 1 increasing thresholds and k values define a quantizer with k levels: q(x) = values[i] for
thresholds[i-1] <= x < thresholds[i]. Binarization is ([0], [-1, 1]). Angles depend only on the ratios of the values.

References:
    .. [1] J. Max, "Quantizing for minimum distortion", IRE Transactions on Information Theory 6, 1960.
    .. [2] S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28, 1982.
"""

import numpy as np
from scipy.optimize import root
from scipy.special import ndtr, ndtri


def lloyd_max(levels):
    r"""Compute the quantizer with the smallest mean squared error for N(0, 1) [1]_ [2]_ (and the smallest angle).

    Args:
        levels: int, >= 1.

    Returns:
        thresholds: (levels - 1,) float64 array, increasing and antisymmetric, the midpoints between the values.
        values: (levels,) float64 array, increasing and antisymmetric, each the mean of its cell.
        distortion: float, E[(x - q)^2]; cos angle = sqrt(1 - distortion).

    Raises:
        ValueError: levels < 1.
    """
    if levels < 1:
        raise ValueError(f"levels: expected an integer >= 1, received {levels!r}")

    def residual(thresholds):
        values = _cell_means(thresholds)
        return thresholds - (values[:-1] + values[1:]) / 2

    start = np.sqrt(3) * ndtri(np.arange(1, levels) / levels)  # optimal for many levels: density ~ φ^(1/3)
    thresholds = root(residual, start, tol=1e-14).x if levels > 1 else start
    thresholds = (thresholds - thresholds[::-1]) / 2
    values = _cell_means(thresholds)
    return thresholds, values, float(1 - _cell_moments(thresholds)[0] @ values**2)


def best_ternary_threshold():
    """Return the threshold / sigma with the smallest angle between ternarize(x, threshold) and x ~ N(0, I): 0.6120.

    Returns:
        Float. At this threshold `geometry.ternary_cos` is 0.8999 (25.85 degrees), and 45.9 % of the values are zero.
    """
    return float(lloyd_max(3)[0][1])


def step_quantizer(thresholds, values):
    """Make a function of arrays from the thresholds and values of a quantizer.

    Args:
        thresholds: (k - 1,) array_like, increasing.
        values: (k,) array_like.

    Returns:
        A function from an array of floats to a float64 array of the same shape.
    """
    values = np.asarray(values, np.float64)
    return lambda x: values[np.searchsorted(thresholds, x, side="right")]


def quantizer_cos(thresholds, values):
    """Cosine of the angle between x ~ N(0, I_d) and q(x) as d grows: E[x q] / sqrt(E q^2).

    Args:
        thresholds: (k - 1,) array_like, increasing.
        values: (k,) array_like.

    Returns:
        Float in [-1, 1]; NaN if all values are 0.
    """
    mass, first = _cell_moments(thresholds)[:2]
    with np.errstate(invalid="ignore"):
        return float(first @ values / np.sqrt(mass @ np.square(values)))


def quantizer_cos_std(thresholds, values, d):
    r"""Standard deviation of cos angle(x, q(x)) for x ~ N(0, I_d), to leading order in 1/d.

    d Var cos -> Var[g], where g = x q/sqrt(C) - (R/2)(x^2 + q^2/C), C = E q^2, R = E[x q]/sqrt(C), and E g = 0.
    For the sign function, Var g = 1 - 3/π (paper, appendix).

    Args:
        thresholds: (k - 1,) array_like, increasing.
        values: (k,) array_like.
        d: int or array of ints, >= 1.

    Returns:
        Float64 of d's shape; NaN if all values are 0.
    """
    moments = _cell_moments(thresholds)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.asarray(values) / np.sqrt(moments[0] @ np.square(values))
    half = moments[1] @ unit / 2
    # In each cell g = c0 + c1 x + c2 x^2, so E g^2 is a sum over the moments up to order 4.
    c0, c1, c2 = -half * unit**2, unit, np.full_like(unit, -half)
    square = np.stack([c0**2, 2 * c0 * c1, c1**2 + 2 * c0 * c2, 2 * c1 * c2, c2**2])
    return np.sqrt(np.sum(square * moments) / np.asarray(d, np.float64))


def quantizer_angle(thresholds, values):
    """Angle `arccos(quantizer_cos(thresholds, values))` in radians; arguments as in `quantizer_cos`."""
    return float(np.arccos(quantizer_cos(thresholds, values)))


def quantizer_angle_std(thresholds, values, d):
    """Standard deviation of angle(x, q(x)) for x ~ N(0, I_d), to leading order in 1/d.

    Args:
        thresholds: (k - 1,) array_like, increasing.
        values: (k,) array_like.
        d: int or array of ints, >= 1.

    Returns:
        Float64 of d's shape, radians; NaN if all values are 0.
    """
    return quantizer_cos_std(thresholds, values, d) / np.sin(quantizer_angle(thresholds, values))


def _cell_moments(thresholds):
    """Compute a (5, k) array, the integrals of x^j φ(x) over each cell for j = 0 ... 4."""
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    finite = np.where(np.isinf(edges), 0.0, edges)
    density = np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi)
    moments = [np.diff(ndtr(edges)), -np.diff(density)]
    for power in (1, 2, 3):  # integration by parts: ∫ x^(j+1) φ = j ∫ x^(j-1) φ - [x^j φ]
        moments.append(power * moments[power - 1] - np.diff(finite**power * density))
    return np.stack(moments)


def _cell_means(thresholds):
    mass, first = _cell_moments(thresholds)[:2]
    return first / mass
