"""Quantize the kernels of a trained real network one by one, each fitted to what the earlier ones changed.

Use it without training data or time to train. Do not use it to compare networks that were trained binary: those lose
much less. With few images the fit can make similarities of outputs worse although each output comes nearer
(`results/experiments/README.md`, the text encoder), so measure what you need on images that it was not given.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from bnn.analysis.core.agreement import taken
from bnn.analysis.core.checks import ReportError, by_reason
from bnn.analysis.core.fitting import MOST_INPUTS
from bnn.analysis.core.report import ANGLE_ONLY
from bnn.analysis.core.statistics import defined_mean
from bnn.analysis.report import framework
from bnn.binarization import kernel_fit
from bnn.console import silent
from bnn.console.spelling import argument
from bnn.console.suggestions import did_you_mean
from bnn.console.tables import aligned, cell, filled
from bnn.geometry import CorrelationStatistics, angle
from bnn.geometry.estimators import MOST_LEVELS
from bnn.models.inputs import count

HELD_OUT = 5  # every fifth image, at random, is not fitted to, and measures the result
FEWEST = 10  # with fewer images, none is held out
REAL = "real"
NETWORKS = {"keras": "bnn.binarization.keras_network", "torch": "bnn.binarization.torch_network"}


class BinarizedLayer(NamedTuple):
    """One quantized kernel.

    Attributes:
        name: str, as in a Report.
        d: int, weights per unit.
        units: int.
        levels: int.
        angle: float, the mean angle between the quantized and the real kernels of the units, in degrees.
        r: float, the mean over units of the correlation of their products in the two networks.
    """

    name: str
    d: int
    units: int
    levels: int
    angle: float
    r: float

    @property
    def bits(self):
        """Bits per weight, without the scales: log2(levels)."""
        return math.log2(self.levels)


@dataclass(frozen=True)
class Binarized:
    """The result of `binarize`; printed, it is a table.

    Attributes:
        model: keras.Model or torch.nn.Module, the quantized network.
        layers: tuple of BinarizedLayer, in the order of the data.
        real: dict from the name of each other layer that holds numbers to the reason.
        images: int, the number of images that measured `layers` and `agreement`.
        held_out: bool, whether nothing was fitted to these images.
        agreement: dict with "r", the correlation of all outputs with those of the real network; "error", their squared
            difference relative to the variance of the real outputs; and "same", the fraction of images whose largest
            output is the same, or None if no output is an array (images, classes). NaN if the outputs do not vary.
    """

    model: Any
    layers: tuple
    real: dict
    images: int
    held_out: bool
    agreement: dict

    @property
    def bits(self):
        """Bits per weight over the quantized kernels, a float; NaN if there are none."""
        weights = sum(layer.d * layer.units for layer in self.layers)
        return (
            sum(layer.bits * layer.d * layer.units for layer in self.layers) / weights
            if weights
            else math.nan
        )

    def __str__(self):
        return self.text()

    def text(self):
        """Return a table of the layers, the reasons for others, and the agreement of the outputs."""
        heads = ["layer", "d", "units", "levels", "bits", "angle", "r"]
        decimals = {"bits": 2, "angle": 1, "r": 3}
        rows = [[cell(getattr(x, key if key != "layer" else "name"), decimals.get(key, 0)) for key in heads]
                for x in self.layers]  # fmt: skip
        notes = [f"real: {names}: {reason}" for names, reason in by_reason(self.real)]
        n, (r, error, same) = self.images, (self.agreement[key] for key in ("r", "error", "same"))
        of = f"{n} images that nothing was fitted to:" if self.held_out else f"the {n} images of the fit:"
        parts = [
            f"r {r:.4f} with those of the real network,",
            f"squared error {100 * error:.1f} % of their variance",
        ]
        if same is not None:
            parts[-1] += ","
            parts.append(f"the same class for {100 * same:.1f} %")
        notes.append(filled("outputs on", of, *parts))
        return "\n".join([aligned([heads, *rows]), "", *notes])


def binarize(model, images, *, levels=2, assignment=None, batch_size=50, seed=0, progress=silent):
    """Give a trained real network binary, ternary or k-level weights, without training and without labels.

    The kernels are quantized in the order of the data. Each is fitted to the inputs that it gets in the network whose
    earlier kernels are already quantized, so that its products are as near as possible to those of the real network. A
    unit has evenly spaced levels times one scale. A bias takes up the mean of the error, and batch norms are refitted
    after every layer. Biases, norms and embeddings stay real, and so does every layer that `Binarized.real` names.
    One fifth of the images, drawn at random, is held out and measures the result, if there are at least ten.

    The network runs about four times on the images for each layer.

    Args:
        model: functional or Sequential keras.Model, or torch.nn.Module. It is not changed.
        images: as for `analysis.analyze`: (n, ...) array, or a list or Mapping of arrays, or the path of a file.
        levels: int from 2 to 256, or "real", for layers that `assignment` does not name: 2 for binary weights.
        assignment: Mapping from the names of layers to their levels, as `levels`, where None is "real", too, such as
            the `levels()` of `analysis.assign_levels`. None: none.
        batch_size: int, >= 1, images per batch.
        seed: int, of the images that are held out and of the positions that the kernels are fitted to.
        progress: function that shows progress over layers, such as `console.progress`.

    Returns:
        Binarized

    Raises:
        ReportError: the model, the images, the levels or a name in the assignment are not as described, or no kernel
            can be quantized.
    """
    levels = _checked(argument("levels"), levels)
    given = _assignment(assignment)
    with _module(model).opened(model, images, batch_size) as network:
        found = network.find()
        names = [product.name for product in found]
        for name in given:
            if name not in names:
                hint = did_you_mean(name, names) or f", one of {', '.join(names)}"
                raise ReportError(
                    f"{argument('assignment')}: expected names of layers with a kernel, received {name!r}{hint}"
                )
        work = _Work(network, batch_size, seed)
        order, normed = network.order(found)
        wanted = {name: given.get(name, levels) for name in names}
        real = dict(network.adapters[1].unanalyzed) | _left(network, found, wanted, order)
        todo = [name for name in order if name not in real]
        layers = []
        for name in progress(todo, total=len(todo), unit="layer"):
            try:
                layers.append(work.quantize(name, wanted[name], name in normed))
            except kernel_fit.FitError as error:
                real[name] = str(error)
        if not layers:
            reasons = (
                "; ".join(f"{names} ({reason})" for names, reason in by_reason(real)) or "none with a kernel"
            )
            raise ReportError(f"model: expected a kernel that can be quantized, received {reasons}")
        held_out = work.fitted_to is not work.measured_on
        agreement = _agreement(network, work.measured_on, batch_size)
        return Binarized(network.copy, tuple(layers), real, len(work.measured_on), held_out, agreement)


class _Work:
    """Both networks and the indices of images to fit to and to measure on."""

    def __init__(self, network, batch_size, seed):
        self.network, self.batch_size, self.rng = network, batch_size, np.random.default_rng(seed)
        order = self.rng.permutation(count(network.images))
        held = len(order) // HELD_OUT if len(order) >= FEWEST else 0
        self.measured_on = self.fitted_to = np.sort(order[held:])
        if held:
            self.measured_on = np.sort(order[:held])
        self.images = {id(part): taken(network.images, part) for part in (self.fitted_to, self.measured_on)}

    def quantize(self, name, levels, normed):
        """Replace one kernel of the copy, and return its BinarizedLayer."""
        network = self.network
        real = next(p for p in network.adapters[0].products if p.name == name)
        product = next(p for p in network.find() if p.name == name)
        latent = real.kernels.latent
        centered = normed or network.bias(product) is not None
        moments = kernel_fit.moments_of(self._pairs(real, product, self.fitted_to), latent)
        kernel, shift = kernel_fit.fit(latent, moments, levels, centered)
        r = kernel_fit.correlations(self._pairs(real, product, self.measured_on), latent, kernel)
        network.assign(product, kernel, shift)
        if network.norms:
            network.refit(self.images[id(self.fitted_to)], self.batch_size)
        d, units = product.columns.latent.shape
        angles = angle(kernel.reshape(d, -1), latent.reshape(d, -1), axis=0)
        return BinarizedLayer(name, d, units, levels, math.degrees(defined_mean(angles)), defined_mean(r))

    def _pairs(self, real, product, chosen):
        """Yield the inputs of the kernel in both networks, a sample at the same places."""
        pairs = kernel_fit.Pairs(real, len(chosen), self.rng)
        streams = []
        for adapter, one in zip(self.network.adapters, (real, product), strict=True):
            streams.append(_stream(adapter, one, self.images[id(chosen)], self.batch_size))
        for (start, calls), (_, others) in zip(*streams, strict=True):
            yield from pairs.sample(min(self.batch_size, len(chosen) - start), calls, others)


def _stream(adapter, product, images, batch_size):
    """Yield (first image, list of Call) of one product for each batch."""
    products, before = adapter.products, adapter.images
    adapter.products, adapter.images = [product], images
    stream = adapter.stream(batch_size)
    adapter.products, adapter.images = products, before
    for start, (calls,) in stream:
        yield start, calls


def _left(network, found, wanted, order):
    """A dict from the names of kernels that stay real to the reason."""
    reasons = {}
    for product in found:
        if wanted[product.name] == REAL:
            reason = "as asked"
        elif product.linear is None:
            reason = ANGLE_ONLY
        elif product.quantizer is not None and not _is_ours(product):
            reason = "it has a quantizer of its own"
        elif len(product.kernels.latent) > MOST_INPUTS:
            reason = f"a unit has more than {MOST_INPUTS:,} weights"
        else:
            reason = network.refusal(product) or (
                None if product.name in order else "the model does not call it"
            )
        if reason:
            reasons[product.name] = reason
    return reasons


def _is_ours(product):
    """Whether the quantizer of a product is the one that `find` gives to kernels without one."""
    from bnn.geometry.named_quantizers import SIGN

    return product.quantizer is SIGN


def _agreement(network, chosen, batch_size):
    """Compare the outputs of both networks; see `Binarized.agreement`."""
    pairs, same, classes = CorrelationStatistics(), 0, False
    difference = 0.0
    for part in np.array_split(chosen, -(-len(chosen) // batch_size)):
        real, quantized = (network.outputs(which, part) for which in (0, 1))
        for key, before in real.items():
            after = quantized.get(key)
            if after is None or before.shape != after.shape or before.shape[:1] != (len(part),):
                continue
            pairs.update(after, before)
            difference += np.sum((after.astype(np.float64) - before) ** 2)
            if before.ndim == 2 and before.shape[1] > 1 and (not classes or classes == key):
                classes = key
                same += np.count_nonzero(before.argmax(axis=1) == after.argmax(axis=1))
    variance = pairs.std[1] ** 2 * pairs.count
    error = difference / variance if pairs.count and variance > 0 else math.nan
    return {
        "r": pairs.r,
        "error": float(error),
        "same": float(same / len(chosen)) if classes is not False else None,
    }


def _checked(what, levels):
    """The levels, an int or "real"; `ReportError` for others."""
    if levels is None or levels == REAL:
        return REAL
    if isinstance(levels, bool) or not isinstance(levels, int | np.integer) or not 2 <= levels <= MOST_LEVELS:
        raise ReportError(f"{what}: expected 2 to {MOST_LEVELS} levels, or {REAL!r}, received {levels!r}")
    return int(levels)


def _assignment(given):
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ReportError(
            f"{argument('assignment')}: expected names of layers with their levels, such as "
            f'{{"conv_1": 2}}, received a {type(given).__name__}'
        )
    return {name: _checked(f"{argument('assignment')}: {name}", value) for name, value in given.items()}


def _module(model):
    """The module for the framework of a model."""
    name = framework(model)
    if name is None:
        raise ReportError(
            f"model: expected a Keras model or a PyTorch module, received a {type(model).__name__}"
        )
    return import_module(NETWORKS[name])
