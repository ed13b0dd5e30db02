"""Random rotations: uniform ones (Haar measure), and fast ones for many dimensions.

All values are float64. Every function that draws random numbers takes a generator.

References:
    .. [1] F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the
       AMS 54, 2007.
    .. [2] Y. Chikuse, "Statistics on Special Manifolds", Springer 2003, theorem 2.2.1.
    .. [3] N. Ailon & B. Chazelle, "The fast Johnson-Lindenstrauss transform and approximate nearest neighbors", SIAM
       Journal on Computing 39, 2009.
"""

import numpy as np
from scipy.linalg import hadamard

LARGE = 256  # above this dimension, a rotation is not stored as a matrix


def random_rotation(d, rng):
    """Draw a rotation uniformly (Haar measure) from SO(d): QR of a Gaussian matrix with fixed signs [1]_.

    Args:
        d: int, >= 1.
        rng: numpy.random.Generator.

    Returns:
        (d, d) float64 array R with R R^T = I and det R = +1.
    """
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    q *= np.copysign(1.0, np.diag(r))  # QR's own sign convention would make the distribution not uniform
    q[:, 0] *= np.linalg.slogdet(q)[0]
    return q


def randomly_rotated(vectors, rng):
    r"""Apply one uniformly random rotation (Haar measure) to the vectors W.

    W = P (W^T W)^(1/2), where P has orthonormal columns. After a random rotation, P is uniform on the Stiefel manifold.
    G (G^T G)^(-1/2) has the same distribution for a Gaussian G [2]_. If k < d, this needs d k^2 operations instead of
    d^3, and the rotation itself is not computed.

    Args:
        vectors: (d, k) array_like.
        rng: numpy.random.Generator.

    Returns:
        (d, k) float64 array. The lengths of the columns and the angles between them are those of `vectors`.
    """
    vectors = np.asarray(vectors, np.float64)
    d, k = vectors.shape
    if k >= d:
        return random_rotation(d, rng) @ vectors
    gaussian = rng.standard_normal((d, k))
    return gaussian @ (_power(gaussian.T @ gaussian, -0.5) @ _power(vectors.T @ vectors, 0.5))


def _power(matrix, exponent):
    """Compute a power of a symmetric positive semidefinite matrix."""
    values, basis = np.linalg.eigh(matrix)
    return basis * np.maximum(values, 0) ** exponent @ basis.T


class Rotation:
    """A random rotation R in d dimensions that can be applied to vectors and undone.

    Up to `LARGE` dimensions, R is uniform and comes from `random_rotation`. In more dimensions, R is a randomized
    Hadamard transform [3]_ of two rounds. Each round consists of a random permutation, random signs, a Walsh-Hadamard
    transform of the first 2^k entries, random signs again, and a transform of the last 2^k entries. 2^k is the largest
    power of two that is not greater than d. This takes d log d operations instead of d^2. Without the permutation, the
    entries would mix poorly if d is just below a power of two, because the two transforms then have few entries in
    common.

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
        """Compute R W for a (d, k) array W of column vectors, float64."""
        vectors = np.array(vectors, np.float64)
        if self.matrix is not None:
            return self.matrix @ vectors
        for order, signs, block in self.steps:
            vectors = vectors[order] * signs
            vectors[block] = walsh_hadamard(vectors[block])
        return vectors

    def undo(self, vectors):
        """Compute R^T W for a (d, k) array W of column vectors, float64."""
        vectors = np.array(vectors, np.float64)
        if self.matrix is not None:
            return self.matrix.T @ vectors
        for order, signs, block in reversed(self.steps):
            vectors[block] = walsh_hadamard(vectors[block])
            vectors[order] = vectors * signs
        return vectors


def walsh_hadamard(vectors):
    """Compute the orthonormal Walsh-Hadamard transform of columns. The transform is its own inverse.

    Args:
        vectors: (2^k, n) float64 array.

    Returns:
        (2^k, n) float64 array, H V / sqrt(2^k), where H is the Hadamard matrix of Sylvester's form.
    """
    size, n = vectors.shape
    # H is the Kronecker product of two smaller Hadamard matrices: two matrix products replace k passes.
    rows = 1 << (size.bit_length() // 2)
    first, second = hadamard(rows, float), hadamard(size // rows, float)
    grid = np.tensordot(first, vectors.reshape(rows, size // rows, n), axes=1)
    # `second @ grid` takes ten times as long for 8192 x 1024: a product per row, with strides of powers of two.
    return np.tensordot(second, grid, axes=(1, 1)).swapaxes(0, 1).reshape(size, n) / np.sqrt(size)
