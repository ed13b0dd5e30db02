"""The geometry of one kernel, gathered batch by batch: what accumulates until it is a `LayerReport`."""

import math

import numpy as np

from bnn import geometry
from bnn.analysis.layer_report import LayerReport
from bnn.geometry import CorrelationStatistics, Histogram2D, even_edges

PATCHES = 2000  # input patches whose moments predict r: its error is then below 0.01
ROTATED = 64  # units whose angle after a rotation is taken
HISTOGRAM_PAIRS = 1 << 18  # of a batch, per histogram
BINS = 100


class UnanalyzableError(ValueError):
    """The inputs of a layer cannot be matched to images and positions; the message is the reason."""


class LayerGeometry:
    """Statistics of one kernel's dot products, which grow with every batch.

    Attributes:
        product: Product.
        name: the layer's; in a nested model the path to it.
        weights, permuted, activations, histograms: as of `LayerReport`, over the batches so far.
    """

    def __init__(self, product, n_images, rng, standard=None):
        """Start without data.

        Args:
            product: Product.
            n_images: int, how many there will be.
            rng: numpy.random.Generator, of the permutations and of the sampled patches.
            standard: None, or a function from real inputs to (quantized, standardized) ones of the same shape.
        """
        self.product, self.name = product, product.name
        self.weights, self.permuted, self.activations = (CorrelationStatistics() for _ in range(3))
        self.histograms = {}
        self._rotated_angles = _rotated_angles(product, rng.spawn(1)[0])
        self._both = np.concatenate(product.kernels, axis=-1)
        self._n_images, self._rng, self._standard = n_images, rng, standard
        self._positions, self._places, self._patches = None, None, []

    def report(self, r_scores=None):
        """The LayerReport of what was gathered, with the agreement of scores that was measured elsewhere."""
        return LayerReport(
            self.product, self._rotated_angles, self.weights, self.permuted, self.activations, self.histograms,
            np.concatenate(self._patches, axis=1), r_scores,
        )  # fmt: skip

    def update(self, start, count, calls):
        """Take in a batch.

        Args:
            start: index of its first image.
            count: int, images in it.
            calls: list of (inputs, before) for each call of the layer, as `capture.stream` gives them.

        Raises:
            UnanalyzableError: the inputs' first axis is not that of the images, or the calls differ between batches.
        """
        positions = [self._positions_of(inputs, count) for inputs, _ in calls]
        if self._positions is None:
            self._begin(positions)
        if positions != self._positions:
            raise UnanalyzableError("its calls or their shapes differ from batch to batch")
        for rng, (inputs, before) in zip(self._generators, calls, strict=True):
            self._take_products(rng, inputs, before)
        self._sample(start, count, [inputs for inputs, _ in calls])

    def _begin(self, positions):
        self._positions = positions
        total = self._n_images * sum(positions)
        # All images, calls and positions, each as likely, in order.
        self._places = np.sort(self._rng.choice(total, size=min(PATCHES, total), replace=False))
        self._generators = [self._rng, *self._rng.spawn(len(positions) - 1)]

    def _positions_of(self, inputs, count):
        """How many vectors the kernel is multiplied with for each image."""
        if len(inputs) % count:
            raise UnanalyzableError(
                f"{count} images become {len(inputs)} inputs, which cannot be matched to the images"
            )
        return len(inputs) // count * math.prod(self.product.linear.positions(inputs.shape))

    def _take_products(self, rng, inputs, before):
        quantized = self.product.kernels.quantized
        x, y = self._products(inputs)
        self._take("weights", x, y)
        if before is not None:
            self._take("activations", x, self.product.multiply(before, quantized))
        elif self._standard is not None:
            self._take("activations", *(self.product.multiply(a, quantized) for a in self._standard(inputs)))
        shuffled = rng.permuted(inputs.reshape(len(inputs), -1), axis=1).reshape(inputs.shape)
        self._take("permuted", *self._products(shuffled))

    def _products(self, inputs):
        """Those with the quantized kernel and those with the latent one."""
        both, units = self.product.multiply(inputs, self._both), self.product.kernels.latent.shape[-1]
        return both[..., :units], both[..., units:]

    def _take(self, name, x, y):
        getattr(self, name).update(x, y)
        if name not in self.histograms:
            step = 2.0 if np.array_equal(x, np.round(x)) else 0.0  # of a sum of +-1
            self.histograms[name] = Histogram2D(
                even_edges(x.std(), BINS, step=step), even_edges(y.std(), BINS)
            )
        # An odd step visits all units in turn where their number is a power of two.
        step = math.ceil(x.size / HISTOGRAM_PAIRS) | 1
        self.histograms[name].update(x.reshape(-1)[::step], y.reshape(-1)[::step])

    def _sample(self, start, count, calls):
        image, place = np.divmod(self._places, sum(self._positions))
        here = (image >= start) & (image < start + count)
        image, place = image[here] - start, place[here]
        for inputs, positions in zip(calls, self._positions, strict=True):
            mine = (place >= 0) & (place < positions)
            rows = np.divmod(image[mine] * positions + place[mine], positions * count // len(inputs))
            self._patches.append(self.product.linear.patches(inputs, np.stack(rows, axis=1)))
            place = place - positions


def _rotated_angles(product, rng):
    """(at most `ROTATED`,) float64 array, radians between quantized and latent kernel after one random rotation."""
    if product.quantizer is None:
        return np.zeros(1)
    latent = product.kernels.latent.reshape(len(product.kernels.latent), -1)
    chosen = rng.permutation(latent.shape[1])[:ROTATED]
    rotated = geometry.randomly_rotated(latent[:, chosen], rng).astype(np.float32)
    return geometry.angle(product.quantize(rotated), rotated, axis=0)
