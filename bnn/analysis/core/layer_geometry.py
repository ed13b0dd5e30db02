"""The geometry of one kernel, accumulated over batches into a `LayerReport`."""

import math

import numpy as np

from bnn.analysis.core.layer_report import LayerReport
from bnn.analysis.core.permutations import Permutations
from bnn.analysis.core.residual_parts import ResidualParts
from bnn.analysis.core.unit_products import UnitProducts, per_unit
from bnn.geometry import CorrelationStatistics, Histogram2D, Rotation, UnitMoments, even_edges

PATCHES = 2000  # input patches that are kept: for principal components, and the r of permuted inputs
HISTOGRAM_PAIRS = 5243  # pairs per image and histogram: 2^18 of 50 images
BINS = 100
DIFFER = "its calls or their shapes differ from batch to batch"


class UnanalyzableError(ValueError):
    """The inputs of a layer cannot be matched to images and positions; the message is the reason."""


class LayerGeometry:
    """Statistics of one kernel's dot products, updated with every batch.

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
            rng: numpy.random.Generator, for the permutations, the sampled patches and the rotation.
            standard: None, or a function from real inputs to (quantized, standardized) ones of the same shape.
        """
        self.product, self.name = product, product.name
        self.weights, self.permuted, self.activations = (CorrelationStatistics() for _ in range(3))
        self.histograms = {}
        self._per_unit, self._rotated = UnitProducts(product), UnitMoments(product.kernels.latent[0].size)
        self._parts = ResidualParts(product)
        self._both = np.concatenate(product.kernels, axis=-1)
        self._all = np.concatenate([self._both, _rotated_kernel(product, rng.spawn(1)[0])], axis=-1)
        self._n_images, self._rng, self._standard = n_images, rng, standard
        self._positions, self._places, self._patches = None, None, []
        self._permutations = []

    def report(self, **measured):
        """The LayerReport of what was gathered, with what was measured elsewhere: `r_scores`, `cost`, `cost_error`."""
        gains = self._per_unit.gains()
        return LayerReport(
            self.product,
            self.weights,
            self.permuted,
            self.activations,
            self.histograms,
            np.concatenate([self._no_patches(), *self._patches], axis=1),
            gains,
            self._parts.gains(gains, self._per_unit.input_variances()),
            self._rotated.r,
            **measured,
        )

    def update(self, start, count, calls):
        """Take in a batch.

        Args:
            start: index of its first image.
            count: int, images in it.
            calls: list of capture.Call, one for each call of the layer.

        Raises:
            UnanalyzableError: the inputs' first axis is not that of the images, or the calls differ between batches.
        """
        positions = [self._positions_of(call, count) for call in calls]
        if self._positions is None:
            self._begin(positions)
        if positions != self._positions:
            raise UnanalyzableError(DIFFER)
        for number, call in enumerate(calls):
            if len(call.inputs):  # a mask may leave nothing
                pairs = self._pairs(call, count)
                self._take_products(number, call, pairs)
                permuted = self._permutations[number].permuted(start, count, call)
                self._take("permuted", *self._products(permuted, self._both), pairs)
        self._sample(start, count, calls)

    def state(self):
        """Return all that was accumulated, a dict from name to array or int, for `add`; empty without data."""
        if self._positions is None:
            return {}
        parts = {name: getattr(self, name).state() for name in ("weights", "permuted", "activations")}
        parts |= {f"histogram {name}": histogram.state() for name, histogram in self.histograms.items()}
        parts |= {"rotated": self._rotated.state()}
        parts |= {f"residual {i}": moments.state() for i, moments in enumerate(self._parts.moments)}
        parts |= self._per_unit.state()
        patches = np.concatenate([self._no_patches(), *self._patches], axis=1)
        found = {"positions": np.array(self._positions, np.int64), "patches": patches}
        return found | {
            f"{part}/{key}": value for part, state in parts.items() for key, value in state.items()
        }

    def add(self, state):
        """Add what another one of the same kernel accumulated of later images.

        Raises:
            UnanalyzableError: the calls differ between the images.
            ValueError, KeyError: it is the state of another kernel.
        """
        if not state:
            return
        positions = [int(n) for n in state["positions"]]
        if self._positions not in (None, positions):
            raise UnanalyzableError(DIFFER)
        self._positions = positions
        parts = {}
        for name, value in state.items():
            part, slash, key = name.rpartition("/")
            if slash:
                parts.setdefault(part, {})[key] = value
        for name in ("weights", "permuted", "activations"):
            getattr(self, name).add(**parts[name])
            if (histogram := parts.get(f"histogram {name}")) is not None:
                edges = histogram["x_edges"], histogram["y_edges"]
                self.histograms.setdefault(name, Histogram2D(*edges)).add(**histogram)
        self._rotated.add(**parts["rotated"])
        for i, moments in enumerate(self._parts.moments):
            moments.add(**parts[f"residual {i}"])
        self._per_unit.add(parts)
        expected, received = self._no_patches().shape, state["patches"].shape
        if (expected[0], expected[2]) != (received[0], received[2]):
            raise ValueError(f"patches: expected {expected}, received {received}")
        self._patches.append(state["patches"])

    def begin_like(self, other):
        """Count pairs in the cells of another one, which saw the first images.

        Args:
            other: LayerGeometry of the same product.
        """
        for name, histogram in other.histograms.items():
            self.histograms[name] = Histogram2D(histogram.x_edges, histogram.y_edges)

    def _begin(self, positions):
        self._positions = positions
        total = self._n_images * sum(positions)
        # A uniform sample over all images, calls and positions, in order.
        self._places = np.sort(self._rng.choice(total, size=min(PATCHES, total), replace=False))
        generators = [self._rng, *self._rng.spawn(len(positions) - 1)]
        self._permutations = [Permutations(rng) for rng in generators]

    def _positions_of(self, call, count):
        """How many vectors the kernel is multiplied with for each image; those that a mask removed count."""
        n = len(_samples(call))
        if n % count:
            raise UnanalyzableError(
                f"{count} images become {n} inputs, which cannot be matched to the images"
            )
        return n // count * self._places_per_sample(call)

    def _places_per_sample(self, call):
        if call.kept is not None:
            return call.kept.shape[1]
        return math.prod(self.product.linear.positions(call.inputs.shape))

    def _take_products(self, number, call, pairs):
        inputs, before, quantized = call.inputs, call.before, self.product.kernels.quantized
        x, y, rotated = self._products(inputs, self._all)
        self._take("weights", x, y, pairs)
        self._per_unit.update(number, inputs, x, y)
        self._parts.update(inputs, x, y)
        self._rotated.update(per_unit(rotated), per_unit(y))
        if before is not None:
            self._take("activations", x, self.product.multiply(before, quantized), pairs)
        elif self._standard is not None:
            real = (self.product.multiply(a, quantized) for a in self._standard(inputs))
            self._take("activations", *real, pairs)

    def _products(self, inputs, kernels):
        """Those with each of the kernels that were put side by side."""
        products, units = self.product.multiply(inputs, kernels), self.product.kernels.latent.shape[-1]
        return [products[..., start : start + units] for start in range(0, products.shape[-1], units)]

    def _pairs(self, call, count):
        """Which pairs of a call a histogram counts: a slice or an array of indices of the flat products."""
        units = self.product.kernels.latent[0].size
        each = len(_samples(call)) // count * self._places_per_sample(call) * units
        # An odd step samples all units if their number is a power of two.
        step = math.ceil(each / HISTOGRAM_PAIRS) | 1
        if step == 1:
            return slice(None)
        # Each image has its own first pair, so that no pair depends on which images are in a batch.
        sizes = (
            np.full(count, each) if call.kept is None else call.kept.reshape(count, -1).sum(axis=1) * units
        )
        starts = np.cumsum(sizes) - sizes
        return np.concatenate(
            [np.arange(start, start + n, step) for start, n in zip(starts, sizes, strict=True)]
        )

    def _take(self, name, x, y, pairs):
        getattr(self, name).update(x, y)
        if name not in self.histograms:
            step = 2.0 if np.array_equal(x, np.round(x)) else 0.0  # of a sum of +-1
            x_std, y_std = (values.std(dtype=np.float64) for values in (x, y))
            self.histograms[name] = Histogram2D(even_edges(x_std, BINS, step=step), even_edges(y_std, BINS))
        self.histograms[name].update(x.reshape(-1)[pairs], y.reshape(-1)[pairs])

    def _sample(self, start, count, calls):
        image, place = np.divmod(self._places, sum(self._positions))
        here = (image >= start) & (image < start + count)
        image, place = image[here] - start, place[here]
        for call, positions in zip(calls, self._positions, strict=True):
            mine = (place >= 0) & (place < positions)
            flat = image[mine] * positions + place[mine]
            self._patches.append(self.product.linear.patches(call.inputs, self._rows(call, flat)))
            place = place - positions

    def _rows(self, call, flat):
        """(m, 2) int array, the sample and position of indices into both; without those that a mask removed."""
        if call.kept is None:
            return np.stack(np.divmod(flat, self._places_per_sample(call)), axis=1)
        kept = call.kept.reshape(-1)
        rows = np.cumsum(kept)[flat[kept[flat]]] - 1
        return np.stack([rows, np.zeros_like(rows)], axis=1)

    def _no_patches(self):
        d, groups, _ = self.product.kernels.latent.shape
        return np.zeros((groups, 0, d), np.float32)


def _samples(call):
    return call.inputs if call.kept is None else call.kept


def _rotated_kernel(product, rng):
    """R^T theta(R w) for the latent kernels w and a random rotation R: the paper's generalized binarization."""
    latent = product.kernels.latent
    if product.quantizer is None:
        return latent
    rotation, columns = Rotation(len(latent), rng), latent.reshape(len(latent), -1)
    quantized = product.quantize(rotation.apply(columns).astype(np.float32))
    return rotation.undo(quantized).astype(np.float32).reshape(latent.shape)
