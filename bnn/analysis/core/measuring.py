"""Measure the LayerReports of a model's kernels with images, or of a kernel from arrays, in one pass."""

from dataclasses import replace

import numpy as np

from bnn.analysis.core import fitting
from bnn.analysis.core.checks import OVERFLOW, ReportError, by_reason, matrix
from bnn.analysis.core.layer_geometry import LayerGeometry, UnanalyzableError
from bnn.analysis.core.linear_maps import Dense
from bnn.analysis.core.product import Call
from bnn.analysis.core.product import of_arrays as product_of_arrays
from bnn.console.spelling import argument, option
from bnn.geometry import CoordinateMoments, named_quantizers
from bnn.geometry.named_quantizers import SIGN, ScalarQuantizer
from bnn.models.inputs import count

ROWS = 4096  # rows of an array per batch


def of_adapter(adapter, activations, batch_size, score_images, cost_images, labels, seed, progress):
    """Measure every kernel of a model.

    Args:
        adapter: `adapter.Adapter`, to whose `unanalyzed` kernels are added that turn out to have no rows.
        activations: function that quantizes standardized inputs; None: leave them.
        batch_size: int, images per batch.
        score_images: int, the largest number of images for `r_scores`; 0: leave it out.
        cost_images: int, the largest number of images for `cost`; 0: leave it out.
        labels: (images,) array of int for `cost`; None: drawn.
        seed: int.
        progress: function that shows progress over batches and layers.

    Returns:
        (reports, undefined): list of LayerReport, and dict from the key of each statistic that is not defined for this
        network to the reason.
    """
    if not adapter.products:
        raise _nothing(adapter)
    standards = _standards(_stream(adapter, batch_size, progress), adapter.products, activations)
    layers = layers_of(adapter, count(adapter.images), seed, standards)
    take(layers, adapter, 0, batch_size, progress)
    return reported(adapter, layers, batch_size, score_images, cost_images, labels, seed, progress)


def layers_of(adapter, n_images, seed, standards=None):
    """A list of LayerGeometry without data, for the products of an adapter and a number of images in all."""
    found = adapter.products
    if not found:
        raise _nothing(adapter)
    generators = np.random.default_rng(seed).spawn(len(found))
    pairs = zip(found, generators, standards or [None] * len(found), strict=True)
    return [LayerGeometry(product, n_images, rng, standard) for product, rng, standard in pairs]


def take(layers, adapter, first, batch_size, progress):
    """Update layers with the images of an adapter, and note in its `unanalyzed` which cannot take them.

    Args:
        layers: list of LayerGeometry, one for each product.
        adapter: `adapter.Adapter`.
        first: int, the index of its first image among all.
        batch_size: int, images per batch.
        progress: function that shows progress over batches.
    """
    for start, size, batch in _stream(adapter, batch_size, progress):
        for layer, calls in zip(layers, batch, strict=True):
            if layer.name not in adapter.unanalyzed:
                _update(layer, first + start, size, calls, adapter.unanalyzed)


def _stream(adapter, batch_size, progress):
    n = count(adapter.images)
    for start, batch in progress(adapter.stream(batch_size), total=-(-n // batch_size), unit="batch"):
        yield start, min(batch_size, n - start), batch


def reported(adapter, layers, batch_size, score_images, cost_images, labels, seed, progress):
    """Measure what needs passes of its own; arguments and result as for `of_adapter`, with layers that hold data."""
    layers = [layer for layer in layers if layer.name not in adapter.unanalyzed]
    if not layers:
        raise _nothing(adapter)
    values, reason, found = [None] * len(layers), None, None
    if score_images:
        values, reason = adapter.score_agreement(layers, score_images, batch_size, seed, progress)
    if cost_images:
        found = adapter.costs(layers, cost_images, seed, labels, progress)
    measured = [{"r_scores": r} | _cost(found, place) for place, r in enumerate(values)]
    reports = [layer.report(**more) for layer, more in zip(layers, measured, strict=True)]
    reasons = {"r_scores": reason, "cost": found and found.reason}
    return reports, {key: why for key, why in reasons.items() if why}


def _cost(found, place):
    """The values of one layer for its report: of the one change of its kernel."""
    if found is None or found.values[place] is None:
        return {}
    return {"cost": float(found.values[place][0]), "cost_error": float(found.errors[place][0])}


def of_arrays(kernel, inputs, quantizer, before, name, seed):
    """Measure one kernel with its inputs; arguments and result as for `report.from_arrays`."""
    kernel = matrix("kernel", kernel)
    inputs = matrix("inputs", inputs, len(kernel))
    before = None if before is None else matrix("before", before, len(kernel))
    if before is not None and len(before) != len(inputs):
        raise ReportError(f"before: expected {len(inputs)} rows, as inputs has, received {len(before)}")
    quantizer = as_function(quantizer) or SIGN
    product = product_of_arrays(name, Dense(), kernel[:, None], quantizer)
    if isinstance(quantizer, fitting.Fitted):
        rng = np.random.default_rng([seed, 1])
        first, rows = fitting.halves(len(inputs), "inputs", rng)
        product, inputs = _fitted(product, inputs[first], quantizer, rng), inputs[rows]
        before = None if before is None else before[rows]
    layer = LayerGeometry(product, len(inputs), np.random.default_rng(seed))
    for start in range(0, len(inputs), ROWS):
        rows = slice(start, start + ROWS)
        part = inputs[rows]
        layer.update(start, len(part), [Call(part, None if before is None else before[rows])])
    return layer.report()


def _fitted(product, inputs, quantizer, rng):
    """The Product of arrays with levels that are fitted to inputs."""
    gathered, unfit = fitting.Inputs(product, len(inputs), rng), {}
    if fitting.fits(product, unfit):
        gathered.update(len(inputs), [Call(inputs)])
        product = gathered.fitted(quantizer.levels, unfit)
    for reason in unfit.values():
        raise ReportError(f"{product.name}: expected inputs to fit levels to, received others: {reason}")
    return product


def check_quantizer(adapter, quantizer, name):
    """Raise `ReportError` if a function quantizes no kernel of an adapter; `name` is the quantizer as it was given."""
    if quantizer is None or not adapter.products or any(p.quantizer is quantizer for p in adapter.products):
        return
    given = option("quantizer", name) if isinstance(name, str) else argument("quantizer")
    raise ReportError(
        f"{given}: expected kernels without a quantizer of their own, received the network {adapter.name}, whose "
        f"kernels all have one; leave {argument('quantizer')} out"
    )


def as_function(quantizer, place="quantizer"):
    """Return a quantizer as a function; it may be given by name, as the argument `place`."""
    if not isinstance(quantizer, str):
        return quantizer
    fitted = fitting.named(quantizer) if place == "quantizer" else None
    return fitted or named_quantizers.named(quantizer, place)


def _nothing(adapter):
    reasons = "; ".join(f"{names} ({reason})" for names, reason in by_reason(adapter.unanalyzed))
    return ReportError(
        f"{adapter.name}: expected a layer with a kernel that can be analyzed, received "
        f"{reasons or 'none with a kernel'}"
    )


def _update(layer, start, count, calls, unanalyzed):
    """Give a layer its batch, or note why it cannot take it."""
    if layer.product.linear is None:
        return
    if calls is None:
        unanalyzed[layer.name] = "it is called in a compiled function, where values cannot be seen"
    elif not calls:
        unanalyzed[layer.name] = "the model does not call it"
    elif not all(np.isfinite(call.inputs).all() for call in calls):
        unanalyzed[layer.name] = OVERFLOW
    else:
        try:
            layer.update(start, count, calls)
        except UnanalyzableError as error:
            unanalyzed[layer.name] = str(error)


def _standards(batches, found, quantizer):
    """Return, for each product, a function from real to (quantized, standardized) inputs; None without inputs.

    Without a quantizer, no batch is read.
    """
    if quantizer is None:
        return None
    moments = [None] * len(found)
    for _, _, batch in batches:
        for i, calls in enumerate(batch):
            for inputs, *_ in calls or ():
                channels = inputs.shape[-1]
                moments[i] = moments[i] or CoordinateMoments(channels)
                if len(inputs):
                    moments[i].update(inputs.reshape(-1, channels))
    return [None if m is None else _standard(m.mean, m.std, quantizer) for m in moments]


def _standard(mean, std, quantizer):
    if isinstance(quantizer, ScalarQuantizer):
        quantizer = replace(quantizer, relative=False)  # the unit is 1, not the deviation of a batch
    scale = np.where(std > 0, std, 1).astype(np.float32)
    mean = mean.astype(np.float32)

    def standard(inputs):
        values = (inputs - mean) / scale
        return np.asarray(quantizer(values), np.float32), values

    return standard
