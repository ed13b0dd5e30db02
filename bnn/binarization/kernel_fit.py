"""Fit the levels of one kernel to what it is multiplied with in the quantized network, and to the real products."""

from typing import NamedTuple

import numpy as np

from bnn.analysis.core.checks import OVERFLOW
from bnn.analysis.core.fitting import Sampler, shrunk
from bnn.geometry import CrossMoments, UnitMoments, fit_signs, nearest_levels

DAMPING = 0.01  # of the least squares for the real kernel, relative to the mean variance of an input


class FitError(ValueError):
    """A kernel cannot be fitted; the message is the reason."""


class Fit(NamedTuple):
    """A fitted kernel.

    Attributes:
        kernel: (d, groups, units) float32 array, a scale per unit times levels.
        shift: (groups x units,) float64 array, what a bias has to add; zeros if there is none.
    """

    kernel: np.ndarray
    shift: np.ndarray


class Pairs:
    """A sample of what one kernel is multiplied with in the real and in the quantized network, at the same places."""

    def __init__(self, product, n_images, rng):
        """Start without data.

        Args:
            product: Product of the real network.
            n_images: int, how many there will be.
            rng: numpy.random.Generator, for the sample.
        """
        self.product, self._sampler = product, Sampler(product, n_images, rng)

    def sample(self, images, calls, others):
        """Draw the same rows of both.

        Args:
            images: int, images in the batch.
            calls: list of Call, of the kernel in the real network.
            others: the same in the quantized network.

        Yields:
            For each call the (groups, m, d) float32 arrays of both.

        Raises:
            FitError: the inputs are not finite, or those of the two networks do not have the same shapes.
        """
        if not calls or not others:
            raise FitError("the model does not call it where values can be seen")
        linear = self.product.linear
        if [call.inputs.shape for call in calls] != [call.inputs.shape for call in others]:
            raise FitError("its inputs have other shapes after earlier layers were quantized")
        if not all(np.isfinite(call.inputs).all() for call in (*calls, *others)):
            raise FitError(OVERFLOW)
        for call, other, places in zip(calls, others, self._sampler.places(images, calls), strict=True):
            if len(places):
                yield linear.patches(call.inputs, places), linear.patches(other.inputs, places)


def moments_of(pairs, kernel):
    """The moments of the inputs of the quantized network with the products of the real one: one object per group.

    Args:
        pairs: iterable of pairs of (groups, m, d) arrays, as `Pairs.sample` yields.
        kernel: (d, groups, units) float32 array, the real kernel.
    """
    d, groups, units = kernel.shape
    moments = [CrossMoments(d, units) for _ in range(groups)]
    for real, quantized in pairs:
        for group, one in enumerate(moments):
            one.update(quantized[group], real[group] @ kernel[:, group])
    return moments


def fit(kernel, moments, levels, centered):
    """Fit levels so that the products change least.

    For inputs a of the real network and b of the quantized one, the squared error of a.w - b.(scale q) is, up to a
    constant, that of b.(v - scale q), where v is the real kernel with the best products b.v. Each unit takes the better
    of the levels fitted to v and of the nearest ones of w, each with its best scale. So it is never worse on these
    inputs than the nearest levels.

    Args:
        kernel: (d, groups, units) float32 array, w.
        moments: list of CrossMoments, from `moments_of`.
        levels: int, >= 2.
        centered: bool, whether a bias or a batch norm after the layer removes a constant error.

    Returns:
        Fit

    Raises:
        FitError: there is no more than one input.
    """
    if moments[0].count < 2:
        raise FitError("its levels cannot be fitted to a single input: give more images")
    parts = [_fit_group(kernel[:, g], one, levels, centered) for g, one in enumerate(moments)]
    kernels, shifts = zip(*parts, strict=True)
    return Fit(np.stack(kernels, axis=1).astype(np.float32), np.concatenate(shifts))


def _fit_group(w, moments, levels, centered):
    w = w.astype(np.float64)
    (s, b), (mean, target) = moments.covariances, moments.means
    smooth = shrunk(s, moments.count)
    if not centered:
        s, smooth = s + np.outer(mean, mean), smooth + np.outer(mean, mean)
        b = b + np.outer(mean, target)
    kept = len(w) / (len(w) + 10 * moments.count)
    ridge = (DAMPING + kept) * np.trace(s) / len(s)
    v = w
    if ridge > 0:
        v = w + np.linalg.solve(smooth + ridge * np.eye(len(s)), b - s @ w)
    found = [_scaled(q, s, b, w) for q in (fit_signs(v, smooth, levels).quantized, nearest_levels(w, levels))]
    (fitted, gain), (nearest, least) = found
    kernel = np.where(gain >= least, fitted, nearest)
    return kernel, target - mean @ kernel if centered else np.zeros(len(target))


def _scaled(q, s, b, w):
    """The levels times their best scales, and by how much these lower the squared error of the products."""
    q = q.astype(np.float64)
    num, den = np.einsum("du,du->u", q, b), np.einsum("du,du->u", q, s @ q)
    alive = den > 1e-12 * np.trace(s) * np.abs(q).max() ** 2
    nearest = np.einsum("du,du->u", q, w) / np.maximum(np.einsum("du,du->u", q, q), 1e-300)
    scale = np.where(alive, num / np.where(alive, den, 1), nearest)
    return scale * q, np.where(alive, num * scale, 0)


def correlations(pairs, real, quantized):
    """The correlation of each unit's products in the two networks, (groups x units,) float64 array."""
    groups, units = real.shape[1:]
    moments = [UnitMoments(units) for _ in range(groups)]
    for inputs, others in pairs:
        for group, one in enumerate(moments):
            one.update(others[group] @ quantized[:, group], inputs[group] @ real[:, group])
    return np.concatenate([one.r for one in moments])
