"""Angles between sampled vectors and their quantized versions, or between one another.

NumPy and SciPy only, float64, radians. Every random draw takes its generator.
"""

import numpy as np

from bnn.geometry.angles import angle

CHUNK = 1 << 16  # elements drawn at a time: 512 KiB, so that a draw is used while it is in the cache


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
