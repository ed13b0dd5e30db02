"""Moments of the dot products and inputs of each unit, accumulated over batches; they give gain and r within units."""

import math
from dataclasses import replace

import numpy as np

from bnn import geometry
from bnn.analysis.core.linear_maps import Convolution
from bnn.geometry import CoordinateMoments, UnitMoments


class UnitProducts:
    """Accumulates the moments that `geometry.gains` needs for one kernel.

    Attributes:
        product: Product.
        moments: UnitMoments of the pairs (a.w_b, a.w_c) of each unit.
    """

    def __init__(self, product):
        """Start without data; `product` is a Product."""
        self.product, self._calls = product, {}
        self.moments = UnitMoments(product.kernels.latent[0].size)

    def update(self, call, inputs, quantized, latent):
        """Add one batch of one call of the layer.

        Args:
            call: int, index of the call, for a layer that is called several times.
            inputs: (n, ..., channels) float32 array.
            quantized: (n, ..., groups, units) array, the dot products with the quantized kernel.
            latent: the same with the latent kernel.
        """
        if len(inputs):  # a mask may leave nothing
            self.moments_of(call, inputs).update(inputs.reshape(len(inputs), -1))
            self.moments.update(per_unit(quantized), per_unit(latent))

    def moments_of(self, call, inputs):
        """The CoordinateMoments of the inputs of a call."""
        return self._of(call, tuple(inputs.shape[1:]))

    def _of(self, call, shape):
        if call not in self._calls:
            self._calls[call] = shape, CoordinateMoments(math.prod(shape))
        return self._calls[call][1]

    def state(self):
        """Return all that was accumulated, a dict from the name of a part to its dict of arrays, for `add`."""
        calls = {
            f"call {call}": moments.state() | {"shape": np.array(shape, np.int64)}
            for call, (shape, moments) in self._calls.items()
        }
        return {"units": self.moments.state()} | calls

    def add(self, state):
        """Add what another one of the same kernel accumulated; raises `ValueError` for one of another kernel."""
        self.moments.add(**state["units"])
        for name in sorted(name for name in state if name.startswith("call ")):
            part = dict(state[name])
            shape = tuple(int(size) for size in part.pop("shape"))
            self._of(int(name.removeprefix("call ")), shape).add(**part)

    def gains(self):
        """geometry.Gains of the units, in the order of `LayerReport.kernels`."""
        units = self.product.kernels.latent.shape[-1]
        return geometry.gains(*self.product.columns, self.moments, np.repeat(self.input_variances(), units))

    def input_variances(self):
        """(groups,) float64 array: the mean variance of the entries of a group's patches, tr S / d; NaN without data.

        The variance of an entry over images and positions is the mean over positions of its variance over images plus
        the variance over positions of its mean, so two maps of the inputs give it without any patch.
        """
        groups = self.product.kernels.latent.shape[1]
        if not self._calls:
            return np.full(groups, np.nan)
        counts = [moments.count for _, moments in self._calls.values()]
        calls = [self._taps(shape, moments) for shape, moments in self._calls.values()]
        entries = [_pooled_variance(counts, maps) for maps in zip(*calls, strict=True)]
        return np.reshape(entries, (len(entries), groups, -1)).mean(axis=(0, 2))

    def _taps(self, shape, moments):
        """Yield, for each tap of the kernel, the (positions, channels) means and variances of its inputs."""
        mean, variance = (values.reshape(1, *shape) for values in (moments.mean, moments.std**2))
        linear = self.product.linear
        constant = replace(linear, pad_value=0.0) if isinstance(linear, Convolution) else linear
        return zip(linear.taps(mean), constant.taps(variance), strict=True)  # padding does not vary


def per_unit(products):
    """Reshape (n, ..., groups, units) products to (rows, groups x units)."""
    return products.reshape(-1, products.shape[-2] * products.shape[-1])


def _pooled_variance(counts, maps):
    """Return the (channels,) variances over the samples and positions of several calls.

    Args:
        counts: list of int, the number of samples in each call.
        maps: (positions, channels) means and variances over samples, one pair per call.
    """
    rows = np.array([count * len(mean) for count, (mean, _) in zip(counts, maps, strict=True)], np.float64)
    weights = rows / rows.sum()
    center = sum(weight * mean.mean(axis=0) for weight, (mean, _) in zip(weights, maps, strict=True))
    return sum(
        weight * (variance + (mean - center) ** 2).mean(axis=0)
        for weight, (mean, variance) in zip(weights, maps, strict=True)
    )
