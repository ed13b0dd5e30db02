"""Random rotations, uniform by Haar measure.

NumPy and SciPy only, float64, radians. Every random draw takes its generator.

References:
    .. [1] F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the
       AMS 54, 2007.
    .. [2] Y. Chikuse, "Statistics on Special Manifolds", Springer 2003, theorem 2.2.1.
"""

import numpy as np


def random_rotation(d, rng):
    """Rotation drawn uniformly (by Haar measure) from SO(d): QR of a Gaussian matrix, its signs fixed [1]_.

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
    G (G^T G)^(-1/2) for a Gaussian G [2]_: d k^2 operations instead of d^3.

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
