"""The parts of each unit's residual, and their gains, from moments that are accumulated over batches."""

import math

import numpy as np

from bnn.geometry import CrossMoments, ResidualGains
from bnn.geometry.gain import CONSTANT
from bnn.geometry.input_metric import NO_PART


class ResidualParts:
    """Accumulates what `geometry.residual_gain_split` needs, without the second moments of whole patches.

    The product of the inputs with the channels' means of a residual is that of the sums over the taps with these means.
    So the covariance of these sums, and that with the products of the residual, are enough.

    Attributes:
        moments: list with the CrossMoments of each group.
    """

    def __init__(self, product):
        """Start without data; `product` is a Product."""
        self._linear = product.linear
        quantized, latent = (kernel.astype(np.float64) for kernel in product.kernels)
        d, self._groups, units = latent.shape
        self._taps = math.prod(getattr(product.linear, "kernel_size", ()))
        with np.errstate(invalid="ignore", divide="ignore"):
            self._alpha = (quantized * latent).sum(axis=0) / (latent**2).sum(axis=0)
        self._residual = quantized - self._alpha * latent
        rounding = (self._residual**2).sum(axis=0) <= CONSTANT * (quantized**2).sum(axis=0)
        self._residual[:, rounding] = 0
        sums = 1 if self._taps == 1 else d // self._taps
        self.moments = [CrossMoments(sums, units) for _ in range(self._groups)]

    def update(self, inputs, quantized, latent):
        """Add one batch of one call of the layer; arguments as of `UnitProducts.update`."""
        products = quantized - self._alpha.astype(np.float32) * latent
        products = products.reshape(-1, *self._alpha.shape)
        sums = sum(self._linear.taps(inputs)).reshape(len(products), self._groups, -1)
        if self._taps == 1:
            sums = sums.sum(axis=2, keepdims=True)
        for group, moments in enumerate(self.moments):
            moments.update(sums[:, group], products[:, group])

    def gains(self, gains, input_variances):
        """The parts of every unit.

        Args:
            gains: geometry.Gains of the units.
            input_variances: (groups,) float64 array, the mean variances of the inputs' entries.

        Returns:
            ResidualGains. All numbers of a unit are NaN if it is constant or its residual is 0.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = (self._residual**2).sum(axis=0)
            scale = whole * input_variances[:, None]
            variance = gains.residual_gain.reshape(scale.shape) * scale
            found = [self._of_group(g, variance[g]) for g in range(self._groups)]
            share, gain, cross = (np.stack(parts, axis=1) for parts in zip(*found, strict=True))
            share = share / whole
            share[share <= NO_PART] = 0
            gain = np.where(share > 0, np.maximum(gain, 0) / (share * scale), np.nan)
            parts = [part.reshape(3, -1) for part in (share, gain, 2 * cross / scale)]
        undefined = gains.constant | np.isnan(gains.residual_gain)
        return ResidualGains(*(np.where(undefined, np.nan, part) for part in parts))

    def _of_group(self, g, variance):
        """The energies of the parts, the variances of their products with the inputs, and the covariances of these.

        Args:
            g: int, the group.
            variance: (units,) float64 array, of the products with the residual.

        Returns:
            Three (3, units) float64 arrays.
        """
        residual = self._residual[:, g]
        mean = residual.mean(axis=0)
        channels = residual.reshape(self._taps, -1, len(mean)).mean(axis=0)
        parts = np.tile(channels, (self._taps, 1)) - mean, residual - np.tile(channels, (self._taps, 1))
        energies = [len(residual) * mean**2, *(np.einsum("du,du->u", part, part) for part in parts)]
        of_sums, with_residual = self.moments[g].covariances
        # Covariances of the products with t = e_0, z = e_0 + e_1 and the residual e.
        tt, te = mean**2 * of_sums.sum(), mean * with_residual.sum(axis=0)
        if self._taps == 1:
            tz, zz, ze = te, variance, variance
        else:
            tz = mean * (of_sums.sum(axis=0) @ channels)
            zz = np.einsum("cu,cu->u", channels, of_sums @ channels)
            ze = np.einsum("cu,cu->u", channels, with_residual)
        variances = np.array([tt, zz - 2 * tz + tt, variance - 2 * ze + zz])
        return np.array(energies), variances, np.array([tz - tt, te - tz, (ze - zz) - (te - tz)])
