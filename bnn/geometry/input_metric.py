r"""Kernels in the metric of their inputs: angles, and the parts of a residual.

The covariance S of the inputs defines the inner product u^T S v of two kernels. It is the covariance of their products
a.u and a.v. The cosine of the angle in this metric is therefore the correlation r of the products.
"""

from typing import NamedTuple

import numpy as np

ROUNDING = (
    1e-14  # a quadratic form below this fraction of the sum of the magnitudes of its terms is only rounding
)
NO_PART = 1e-24  # a part with a smaller share of the energy is only rounding


def angle_inputs(kernel, quantized, covariance):
    """Compute the angle between the kernels of each unit in the metric of the inputs, in degrees.

    The cosine of the angle is the correlation of the products a.w_c and a.w_b over inputs a with this covariance: r
    within the unit. Scales and constants that are added to the products do not change it. With the identity, it is the
    angle between the vectors. It is accurate for small angles, too.

    Args:
        kernel: (d, units) array_like, w_c.
        quantized: (d, units) array_like, w_b.
        covariance: (d, d) array_like, symmetric and positive semidefinite. With the second moment in its place, the
            cosine is that of the uncentered products.

    Returns:
        (units,) float64 array, degrees in [0, 180]; NaN where the products with one of the kernels do not vary.

    Raises:
        ValueError: the shapes do not match.
    """
    s, *kernels = (np.asarray(x, np.float64) for x in (covariance, kernel, quantized))
    shapes = [x.shape for x in kernels]
    if kernels[0].ndim != 2 or shapes[0] != shapes[1] or s.shape != (len(kernels[0]),) * 2:
        raise ValueError(
            "kernel, quantized, covariance: expected shapes (d, units), (d, units) and (d, d), "
            f"received {shapes[0]}, {shapes[1]} and {s.shape}"
        )
    (u, su), (v, sv) = (_unit_length(x, s) for x in kernels)
    apart, together = (np.sqrt(np.maximum(_dot(x, sx), 0)) for x, sx in ((u - v, su - sv), (u + v, su + sv)))
    return np.degrees(2 * np.arctan2(apart, together))


def _unit_length(x, s):
    """The kernels x and their products s @ x, both divided by sqrt(x.Sx); NaN where this is 0."""
    sx = s @ x
    length2 = _dot(x, sx)
    most = (np.abs(x).T @ np.sqrt(np.maximum(np.diag(s), 0))) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        length = np.where(length2 > ROUNDING * most, np.sqrt(length2), np.nan)
    return x / length, sx / length


class ResidualGains(NamedTuple):
    """The parts of a residual: 0 the mean of all entries, 1 the means of the channels minus this mean, 2 the rest.

    The parts are orthogonal, so their shares have the sum 1. Over inputs they are correlated, so the gain of the
    residual is `(share * gain).sum(0) + cross.sum(0)`, where parts without energy are left out.

    Attributes:
        share: (3, units) float64 array, |e_k|^2 / |e|^2.
        gain: (3, units) float64 array, e_k^T S e_k / (|e_k|^2 tr S / d); NaN for a part without energy.
        cross: (3, units) float64 array, 2 e_j^T S e_k / (|e|^2 tr S / d) for the parts (0, 1), (0, 2) and (1, 2).
    """

    share: np.ndarray
    gain: np.ndarray
    cross: np.ndarray

    @property
    def total(self):
        """The gain of the whole residual, (units,) float64 array."""
        return np.where(self.share > 0, self.share * self.gain, 0).sum(axis=0) + self.cross.sum(axis=0)


def residual_gain_split(residual, second_moment, groups):
    r"""Split the gain of residuals exactly into the mean of all entries, the means of the channels, and the rest.

    For the residual e = w_b - alpha w_c of a unit, every entry of e_0 is the mean of all entries of e, each entry of
    e_0 + e_1 is the mean over the entries of its channel, and e_2 = e - e_0 - e_1. The gain of e is

        g_e = e^T S e / (|e|^2 tr S / d) = sum_k |e_k|^2 / |e|^2 g_k + sum_{j<k} 2 e_j^T S e_k / (|e|^2 tr S / d).

    Args:
        residual: (d, units) array_like of finite numbers, e.
        second_moment: (d, d) array_like, S, symmetric. The covariance of the inputs gives the residual gain of `gains`.
        groups: (d,) array_like, the channel of each entry: `np.tile(np.arange(channels), taps)` for a kernel of shape
            (taps, channels, units) that was reshaped to (taps * channels, units), as in Keras;
            `np.repeat(np.arange(channels), taps)` for (channels, taps), as in PyTorch.

    Returns:
        ResidualGains. The numbers of a residual of zeros are NaN, and so are all gains if tr S is 0.

    Raises:
        ValueError: the shapes do not match.
    """
    e, s = np.asarray(residual, np.float64), np.asarray(second_moment, np.float64)
    d = len(e)
    if e.ndim != 2 or s.shape != (d, d) or np.shape(groups) != (d,):
        raise ValueError(
            "residual, second_moment, groups: expected shapes (d, units), (d, d) and (d,), "
            f"received {e.shape}, {s.shape} and {np.shape(groups)}"
        )
    channel, size = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    sums = np.zeros((len(size), e.shape[1]))
    np.add.at(sums, channel, e)
    mean = np.broadcast_to(e.mean(axis=0), e.shape)
    by_channel = (sums / size[:, None])[channel]
    parts = [mean, by_channel - mean, e - by_channel]
    products = [s @ part for part in parts]
    with np.errstate(invalid="ignore", divide="ignore"):
        energy = np.array([_dot(part, part) for part in parts])
        whole = _dot(e, e)
        variance = np.trace(s) / d
        share = np.where(energy <= NO_PART * whole, 0 * whole, energy) / whole
        gain = np.array([_dot(*pair) for pair in zip(parts, products, strict=True)]) / (energy * variance)
        cross = np.array([2 * _dot(parts[j], products[k]) for j, k in ((0, 1), (0, 2), (1, 2))])
        return ResidualGains(share, np.where(share > 0, gain, np.nan), cross / (whole * variance))


def _dot(x, y):
    return np.einsum("du,du->u", x, y)
