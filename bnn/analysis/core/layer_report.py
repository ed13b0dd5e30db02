"""The result of the analysis for one kernel."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bnn import geometry
from bnn.analysis.core import statistics
from bnn.analysis.core.checks import ReportError
from bnn.analysis.core.product import Product
from bnn.console.tables import cell, html_table
from bnn.geometry import CorrelationStatistics


@dataclass(frozen=True, eq=False, repr=False)
class LayerReport:
    """One kernel: its angles, the statistics of its dot products, and histograms of them.

    Every key of `statistics.STATISTICS` is also an attribute, as in metrics.json: `r_weights`, `angle_mean_deg`, ...

    Attributes:
        product: Product, the kernel and how it is multiplied with the input.
        weights: CorrelationStatistics of the pairs (a.w_b, a.w_c) over images, positions and units.
        permuted: the same after permuting each image's activations over positions and channels.
        activations: the same for the pairs (a_b.w_b, a_c.w_b); without data if no quantizer of the input is known.
        histograms: dict from "weights", "permuted" and "activations" to a Histogram2D of these pairs.
        grouped_patches: (groups, m, d) float32 array, a random sample of the vectors that the kernels of each group
            are multiplied with.
        gains: geometry.Gains of the units: the quantities that relate a.w_b to a.w_c in each unit.
        residual_gains: geometry.ResidualGains of the units: the shares and gains of the parts of the residual, and
            exactly what they add to the residual gain.
        rotated_r: (units,) float64 array, the correlation of a.w_c with the products of the kernel that was quantized
            after one random rotation (paper, section 3, generalized binarization).
        r_scores: float, the correlation of the model's scores with and without the quantizer of this kernel, see
            `score_agreement`; None if it was not measured.
        cost: float, what the quantizer of this kernel costs in nats per image, see `core.cost`; None if it was not
            measured, or its gradient cannot be computed.
        cost_error: float, the standard error of `cost` over the images; None in the same cases.
    """

    product: Product
    weights: CorrelationStatistics
    permuted: CorrelationStatistics
    activations: CorrelationStatistics
    histograms: dict
    grouped_patches: np.ndarray
    gains: geometry.Gains
    residual_gains: geometry.ResidualGains
    rotated_r: np.ndarray
    r_scores: float | None = None
    cost: float | None = None
    cost_error: float | None = None

    def __getattr__(self, key):
        """Return a statistic; it is computed at the first access."""
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

    def _repr_html_(self):  # IPython's hook
        columns = [s for s in statistics.STATISTICS if s.key != "layer"]
        rows = [[statistics.title(s.key), cell(getattr(self, s.key), s.decimals), s.key] for s in columns]
        return html_table([["statistic", "value", "attribute"], *rows], self.name)

    @property
    def name(self):
        """Name of the layer; in a nested model, the path to it."""
        return self.product.name

    @property
    def quantizer(self):
        """Function from the latent to the quantized kernel; None if the kernel is not quantized."""
        return self.product.quantizer

    @cached_property
    def kernels(self):
        """Kernels, each (d, units) float32: `.quantized` and `.latent`."""
        return self.product.columns

    @cached_property
    def angles(self):
        """(units,) float64 array, angles in radians between quantized and latent kernel; NaN for an all-zero kernel."""
        return geometry.angle(*self.kernels, axis=0)

    @cached_property
    def gates(self):
        """The gates of a recurrent layer, whose kernels are side by side.

        A dict from the gate's name to a dict with the means over its units of "angle_mean_deg", "gain" and "r_within";
        empty for other layers.
        """
        names = self.product.gates
        values = {
            "angle_mean_deg": np.degrees(self.angles),
            "gain": self.gains.gain,
            "r_within": self.gains.r,
        }
        parts = {key: np.split(value, len(names) or 1) for key, value in values.items()}
        return {
            name: {key: statistics.defined_mean(parts[key][place]) for key in values}
            for place, name in enumerate(names)
        }

    @property
    def patches(self):
        """(m, d) float32 array: a random sample of the vectors that kernels are multiplied with, over all groups."""
        return self.grouped_patches.reshape(-1, self.grouped_patches.shape[-1])

    def predicted_r_permuted(self):
        """Predict r for inputs permuted over positions and images, a float.

        It depends only on the mean and the mean square of the entries, which the sampled patches estimate.
        """
        patches = self.patches.astype(np.float64)
        return geometry.predicted_correlation_permuted(*self.kernels, np.mean(patches**2), patches.mean())

    def theory_angle(self):
        """Return the angle in radians for Gaussian latent weights with the same d and standard deviation.

        It is exact for sign, and the limit of large d for other quantizers. NaN if all weights are equal or the levels
        of the quantizer are unknown; 0 without a quantizer.
        """
        if self.quantizer is None:
            return 0.0
        scalar = self.product.scalar
        return math.nan if scalar is None else scalar.angle(self.d, self.latent_std)

    def theory_spread(self):
        """Return the standard deviation of that angle in radians; NaN if the levels are unknown."""
        scalar = self.product.scalar
        return math.nan if scalar is None else scalar.angle_std(self.d, self.latent_std)

    def thresholds(self):
        """Return a (levels - 1,) float64 array: thresholds in units of the weights; empty if not known."""
        scalar, own = self.product.scalar, getattr(self.quantizer, "unit", None)
        unit = own(self.kernels.latent) if own else self.latent_std
        return np.empty(0) if scalar is None else scalar.edges(unit)

    def statistics(self):
        """Return the row of metrics.json for this layer, a dict from every key of `STATISTICS` to its value.

        None means not measured. NaN, null in the file, means not defined; see the functions in `statistics`.
        """
        return {statistic.key: getattr(self, statistic.key) for statistic in statistics.STATISTICS}


def register(statistic):
    """Add a statistic of your own to reports, tables, metrics.json and comparisons; if `logged`, also to geometry logs.

    Args:
        statistic: Statistic, with an importance above 0 if the default table shall have it.

    Raises:
        ReportError: it is no Statistic, or its key is no name, or is that of another attribute of a LayerReport.
    """
    key = getattr(statistic, "key", "")
    taken = {*dir(LayerReport), *LayerReport.__dataclass_fields__, *(s.key for s in statistics.STATISTICS)}
    if not isinstance(statistic, statistics.Statistic) or not str(key).isidentifier() or key in taken:
        raise ReportError(
            f"statistic: expected a Statistic with a new key that is a name, received {statistic!r}"
        )
    statistics.STATISTICS = (*statistics.STATISTICS, statistic)
