"""Random rotations: uniform by Haar measure, and fast ones for many dimensions.

NumPy and SciPy only, float64, radians. Every random draw takes its generator.

References:
    .. [1] F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the
       AMS 54, 2007.
    .. [2] Y. Chikuse, "Statistics on Special Manifolds", Springer 2003, theorem 2.2.1.
    .. [3] N. Ailon & B. Chazelle, "The fast Johnson-Lindenstrauss transform and approximate nearest neighbors", SIAM
       Journal on Computing 39, 2009.
"""

import numpy as np
from scipy.linalg import hadamard

LARGE = 256  # dimension beyond which a rotation is not formed as a matrix


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


class Rotation:
    """A random rotation R of d dimensions, applied to vectors and undone.

    Up to `LARGE` dimensions R is uniform, by `random_rotation`. Beyond, it is a randomized Hadamard transform [3]_: two
    rounds, each of a random permutation, random signs and a Walsh-Hadamard transform of the first 2^k entries, then of
    signs and a transform of the last 2^k, where 2^k is the largest power of two up to d. It takes d log d operations
    instead of d^2. Without the permutation, entries would hardly mix where d is just below a power of two: the two
    transforms then have few entries in common.

    Args:
        d: int, >= 1.
        rng: numpy.random.Generator.
    """

    def __init__(self, d, rng):
        self.matrix, self.steps = None, []
        if d <= LARGE:
            self.matrix = random_rotation(d, rng)
            return
        size = 1 << (d.bit_length() - 1)
        for _ in range(2):
            for order, block in ((rng.permutation(d), slice(0, size)), (np.arange(d), slice(d - size, d))):
                self.steps.append((order, rng.choice((-1.0, 1.0), size=(d, 1)), block))

    def apply(self, vectors):
        """R W for the columns W of a (d, k) array, float64."""
        vectors = np.array(vectors, np.float64)
        if self.matrix is not None:
            return self.matrix @ vectors
        for order, signs, block in self.steps:
            vectors = vectors[order] * signs
            vectors[block] = walsh_hadamard(vectors[block])
        return vectors

    def undo(self, vectors):
        """R^T W for the columns W of a (d, k) array, float64."""
        vectors = np.array(vectors, np.float64)
        if self.matrix is not None:
            return self.matrix.T @ vectors
        for order, signs, block in reversed(self.steps):
            vectors[block] = walsh_hadamard(vectors[block])
            vectors[order] = vectors * signs
        return vectors


def walsh_hadamard(vectors):
    """The orthonormal Walsh-Hadamard transform of columns; it is its own inverse.

    Args:
        vectors: (2^k, n) float64 array.

    Returns:
        (2^k, n) float64 array, H V / sqrt(2^k) with H of Sylvester's form.
    """
    size, n = vectors.shape
    # H of 2^k is the Kronecker product of two smaller ones: two matrix products instead of k passes.
    rows = 1 << (size.bit_length() // 2)
    first, second = hadamard(rows), hadamard(size // rows)
    grid = np.tensordot(first, vectors.reshape(rows, size // rows, n), axes=1)
    return (second @ grid).reshape(size, n) / np.sqrt(size)
