"""Angles between sampled vectors and their quantized versions, or between pairs of sampled vectors.

All values are float64; angles are in radians. Every function that draws random numbers takes a generator.
"""

import numpy as np

from bnn.geometry.angles import angle

CHUNK = 1 << 16  # elements to draw at a time: 512 KiB stay in the cache until they are used


def sample_angles(d, n, quantizer, rng, *, scale=None, rotation=None):
    r"""Sample the angles between n random vectors x and their quantized versions (paper, Figs 2a and 4).

    Args:
        d: int, >= 1.
        n: int, >= 0.
        quantizer: function from an array to an array of the same shape, such as `sign`.
        rng: numpy.random.Generator.
        scale: None for x ~ N(0, I), or (d,) array_like for x ~ N(0, diag(scale^2)).
        rotation: None, or a (d, d) orthogonal array R. With R, the quantizer is the generalized binarization
            transformation R^T quantizer(R x) (paper, Fig 4).

    Returns:
        (n,) float64 array, radians in [0, pi]; NaN where a quantized vector is zero.
    """

    def draw(rows):
        x = rng.standard_normal((rows, d))
        x = x if scale is None else x * scale
        # angle(x, R^T q) = angle(R x, q): rotating x is enough, and q need not be rotated back.
        x = x if rotation is None else x @ np.transpose(rotation)
        return angle(x, quantizer(x))

    return _in_chunks(draw, n, CHUNK // d + 1)


def sample_pair_angles(d, n, rng):
    """Sample the angles between n pairs of independent random directions (paper, Fig 2a).

    Args:
        d: int, >= 1.
        n: int, >= 0.
        rng: numpy.random.Generator.

    Returns:
        (n,) float64 array, radians in [0, pi]; the density is `direction_angle_density`.
    """
    return _in_chunks(lambda rows: angle(*rng.standard_normal((2, rows, d))), n, CHUNK // (2 * d) + 1)


def _in_chunks(draw, n, rows):
    return np.concatenate([np.empty(0)] + [draw(min(rows, n - start)) for start in range(0, n, rows)])
