r"""Angles between high-dimensional vectors and their quantized versions: closed forms and sampling.

NumPy and SciPy only, float64, radians. Every random draw takes its generator. d is the dimension: a kernel's
fan-in. "Paper" is [1]_.

References:
    .. [1] Anderson & Berg, "The High-Dimensional Geometry of Binary Neural Networks", ICLR 2018,
       arXiv:1705.07199.
    .. [2] W. Kahan, "How futile are mindless assessments of roundoff in floating-point computation?", 2006,
       section 12.
    .. [3] F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the
       AMS 54, 2007.
    .. [4] P. Gao et al., "A theory of multineuronal dimensionality, dynamics and measurement", bioRxiv 214262, 2017.
    .. [5] Y. Chikuse, "Statistics on Special Manifolds", Springer 2003, theorem 2.2.1.
"""

import numpy as np
from scipy.special import beta, erf, erfcx, poch

LIMIT_COS = np.sqrt(2 / np.pi)  # cos angle(x, sign x) as d grows, paper section 2: 37.07 degrees
CHUNK = 1 << 16  # elements drawn at a time: 512 KiB, so that a draw is used while it is in the cache


def sign(x):
    """Binarize: +1 where x >= 0, else -1. Zero has the sign +1.

    Args:
        x: (...) array of floats.

    Returns:
        Array of x's shape and dtype, with values in {-1, +1}.
    """
    x = np.asarray(x)
    return x.dtype.type(2) * (x >= 0) - 1


def ternary(x, threshold):
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
    r"""Angle between vectors, accurate to a few float64 roundings for parallel ones too.

    arccos of the cosine, but near 0 and pi, where that would lose half the digits, and for vectors whose squares
    overflow: there 2 atan2(|u - v|, |u + v|) with u and v scaled to length 1 [2]_, which takes ten times as long.

    Args:
        u: (..., d, ...) array_like, the vectors along `axis`.
        v: the same shape, or one that broadcasts with u's.
        axis: int, the axis of length d.

    Returns:
        Float64 array without `axis`, radians in [0, pi]; NaN where a vector is zero or not finite.
    """
    u, v = np.broadcast_arrays(*(np.moveaxis(np.asarray(x, np.float64), axis, -1) for x in (u, v)))
    with np.errstate(all="ignore"):
        lengths = np.sqrt([np.vecdot(u, u), np.vecdot(v, v)])
        cos = np.vecdot(u, v) / (lengths[0] * lengths[1])
        theta = np.arccos(cos, out=np.empty(cos.shape))
        simple = (np.abs(cos) < 0.9) & ((lengths > 1e-100) & (lengths < 1e100)).all(axis=0)
        theta[~simple] = _angle_of_any(u[~simple], v[~simple])
    return theta[()]


def _angle_of_any(u, v):
    u, v = _unit(u), _unit(v)
    return 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))


def _unit(x):
    x = x / np.max(np.abs(x), axis=-1, keepdims=True)  # else the squares of large or small vectors overflow
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def expected_cos_sign(d):
    """E cos angle(x, sign x) for x ~ N(0, I_d), exact (paper, appendix).

    It is sqrt(d) Γ(d/2) / (sqrt(π) Γ((d+1)/2)), or sqrt(2/π)(1 + 1/(4d) + ...), where the paper's appendix
    prints 5/(4d).

    Args:
        d: int or array of ints, >= 1.

    Returns:
        Float64 of d's shape, from 1 at d = 1 down to `LIMIT_COS`, with a relative error below 1e-10.
    """
    d = np.asarray(d, np.float64)
    return np.minimum(np.sqrt(d / np.pi) / poch(d / 2, 0.5), 1.0)


def expected_cos_sign_scaled(scale):
    r"""E cos angle(x, sign x) for x ~ N(0, diag(scale^2)) (paper, Fig 4 left), exact to rounding.

    With 1/|x| = π^(-1/2) ∫ t^(-1/2) exp(-t |x|^2) dt it is one integral over t = e^v of
    sqrt(2/d)/π e^(v/2) Σ_i s_i (1 + 2 e^v s_i^2)^(-1/2) Π_j (1 + 2 e^v s_j^2)^(-1/2),
    analytic for |Im v| < π: the trapezoidal rule of step h is off by a factor of exp(-2π^2/h).

    Args:
        scale: (d,) array_like, >= 0, not all 0.

    Returns:
        Float in (0, 1]; for equal scales `expected_cos_sign(d)`.
    """
    scale = np.asarray(scale, np.float64) / np.max(scale)
    h, v = 0.5, np.arange(-80, 80.5, 0.5)
    terms = 1 + 2 * np.exp(v)[:, None] * scale**2
    integrand = np.exp(v / 2 - np.log(terms).sum(axis=1) / 2) * np.sum(scale / np.sqrt(terms), axis=1)
    return float(h * integrand.sum() * np.sqrt(2 / scale.size) / np.pi)


def expected_cos2_sign(d):
    """E cos^2 angle(x, sign x) for x ~ N(0, I_d), exact: 2/π + (1 - 2/π)/d (paper, appendix).

    Args:
        d: int or array of ints, >= 1.

    Returns:
        Float64 of d's shape, from 1 at d = 1 down to 2/π.
    """
    return 2 / np.pi + (1 - 2 / np.pi) / np.asarray(d, np.float64)


def std_angle_sign(d):
    """Standard deviation of angle(x, sign x) for x ~ N(0, I_d), to leading order: 0.3522 / sqrt(d).

    Var cos = (1 - 3/π)/d (the paper's appendix prints 1 - 1/π), divided by sin^2 = 1 - 2/π. The true value is
    lower by a factor 1 - O(1/d).

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
        d: int, >= 2 (in one dimension the cosine is +-1).

    Returns:
        Float64 of c's shape; 0 outside [-1, 1]; infinite at +-1 if d = 2.
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
        Float64 of theta's shape, per radian; 0 outside [0, pi].
    """
    theta = np.asarray(theta, np.float64)
    inside = (theta >= 0) & (theta <= np.pi)
    return np.where(inside, np.abs(np.sin(theta)) ** (_dimension(d) - 2) / beta((d - 1) / 2, 0.5), 0.0)


def _dimension(d):
    if d < 2:
        raise ValueError(f"d: expected an integer >= 2, received {d!r}")
    return d


def ternary_cos(t):
    r"""Cosine between x ~ N(0, I_d) and ternary(x, t) as d grows: 2 φ(t) / sqrt(2 (1 - Φ(t))).

    Args:
        t: (...) array_like, threshold / sigma, >= 0.

    Returns:
        Float64 of t's shape: `LIMIT_COS` at t = 0, 0.8999 at `levels.best_ternary_threshold()`, down to 0;
        NaN at infinity.
    """
    t = np.asarray(t, np.float64)
    with np.errstate(invalid="ignore"):  # erfcx = exp(t^2/2) erfc: the quotient of two tails would be 0/0
        return LIMIT_COS * np.exp(-(t**2) / 4) / np.sqrt(erfcx(t / np.sqrt(2)))


def ternary_zeros(t):
    """Fraction of zeros in ternary(x, t) for x ~ N(0, 1): 2 Φ(t) - 1.

    Args:
        t: (...) array_like, threshold / sigma, >= 0.

    Returns:
        Float64 of t's shape, in [0, 1].
    """
    return erf(np.asarray(t, np.float64) / np.sqrt(2))


def sample_angles(d, n, quantizer, rng, *, scale=None, rotation=None):
    r"""Angles between n random vectors x and their quantized versions (paper, Figs 2a and 4).

    Args:
        d: int, >= 1.
        n: int, >= 0.
        quantizer: function from an array to one of the same shape, such as `sign`.
        rng: numpy.random.Generator.
        scale: None, or (d,) array_like: x ~ N(0, diag(scale^2)) instead of N(0, I).
        rotation: None, or (d, d) orthogonal array R: the quantizer becomes the generalized binarization
            transformation R^T quantizer(R x) (paper, Fig 4).

    Returns:
        (n,) float64 array, radians in [0, pi]; NaN where a quantized vector is zero.
    """

    def draw(rows):
        x = rng.standard_normal((rows, d))
        x = x if scale is None else x * scale
        # angle(x, R^T q) = angle(R x, q): rotating the vector is enough, nothing need be rotated back.
        x = x if rotation is None else x @ np.transpose(rotation)
        return angle(x, quantizer(x))

    return _in_chunks(draw, n, CHUNK // d + 1)


def sample_pair_angles(d, n, rng):
    """Angles between n pairs of independent random directions (paper, Fig 2a).

    Args:
        d: int, >= 1.
        n: int, >= 0.
        rng: numpy.random.Generator.

    Returns:
        (n,) float64 array, radians in [0, pi]; its density is `direction_angle_density`.
    """
    return _in_chunks(lambda rows: angle(*rng.standard_normal((2, rows, d))), n, CHUNK // (2 * d) + 1)


def _in_chunks(draw, n, rows):
    return np.concatenate([np.empty(0)] + [draw(min(rows, n - start)) for start in range(0, n, rows)])


def random_rotation(d, rng):
    """Rotation drawn uniformly (by Haar measure) from SO(d): QR of a Gaussian matrix, its signs fixed [3]_.

    Args:
        d: int, >= 1.
        rng: numpy.random.Generator.

    Returns:
        (d, d) float64 array R, R R^T = I, det R = +1.
    """
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    q *= np.copysign(1.0, np.diag(r))  # without it the distribution is QR's convention, not uniform
    q[:, 0] *= np.linalg.slogdet(q)[0]
    return q


def randomly_rotated(vectors, rng):
    r"""Vectors W after one random rotation, drawn uniformly by Haar measure; for few vectors without forming it.

    W = P (W^T W)^(1/2) with orthonormal columns P. A rotation makes P uniform on the Stiefel manifold, and so is
    G (G^T G)^(-1/2) for a Gaussian G [5]_: d k^2 operations instead of d^3.

    Args:
        vectors: (d, k) array_like.
        rng: numpy.random.Generator.

    Returns:
        (d, k) float64 array; lengths and angles between the columns are those of `vectors`.
    """
    vectors = np.asarray(vectors, np.float64)
    d, k = vectors.shape
    if k >= d:
        return random_rotation(d, rng) @ vectors
    gaussian = rng.standard_normal((d, k))
    return gaussian @ (_power(gaussian.T @ gaussian, -0.5) @ _power(vectors.T @ vectors, 0.5))


def _power(matrix, exponent):
    """A power of a symmetric matrix without negative eigenvalues."""
    values, basis = np.linalg.eigh(matrix)
    return basis * np.maximum(values, 0) ** exponent @ basis.T


def participation_ratio(rows, others):
    r"""Effective dimension (tr S)^2 / tr(S^2) of vectors of covariance S [4]_: d if S is a multiple of I, 1 for a line.

    One sample of n vectors would give at most n - 1, however large the truth. Two independent ones do not
    overlook dimensions: numerator and denominator of tr(S_1) tr(S_2) / tr(S_1 S_2) are unbiased.

    Args:
        rows: (n, d) array_like.
        others: (m, d) array_like, independent of `rows`.

    Returns:
        Float, >= 1 up to the samples' noise; NaN for fewer than two vectors in a sample, or if they do not vary;
        infinite where the samples have no direction in common.
    """
    if min(len(rows), len(others)) < 2:
        return float("nan")
    first, second = (np.asarray(x) - np.mean(x, axis=0, dtype=np.float64) for x in (rows, others))
    scale = np.sum(first**2) * np.sum(second**2)
    kept = np.result_type(rows, others, np.float32)  # float32 is exact enough, and twice as fast
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap = np.sum((first.astype(kept) @ second.T.astype(kept)) ** 2, dtype=np.float64)
        return float(scale / overlap)


def predicted_correlation(quantized, latent, second_moment, mean):
    r"""Pearson correlation of a.w_b with a.w_c from the moments of the input a alone (paper, section 3).

    Pooled over inputs and units: with S = M - m m^T, the covariance within a unit is w_b^T S w_c, averaged
    over units; to it comes the covariance between units of their means m.w_b and m.w_c. For one unit it is
    w_b^T S w_c / sqrt((w_b^T S w_b)(w_c^T S w_c)).

    Args:
        quantized: (d, units) array_like, w_b.
        latent: (d, units) array_like, w_c.
        second_moment: (d, d) array_like, M = E[a a^T].
        mean: (d,) array_like, m = E[a].

    Returns:
        Float in [-1, 1]; NaN where a product has no variance but rounding.
    """
    quantized, latent, mean = (np.asarray(x, np.float64) for x in (quantized, latent, mean))
    covariance = np.asarray(second_moment, np.float64) - np.outer(mean, mean)
    spread_b, spread_c = covariance @ quantized, covariance @ latent
    within = [np.sum(x * y) for x, y in ((quantized, spread_c), (quantized, spread_b), (latent, spread_c))]
    return _pooled_correlation(within, mean @ quantized, mean @ latent)


def predicted_correlation_permuted(quantized, latent, mean_square, mean):
    """`predicted_correlation` for inputs whose entries are uncorrelated and alike (paper, Fig 4 right).

    A permutation of the activations makes them so. For zero mean and one unit it is cos angle(w_b, w_c).

    Args:
        quantized: (d, units) array_like, w_b.
        latent: (d, units) array_like, w_c.
        mean_square: float, E[a_i^2] of every entry.
        mean: float, E[a_i].

    Returns:
        Float in [-1, 1]; NaN where a product has no variance but rounding.
    """
    quantized, latent = np.asarray(quantized, np.float64), np.asarray(latent, np.float64)
    products = (quantized * latent, quantized**2, latent**2)
    within = [(mean_square - mean**2) * np.sum(product) for product in products]
    return _pooled_correlation(within, mean * quantized.sum(axis=0), mean * latent.sum(axis=0))


def _pooled_correlation(within, mean_b, mean_c):
    """Correlation from the sums over units of covariances (bc, bb, cc) and from the units' (units,) means."""
    dev_b, dev_c = mean_b - np.mean(mean_b), mean_c - np.mean(mean_c)
    pairs = ((dev_b, dev_c), (dev_b, dev_b), (dev_c, dev_c))
    bc, bb, cc = (x + y @ z for x, (y, z) in zip(within, pairs, strict=True))
    rounding = 1e-13  # of the mean square, what M - m m^T leaves of a constant input
    if bb <= rounding * (mean_b @ mean_b) or cc <= rounding * (mean_c @ mean_c):
        return float("nan")
    return float(np.clip(bc / np.sqrt(bb * cc), -1, 1))
