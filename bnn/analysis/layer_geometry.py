"""The geometry of one kernel: angles, and statistics of its dot products gathered batch by batch."""

import math

import numpy as np

from bnn import geometry
from bnn.geometry import CorrelationStatistics, Histogram2D, even_edges

PATCHES = 2000  # input patches whose moments predict r: its error is then below 0.01
ROTATED = 64  # units whose angle after a rotation is taken
HISTOGRAM_PAIRS = 1 << 18  # of a batch, per histogram
BINS = 100


class UnanalysableError(ValueError):
    """What a layer is given cannot be sorted into images and positions; the message is the reason."""


class LayerReport:
    """One kernel's angles, dot-product statistics and histograms.

    Attributes:
        name: the layer's; in a nested model the path to it.
        kernels: (quantized, latent), each (d, units) float32: the two halves of every statistic.
        angles: (units,) float64, radians between quantized and latent kernel; NaN for an all-zero kernel.
        rotated_angles: (at most `ROTATED`,) float64, the same after one random rotation (paper, section 3).
        weights: CorrelationStatistics of the pairs (a.w_b, a.w_c) over images, positions and units.
        permuted: the same after permuting each image's activations over positions and channels.
        activations: of the pairs (a_b.w_b, a_c.w_b); without data where no quantizer is known for a real input.
        r_scores: float, how well the model's scores agree with and without the quantizer of this kernel, see
            `score_agreement`; None where it was not measured.
        histograms: dict from "weights", "permuted" and "activations" to a Histogram2D of such pairs.
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
        self.kernels = tuple(kernel.reshape(len(kernel), -1) for kernel in product.kernels)
        self.angles = geometry.angle(*self.kernels, axis=0)
        self.rotated_angles = self._rotated(rng.spawn(1)[0])
        self.weights, self.permuted, self.activations = (CorrelationStatistics() for _ in range(3))
        self.r_scores, self.histograms = None, {}
        self._both = np.concatenate(product.kernels, axis=-1)
        self._n_images, self._rng, self._standard = n_images, rng, standard
        self._positions, self._places, self._patches, self._images = None, None, [], []

    def update(self, start, count, calls):
        """Take in a batch.

        Args:
            start: index of its first image.
            count: int, images in it.
            calls: list of (inputs, before) for each call of the layer, as `capture.stream` gives them.

        Raises:
            UnanalysableError: the inputs' first axis is not that of the images, or the calls differ between batches.
        """
        positions = [self._positions_of(inputs, count) for inputs, _ in calls]
        if self._positions is None:
            self._begin(positions)
        if positions != self._positions:
            raise UnanalysableError("its calls or their shapes differ from batch to batch")
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
            raise UnanalysableError(
                f"{count} images become {len(inputs)} inputs: whose is which is not known"
            )
        return len(inputs) // count * math.prod(self.product.linear.positions(inputs.shape))

    def _take_products(self, rng, inputs, before):
        quantized, units = self.product.kernels[0], self.product.kernels[0].shape[-1]
        both = self.product.multiply(inputs, self._both)
        self._take("weights", both[..., :units], both[..., units:])
        if before is not None:
            self._take("activations", both[..., :units], self.product.multiply(before, quantized))
        elif self._standard is not None:
            self._take("activations", *(self.product.multiply(a, quantized) for a in self._standard(inputs)))
        shuffled = rng.permuted(inputs.reshape(len(inputs), -1), axis=1).reshape(inputs.shape)
        both = self.product.multiply(shuffled, self._both)
        self._take("permuted", both[..., :units], both[..., units:])

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
            self._images.append(image[mine] + start)
            place = place - positions

    def _rotated(self, rng):
        if self.product.quantizer is None:
            return np.zeros(1)
        chosen = rng.permutation(self.kernels[1].shape[1])[:ROTATED]
        rotated = geometry.randomly_rotated(self.kernels[1][:, chosen], rng).astype(np.float32)
        return geometry.angle(self.product.quantize(rotated), rotated, axis=0)

    @property
    def patches(self):
        """(m, d) float32 array: a sample of the vectors that kernels are multiplied with, m <= groups x PATCHES."""
        rows = np.concatenate(self._patches, axis=1)
        return rows.reshape(-1, rows.shape[-1])

    def predicted_r(self):
        """The correlation of a.w_b and a.w_c that the second moments of a sample of input patches predict.

        `geometry.predicted_correlation` of the patches' moments, without their (d, d) matrix: the covariance
        w_b^T S w_c is that of the patches' own products.
        """
        rows = np.concatenate(self._patches, axis=1)
        quantized, latent = (rows @ kernel.transpose(1, 0, 2) for kernel in self.product.kernels)
        return CorrelationStatistics().update(quantized, latent).r

    def predicted_r_permuted(self):
        """The same for inputs permuted across images too: from mean and mean square of the patches' entries alone."""
        patches = self.patches.astype(np.float64)
        return geometry.predicted_correlation_permuted(*self.kernels, np.mean(patches**2), patches.mean())

    def input_dimension(self):
        """The participation ratio of the sampled patches' covariance, in 1 ... d; the mean over groups that vary.

        Its two samples are the even and the odd images; NaN for a single one, and if they have no direction in common.
        """
        groups, odd = np.concatenate(self._patches, axis=1), np.concatenate(self._images) % 2 == 1
        ratios = np.array([geometry.participation_ratio(rows[~odd], rows[odd]) for rows in groups])
        return mean_and_std(np.where(np.isinf(ratios), math.nan, ratios))[0]

    def theory_angle(self):
        """The angle, in radians, that Gaussian latent weights of this number and spread would have.

        Exact for sign; the limit of many weights for other quantizers, NaN if they are all alike or the quantizer's
        levels are not known; 0 without a quantizer.
        """
        if self.product.quantizer is None:
            return 0.0
        scalar = self.product.scalar
        return math.nan if scalar is None else scalar.angle(len(self.kernels[0]), self.latent_std())

    def theory_spread(self):
        """The standard deviation of that angle, in radians; NaN where no levels are known."""
        scalar = self.product.scalar
        return math.nan if scalar is None else scalar.angle_std(len(self.kernels[0]), self.latent_std())

    def thresholds(self):
        """(levels - 1,) float64 array, where the quantizer steps, in units of the weights; empty if not known."""
        scalar = self.product.scalar
        return np.empty(0) if scalar is None else scalar.edges(self.latent_std())

    def latent_std(self):
        """The standard deviation of the latent weights."""
        return float(self.kernels[1].std(dtype=np.float64))

    def statistics(self):
        """The layer's row of metrics.json, a dict of numbers; r_activations is None where it has no meaning.

        So is r_scores where it was not measured. NaN, null in the file, is what is not defined: the angles where every
        unit's quantized or latent kernel is zero, one that is zero being left out of the means; the theory's angle of
        a ternary kernel whose weights are all alike; correlations where one of the two is constant, and the slope
        where the first is; the input's dimension for inputs that do not vary, and where its samples have no direction
        in common.
        """
        quantized, _ = self.kernels
        mean, std = mean_and_std(self.angles)
        return {
            "layer": self.name,
            "d": len(quantized),
            "units": quantized.shape[1],
            "angle_mean_deg": math.degrees(mean),
            "angle_std_deg": math.degrees(std),
            "angle_theory_deg": math.degrees(self.theory_angle()),
            "angle_rotated_deg": math.degrees(mean_and_std(self.rotated_angles)[0]),
            "r_weights": float(self.weights.r),
            "slope": float(self.weights.slope),
            "sign_flips": float(self.weights.sign_flips),
            "r_permuted": float(self.permuted.r),
            "r_predicted": float(self.predicted_r()),
            "r_activations": float(self.activations.r) if self.activations.count else None,
            "r_scores": self.r_scores,
            "input_dimension": self.input_dimension(),
            "latent_std": self.latent_std(),
            "zeros": float(np.mean(quantized == 0)),
        }


def mean_and_std(values):
    """Of those that are defined; NaN if none is."""
    defined = values[~np.isnan(values)]
    return (float(defined.mean()), float(defined.std())) if len(defined) else (math.nan, math.nan)
