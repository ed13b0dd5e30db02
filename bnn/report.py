"""The geometry of a trained network: a model and images to a table of statistics, a row a quantized layer."""

import math

import numpy as np

from bnn import capture, geometry
from bnn.layers import QuantConv2D
from bnn.streaming import CorrelationStatistics, Histogram2D, even_edges
from bnn.summary import summary  # noqa: F401, one place for what is said of a model
from bnn.tables import aligned, cell

PATCHES = 2000  # input patches whose second moments predict r: its error is then below 0.01
HISTOGRAM_PAIRS = 1 << 18  # of a batch, per histogram
BINS = 100
BATCH = 50


class LayerReport:
    """One quantized layer's angles, dot-product statistics and histograms.

    Attributes:
        name: the layer's.
        kernels: (quantized, latent), each (d, units) float32: the two halves of every statistic.
        threshold: of the kernel quantizer; 0 for sign, None for no quantizer.
        angles: (units,) float64, radians between quantized and latent kernel; NaN for an all-zero kernel.
        weights: CorrelationStatistics of the pairs (a.w_b, a.w_c) over images, positions and units.
        permuted: the same after permuting each image's activations over positions and channels.
        activations: of the pairs (a_b.w_b, a_c.w_b); without data for a layer with a real input.
        histograms: dict from "weights", "permuted" and "activations" to a Histogram2D of such pairs.
    """

    def __init__(self, product, n_images, rng):
        quantized, latent = product.kernels
        self.product, self.name = product, product.layer.name
        self.kernels = tuple(k.reshape(-1, k.shape[-1]) for k in (quantized, latent))
        quantizer = product.layer.kernel_quantizer
        self.threshold = None if quantizer is None else quantizer.threshold_of(latent)
        self.angles = geometry.angle(*self.kernels, axis=0)
        self.weights, self.permuted, self.activations = (CorrelationStatistics() for _ in range(3))
        self.histograms = {}
        self._both = np.concatenate([quantized, latent], axis=-1)
        self._rng = rng
        self._places = _sample_places(product, n_images, rng)
        self._patches = []

    def update(self, start, inputs, before):
        """Take in a batch.

        Args:
            start: index of its first image.
            inputs: (n, ...) float32, what the layer multiplies.
            before: the same shape, values before the activation quantizer, or None.
        """
        units = self.kernels[0].shape[1]
        both = self.product.multiply(inputs, self._both)
        self._take("weights", both[..., :units], both[..., units:])
        if before is not None:
            real = self.product.multiply(before, self._both[..., :units])
            self._take("activations", both[..., :units], real)
        shuffled = self._rng.permuted(inputs.reshape(len(inputs), -1), axis=1).reshape(inputs.shape)
        both = self.product.multiply(shuffled, self._both)
        self._take("permuted", both[..., :units], both[..., units:])
        self._patches.append(self._sampled(start, inputs))

    def _take(self, name, x, y):
        getattr(self, name).update(x, y)
        if name not in self.histograms:
            signs = self.product.before is not None and np.isin(self.kernels[0], (-1, 0, 1)).all()
            lattice = 2.0 if signs else 0.0  # the step of a sum of +-1
            self.histograms[name] = Histogram2D(
                even_edges(x.std(), BINS, step=lattice), even_edges(y.std(), BINS)
            )
        # An odd step visits all units in turn where their number is a power of two.
        step = math.ceil(x.size / HISTOGRAM_PAIRS) | 1
        self.histograms[name].update(x.reshape(-1)[::step], y.reshape(-1)[::step])

    def _sampled(self, start, inputs):
        here = self._places[(self._places[:, 0] >= start) & (self._places[:, 0] < start + len(inputs))]
        here = here - [start, 0, 0]
        if isinstance(self.product.layer, QuantConv2D):
            return capture.patches(inputs, self.product.layer.kernel_size, here)
        return inputs[here[:, 0]]

    @property
    def patches(self):
        """(m, d) float32 array: a sample of the vectors that the kernels are multiplied with, m <= PATCHES."""
        return np.concatenate(self._patches)

    def predicted_r(self):
        """The correlation of a.w_b and a.w_c that the second moments of a sample of input patches predict.

        `geometry.predicted_correlation` of the patches' moments, without their (d, d) matrix: the covariance
        w_b^T S w_c is that of the patches' own products.
        """
        quantized, latent = (self.patches @ kernel for kernel in self.kernels)
        return CorrelationStatistics().update(quantized, latent).r

    def theory_angle(self):
        """The angle, in radians, that Gaussian latent weights of this number and spread would have.

        Exact for sign; the limit of many weights for ternary, NaN if they are all alike; 0 without a quantizer.
        """
        if self.threshold is None:
            return 0.0
        if self.product.layer.kernel_quantizer.levels == 2:
            return float(np.arccos(geometry.expected_cos_sign(len(self.kernels[0]))))
        sigma = self.kernels[1].std(dtype=np.float64)
        return float(np.arccos(geometry.ternary_cos(self.threshold / sigma))) if sigma else math.nan

    def statistics(self):
        """The layer's row of metrics.json, a dict of numbers; r_activations is None where it has no meaning."""
        quantized, latent = self.kernels
        defined = self.angles[~np.isnan(self.angles)]
        mean, std = (defined.mean(), defined.std()) if len(defined) else (math.nan, math.nan)
        return {
            "layer": self.name,
            "d": len(quantized),
            "units": quantized.shape[1],
            "angle_mean_deg": float(np.degrees(mean)),
            "angle_std_deg": float(np.degrees(std)),
            "angle_theory_deg": math.degrees(self.theory_angle()),
            "r_weights": float(self.weights.r),
            "slope": float(self.weights.slope),
            "sign_flips": float(self.weights.sign_flips),
            "r_permuted": float(self.permuted.r),
            "r_predicted": float(self.predicted_r()),
            "r_activations": float(self.activations.r) if self.product.before is not None else None,
            "latent_std": float(latent.std(dtype=np.float64)),
            "zeros": float(np.mean(quantized == 0)),
        }


def analyze(model, images, batch_size=BATCH, seed=0, progress=lambda batches: batches):
    """The geometry of every quantized layer of a model, in one pass over the images.

    Args:
        model: keras.Model with QuantConv2D or QuantDense layers.
        images: (n, height, width, channels) uint8 array.
        batch_size: images at a time. Memory depends on it alone, and no statistic does.
        seed: of the permutations and of the sampled patches.
        progress: wraps the iterable of batches, such as `tqdm`.

    Returns:
        list of LayerReport, in the order of the layers.
    """
    found = capture.products(model)
    generators = np.random.default_rng(seed).spawn(len(found))
    reports = [LayerReport(product, len(images), rng) for product, rng in zip(found, generators, strict=True)]
    for start, batch in progress(capture.stream(model, found, images, batch_size)):
        for report, (inputs, before) in zip(reports, batch, strict=True):
            report.update(start, inputs, before)
    return reports


def _sample_places(product, n_images, rng):
    """At most `PATCHES` of all (image, row, column) that the layer multiplies at, each as likely, in order."""
    height, width = product.source.shape[1:3] if isinstance(product.layer, QuantConv2D) else (1, 1)
    total = n_images * height * width
    chosen = np.sort(rng.choice(total, size=min(PATCHES, total), replace=False))
    return np.stack(np.unravel_index(chosen, (n_images, height, width)), axis=1)


def accuracy(model, split, batch_size=500):
    """The fraction of a Split's images whose highest score is their label's."""
    scores = model.predict(split.images, batch_size=batch_size, verbose=0)
    return float(np.mean(scores.argmax(axis=1) == split.labels))


def table(rows):
    """Rows of `LayerReport.statistics` as text, a line each, under their headings."""
    columns = {
        "layer": "layer", "d": "d", "units": "units", "angle": "angle_mean_deg", "+-": "angle_std_deg",
        "theory": "angle_theory_deg", "r": "r_weights", "slope": "slope", "flips": "sign_flips",
        "permuted": "r_permuted", "predicted": "r_predicted", "r_act": "r_activations", "sigma": "latent_std",
        "zeros": "zeros",
    }  # fmt: skip
    decimals = {"angle": 2, "+-": 2, "theory": 2, "slope": 4, "sigma": 4}
    lines = [list(columns)]
    lines += [[cell(row[key], decimals.get(head, 3)) for head, key in columns.items()] for row in rows]
    return aligned(lines)
