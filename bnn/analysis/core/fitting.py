"""Kernels whose levels are fitted to the inputs of their layers: half of the images choose them, the others measure.

So no statistic is of inputs that the levels were fitted to. The levels of a unit are those that change the variance of
its dot products least, see `geometry.fit_signs`, times the best scale of the unit.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from bnn.analysis.core.agreement import taken
from bnn.analysis.core.checks import OVERFLOW, ReportError
from bnn.analysis.core.product import Kernels, unknown
from bnn.console.errors import ConfigError
from bnn.console.spelling import argument
from bnn.geometry import SecondMoments, fit_signs
from bnn.geometry.estimators import MOST_LEVELS
from bnn.models.inputs import count

MOST_INPUTS = 8192  # of a unit: the second moment of more does not fit into 512 MiB
MOST_ENTRIES = 1 << 27  # of the second moments that are gathered in one pass: 1 GiB
ROWS = 10_000  # a layer is fitted to this number of inputs, drawn at random from all positions,
PER_WEIGHT = 16  # or to so many per weight of a unit if these are more, or to all
NO_ROTATION = "levels that were fitted to inputs are not fitted again to rotated ones"


@dataclass(frozen=True, eq=False)
class Fitted:
    """The quantizer "fitted" or "fitted:LEVELS". Called without inputs, it returns the kernel itself.

    Attributes:
        name: str.
        levels: int, the number of evenly spaced levels of a unit.
    """

    name: str
    levels: int

    def __call__(self, columns):
        """Return the latent kernel: `fitted` replaces it."""
        return columns


def named(name):
    """Return the `Fitted` of a name, or None for other names.

    Raises:
        ConfigError: the number of levels is not one from 2 to 256.
    """
    kind, colon, number = name.partition(":")
    if kind != "fitted":
        return None
    if not colon:
        return Fitted(name, 2)
    if number.isdecimal() and 2 <= int(number) <= MOST_LEVELS:
        return Fitted(name, int(number))
    raise ConfigError(
        f"{argument('quantizer')}: expected fitted or fitted:LEVELS (2 to {MOST_LEVELS} levels), received {name!r}"
    )


def fit(adapter, quantizer, batch_size, seed, progress):
    """Fit the kernels of a model that have the quantizer to one half of the images, and leave the other half.

    Args:
        adapter: `adapter.Adapter`. Its products are replaced, and its images become the other half. Kernels that cannot
            be fitted are added to its `unanalyzed`.
        quantizer: Fitted.
        batch_size: int, images per batch.
        seed: int, of the halves and of the positions.
        progress: function that shows progress over batches.

    Returns:
        (first, second): int arrays, the indices of the images of the fit and of those that are left.

    Raises:
        ReportError: there is only one image.
    """
    rng = np.random.default_rng([seed, 1])
    images, n = adapter.images, count(adapter.images)
    first, second = halves(n, "images", rng)
    adapter.images = taken(images, first)
    waiting = [
        product
        for product in adapter.products
        if product.quantizer is quantizer and product.linear is not None and fits(product, adapter.unanalyzed)
    ]
    gathered = [Inputs(product, len(first), rng) for product in waiting]
    for group in _passes(gathered):
        _gather(adapter, group, batch_size, progress)
    fitted = {g.product.name: g.fitted(quantizer.levels, adapter.unanalyzed) for g in gathered}
    adapter.products = [fitted.get(product.name, product) for product in adapter.products]
    adapter.images = taken(images, second)
    return first, second


def halves(n, name, rng):
    """Draw the sorted indices of two halves of n things; the second has one more if n is odd."""
    if n < 2:
        raise ReportError(
            f"{name}: expected at least 2, half to fit levels to and half to measure, received {n}"
        )
    order = rng.permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 :])


def fits(product, unanalyzed):
    """Whether the second moment of the inputs fits into memory; if not, the reason is added to a dict."""
    d = len(product.kernels.latent)
    if d > MOST_INPUTS:
        unanalyzed[product.name] = (
            f"its levels cannot be fitted: the second moment of {d:,} inputs would take {d * d / 2**27:.1f} GiB; "
            f"a unit may have {MOST_INPUTS:,}"
        )
    return d <= MOST_INPUTS


def _passes(gathered):
    """Yield lists of `Inputs` whose second moments fit into memory together."""
    group, entries = [], 0
    for one in gathered:
        if group and entries + one.entries > MOST_ENTRIES:
            yield group
            group, entries = [], 0
        group, entries = [*group, one], entries + one.entries
    if group:
        yield group


def _gather(adapter, group, batch_size, progress):
    n = count(adapter.images)
    wanted = {one.product.name: one for one in group}
    stream = progress(adapter.stream(batch_size), total=-(-n // batch_size), unit="batch")
    for start, batch in stream:
        for product, calls in zip(adapter.products, batch, strict=True):
            if product.name in wanted and calls:
                wanted[product.name].update(min(batch_size, n - start), calls)


class Sampler:
    """Draws the same part of the rows of every batch, enough for the second moments of a kernel's inputs."""

    def __init__(self, product, n_images, rng):
        """Start without data.

        Args:
            product: Product.
            n_images: int, how many there will be.
            rng: numpy.random.Generator.
        """
        self._product, self._n_images, self._rng = product, n_images, rng
        self._part = None

    def places(self, images, calls):
        """Draw the places of the rows of one batch.

        Args:
            images: int, images in the batch.
            calls: list of Call.

        Returns:
            List with, for each call, an (m, 2) int array of images and positions; m may be 0.
        """
        positions = [math.prod(self._product.linear.positions(call.inputs.shape)) for call in calls]
        rows = [len(call.inputs) * each for call, each in zip(calls, positions, strict=True)]
        if self._part is None:
            wanted = max(ROWS, PER_WEIGHT * len(self._product.kernels.latent))
            self._part = min(1, wanted / max(sum(rows) / images * self._n_images, 1))
        drawn = [self._rng.permutation(n)[: math.ceil(self._part * n)] for n in rows]
        return [np.stack(np.divmod(own, each), axis=1) for own, each in zip(drawn, positions, strict=True)]


class Inputs:
    """The second moments of a sample of what one kernel is multiplied with, one per group."""

    def __init__(self, product, n_images, rng):
        """Start without data.

        Args:
            product: Product.
            n_images: int, how many there will be.
            rng: numpy.random.Generator, for the sample.
        """
        self.product, self._sampler = product, Sampler(product, n_images, rng)
        self._d, groups, _ = product.kernels.latent.shape
        self.moments = [SecondMoments(self._d) for _ in range(groups)]
        self._finite = True

    @property
    def entries(self):
        """The number of entries of the second moments, an int."""
        return len(self.moments) * self._d**2

    def update(self, images, calls):
        """Add a sample of one batch: a number of images and the list of Call."""
        self._finite = self._finite and all(np.isfinite(call.inputs).all() for call in calls)
        for call, places in zip(calls, self._sampler.places(images, calls), strict=True):
            if len(places) and self._finite:
                patches = self.product.linear.patches(call.inputs, places)
                for moments, part in zip(self.moments, patches, strict=True):
                    moments.update(part)

    def fitted(self, levels, unanalyzed):
        """The Product with the fitted kernel; if there is none, the reason is added to a dict."""
        product = self.product
        if not self._finite:
            unanalyzed[product.name] = OVERFLOW
        elif 0 < self.moments[0].count < 2:
            unanalyzed[product.name] = "its levels cannot be fitted to a single input: give more images"
        if product.name in unanalyzed or not self.moments[0].count:
            return product
        quantized = np.stack([
            fitted_columns(latent, moments, levels)
            for latent, moments in zip(product.kernels.latent.swapaxes(0, 1), self.moments, strict=True)
        ], axis=1)  # fmt: skip
        return replace(product, kernels=Kernels(quantized, product.kernels.latent), quantize_columns=unknown)


def fitted_columns(latent, moments, levels):
    """Fit levels to a (d, units) kernel with the SecondMoments of its inputs; a float32 array of the same shape.

    Few inputs overfit, so the covariance is shrunk toward its diagonal, by 9 % for one input per weight of a unit.
    """
    found = fit_signs(latent, shrunk(moments.covariance, moments.count), levels)
    return (found.scale * found.quantized).astype(np.float32)


def shrunk(second_moment, rows):
    """Shrink a (d, d) second moment of a number of inputs toward its diagonal, by d / (d + 10 rows)."""
    d = len(second_moment)
    part = d / (d + 10 * rows)
    return (1 - part) * second_moment + part * np.diag(np.diag(second_moment))
