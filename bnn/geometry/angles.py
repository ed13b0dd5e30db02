"""Angles between high-dimensional vectors and their quantized versions: closed forms.

All values are float64; angles are in radians. d is the dimension, the fan-in of a kernel. "Paper" means [1]_.

References:
    .. [1] Anderson & Berg, "The High-Dimensional Geometry of Binary Neural Networks", ICLR 2018,
       arXiv:1705.07199.
    .. [2] W. Kahan, "How futile are mindless assessments of roundoff in floating-point computation?", 2006,
       section 12.
"""

import numpy as np
from scipy.special import beta, erf, erfcx, poch

LIMIT_COS = np.sqrt(2 / np.pi)  # cos angle(x, sign x) as d grows, paper section 2: 37.07 degrees


def sign(x):
    """Binarize: +1 where x >= 0, else -1. The sign of 0 is +1.

    Args:
        x: (...) array of floats.

    Returns:
        Array of x's shape and dtype, with values in {-1, +1}.
    """
    x = np.asarray(x)
    return x.dtype.type(2) * (x >= 0) - 1


def ternarize(x, threshold):
    """Ternarize: sign(x) where |x| > threshold, else 0 (paper, final version, ternary section).

    Args:
        x: (...) array of floats.
        threshold: float, >= 0.

    Returns:
        Array of x's shape and dtype, with values in {-1, 0, +1}.
    """
    x = np.asarray(x)
    return (x > threshold).astype(x.dtype) - (x < -threshold).astype(x.dtype)


def angle(u, v, axis=-1):
    r"""Angle between vectors, accurate to a few float64 rounding errors, also for parallel vectors.

    The angle is the arccos of the cosine, except in two cases: near 0 and pi the arccos would lose half of the digits,
    and the squares of very long or very short vectors overflow or underflow. In these cases the angle is
    2 atan2(|u - v|, |u + v|), with u and v scaled to length 1 [2]_. This takes ten times as long.

    Args:
        u: (..., d, ...) array_like, the vectors along `axis`.
        v: array_like of the same shape, or of a shape that broadcasts with u's.
        axis: int, the axis of length d.

    Returns:
        Float64 array without `axis`, radians in [0, pi]; NaN where a vector is zero or not finite.
    """
    u, v = np.broadcast_arrays(*(np.moveaxis(np.asarray(x, np.float64), axis, -1) for x in (u, v)))
    # Unlike vecdot, einsum is also fast if `axis` is not the last one in memory.
    with np.errstate(all="ignore"):
        uu, vv, uv = (np.einsum("...d,...d->...", x, y) for x, y in ((u, u), (v, v), (u, v)))
        lengths = np.sqrt([uu, vv])
        cos = uv / (lengths[0] * lengths[1])
        theta = np.arccos(cos, out=np.empty(cos.shape))
        simple = (np.abs(cos) < 0.9) & ((lengths > 1e-100) & (lengths < 1e100)).all(axis=0)
        theta[~simple] = _angle_of_any(u[~simple], v[~simple])
    return theta[()]


def _angle_of_any(u, v):
    u, v = _unit(u), _unit(v)
    return 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))


def _unit(x):
    # Without this step, the squares of very long or very short vectors overflow or underflow.
    x = x / np.max(np.abs(x), axis=-1, keepdims=True)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def expected_cos_sign(d):
    """E cos angle(x, sign x) for x ~ N(0, I_d), exact (paper, appendix).

    It is sqrt(d) Γ(d/2) / (sqrt(π) Γ((d+1)/2)) = sqrt(2/π)(1 + 1/(4d) + ...). The paper's appendix prints 5/(4d)
    instead of 1/(4d).

    Args:
        d: int or array of ints, >= 1.

    Returns:
        Float64 of d's shape. It decreases from 1 at d = 1 to `LIMIT_COS`; the relative error is below 1e-10.
    """
    d = np.asarray(d, np.float64)
    return np.minimum(np.sqrt(d / np.pi) / poch(d / 2, 0.5), 1.0)


def expected_cos_sign_scaled(scale):
    r"""E cos angle(x, sign x) for x ~ N(0, diag(scale^2)) (paper, Fig 4 left), exact to rounding.

    Because 1/|x| = π^(-1/2) ∫ t^(-1/2) exp(-t |x|^2) dt, it is a single integral over t = e^v of
    sqrt(2/d)/π e^(v/2) Σ_i s_i (1 + 2 e^v s_i^2)^(-1/2) Π_j (1 + 2 e^v s_j^2)^(-1/2).
    The integrand is analytic for |Im v| < π, so the relative error of the trapezoidal rule with step h is about
    exp(-2π^2/h).

    Args:
        scale: (d,) array_like, >= 0, not all 0.

    Returns:
        Float in (0, 1]. For equal scales it is `expected_cos_sign(d)`.
    """
    scale = np.asarray(scale, np.float64) / np.max(scale)
    h, v = 0.5, np.arange(-80, 80.5, 0.5)
    terms = 1 + 2 * np.exp(v)[:, None] * scale**2
    integrand = np.exp(v / 2 - np.log(terms).sum(axis=1) / 2) * np.sum(scale / np.sqrt(terms), axis=1)
    return min(float(h * integrand.sum() * np.sqrt(2 / scale.size) / np.pi), 1.0)


def expected_cos2_sign(d):
    """E cos^2 angle(x, sign x) for x ~ N(0, I_d), exact: 2/π + (1 - 2/π)/d (paper, appendix).

    Args:
        d: int or array of ints, >= 1.

    Returns:
        Float64 of d's shape. It decreases from 1 at d = 1 to 2/π.
    """
    return 2 / np.pi + (1 - 2 / np.pi) / np.asarray(d, np.float64)


def std_angle_sign(d):
    """Standard deviation of angle(x, sign x) for x ~ N(0, I_d), to leading order: 0.3522 / sqrt(d).

    The variance of the cosine is (1 - 3/π)/d (the paper's appendix prints 1 - 1/π). Divided by sin^2 = 1 - 2/π, it
    gives the variance of the angle. The true value is smaller by a factor of 1 - O(1/d).

    Args:
        d: int or array of ints, >= 1.

    Returns:
        Float64 of d's shape, radians.
    """
    return np.sqrt((1 - 3 / np.pi) / (1 - 2 / np.pi) / np.asarray(d, np.float64))


def direction_cos_density(c, d):
    r"""Density of the cosine between two random directions in R^d: (1 - c^2)^((d-3)/2) / B((d-1)/2, 1/2).

    Args:
        c: (...) array_like.
        d: int, >= 2. In one dimension the cosine is +-1.

    Returns:
        Float64 of c's shape. It is 0 outside [-1, 1], and infinite at +-1 if d = 2.
    """
    c = np.asarray(c, np.float64)
    with np.errstate(divide="ignore"):
        density = np.maximum((1 - c) * (1 + c), 0) ** ((_dimension(d) - 3) / 2) / beta((d - 1) / 2, 0.5)
    return np.where(np.abs(c) <= 1, density, 0.0)


def direction_angle_density(theta, d):
    r"""Density of the angle between two random directions in R^d: sin(θ)^(d-2) / B((d-1)/2, 1/2).

    Args:
        theta: (...) array_like, radians.
        d: int, >= 2.

    Returns:
        Float64 of theta's shape, per radian. It is 0 outside [0, pi].
    """
    theta = np.asarray(theta, np.float64)
    inside = (theta >= 0) & (theta <= np.pi)
    return np.where(inside, np.abs(np.sin(theta)) ** (_dimension(d) - 2) / beta((d - 1) / 2, 0.5), 0.0)


def _dimension(d):
    if d < 2:
        raise ValueError(f"d: expected an integer >= 2, received {d!r}")
    return d


def ternary_cos(t):
    r"""Cosine between x ~ N(0, I_d) and ternarize(x, t) as d grows: 2 φ(t) / sqrt(2 (1 - Φ(t))).

    Args:
        t: (...) array_like, threshold / sigma, >= 0.

    Returns:
        Float64 of t's shape: `LIMIT_COS` at t = 0, 0.8999 at `levels.best_ternary_threshold()`, then decreasing to 0;
        NaN at infinity.
    """
    t = np.asarray(t, np.float64)
    # erfcx(x) = exp(x^2) erfc(x) avoids the quotient of two tails, which is 0/0 for large t.
    with np.errstate(invalid="ignore"):
        return LIMIT_COS * np.exp(-(t**2) / 4) / np.sqrt(erfcx(t / np.sqrt(2)))


def ternary_zeros(t):
    """Fraction of zeros in ternarize(x, t) for x ~ N(0, 1): 2 Φ(t) - 1.

    Args:
        t: (...) array_like, threshold / sigma, >= 0.

    Returns:
        Float64 of t's shape, in [0, 1].
    """
    return erf(np.asarray(t, np.float64) / np.sqrt(2))
