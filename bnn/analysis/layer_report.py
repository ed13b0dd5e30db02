"""What is known of one kernel once all images have been seen."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bnn import geometry
from bnn.analysis import statistics
from bnn.analysis.kernel_products import Kernels, Product
from bnn.geometry import CorrelationStatistics
from bnn.tables import cell


@dataclass(frozen=True, eq=False, repr=False)
class LayerReport:
    """One kernel: its angles, the statistics of its dot products, and histograms of them.

    Every key of `statistics.STATISTICS` is an attribute too, as in metrics.json: `r_weights`, `angle_mean_deg`, ...

    Attributes:
        product: Product, the kernel and how it meets the input.
        weights: CorrelationStatistics of the pairs (a.w_b, a.w_c) over images, positions and units.
        permuted: the same after permuting each image's activations over positions and channels.
        activations: of the pairs (a_b.w_b, a_c.w_b); without data where no quantizer is known for a real input.
        histograms: dict from "weights", "permuted" and "activations" to a Histogram2D of such pairs.
        grouped_patches: (groups, m, d) float32 array, a random sample of the vectors that the kernels of each group
            are multiplied with.
        gains: geometry.Gains of the units: what relates a.w_b to a.w_c in each of them.
        rotated_r: (units,) float64 array, the correlation of a.w_c with the products of the kernel that was quantized
            after one random rotation (paper, section 3, generalized binarization).
        r_scores: float, how well the model's scores agree with and without the quantizer of this kernel, see
            `score_agreement`; None where it was not measured.
    """

    product: Product
    weights: CorrelationStatistics
    permuted: CorrelationStatistics
    activations: CorrelationStatistics
    histograms: dict
    grouped_patches: np.ndarray
    gains: geometry.Gains
    rotated_r: np.ndarray
    r_scores: float | None = None

    def __getattr__(self, key):
        """A statistic, computed when it is first asked for."""
        statistic = statistics.find(key)
        if statistic is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}")
        value = self.__dict__[key] = statistic.compute(self)
        return value

    def __dir__(self):
        return sorted({*super().__dir__(), *(statistic.key for statistic in statistics.STATISTICS)})

    def __repr__(self):
        columns = [s for s in statistics.STATISTICS if s.key != "layer"]
        shown = (f"{s.heading} {cell(getattr(self, s.key), s.decimals)}" for s in columns)
        return f"<LayerReport {self.name}: {', '.join(shown)}>"

    @property
    def name(self):
        """The layer's; in a nested model the path to it."""
        return self.product.name

    @property
    def quantizer(self):
        """What makes the quantized kernel of the latent one, a function; None if nothing does."""
        return self.product.quantizer

    @cached_property
    def kernels(self):
        """Kernels, each (d, units) float32: `.quantized` and `.latent`."""
        return Kernels(*(kernel.reshape(len(kernel), -1) for kernel in self.product.kernels))

    @cached_property
    def angles(self):
        """(units,) float64 array, radians between quantized and latent kernel; NaN for an all-zero kernel."""
        return geometry.angle(*self.kernels, axis=0)

    @property
    def patches(self):
        """(m, d) float32 array: a random sample of the vectors that kernels are multiplied with, over all groups."""
        return self.grouped_patches.reshape(-1, self.grouped_patches.shape[-1])

    def predicted_r_permuted(self):
        """The r that inputs permuted across places and images should give, from the sampled patches, a float.

        It depends on the mean and the mean square of their entries alone.
        """
        patches = self.patches.astype(np.float64)
        return geometry.predicted_correlation_permuted(*self.kernels, np.mean(patches**2), patches.mean())

    def theory_angle(self):
        """The angle, in radians, that Gaussian latent weights of this number and spread would have.

        Exact for sign; the limit of many weights for other quantizers, NaN if they are all alike or the quantizer's
        levels are not known; 0 without a quantizer.
        """
        if self.quantizer is None:
            return 0.0
        scalar = self.product.scalar
        return math.nan if scalar is None else scalar.angle(self.d, self.latent_std)

    def theory_spread(self):
        """The standard deviation of that angle, in radians; NaN where no levels are known."""
        scalar = self.product.scalar
        return math.nan if scalar is None else scalar.angle_std(self.d, self.latent_std)

    def thresholds(self):
        """(levels - 1,) float64 array, where the quantizer steps, in units of the weights; empty if not known."""
        scalar = self.product.scalar
        return np.empty(0) if scalar is None else scalar.edges(self.latent_std)

    def statistics(self):
        """The layer's row of metrics.json, a dict from every key of `STATISTICS` to its value.

        None is what was not measured, NaN, null in the file, what is not defined: see the functions of `statistics`.
        """
        return {statistic.key: getattr(self, statistic.key) for statistic in statistics.STATISTICS}
