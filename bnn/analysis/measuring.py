"""Measure the LayerReports of a model's kernels with images, or of a kernel from arrays, in one pass."""

from dataclasses import replace

import numpy as np

from bnn.analysis.core.checks import ReportError, by_reason, check_images, check_weights, matrix
from bnn.analysis.core.layer_geometry import LayerGeometry, UnanalyzableError
from bnn.analysis.core.linear_maps import Dense
from bnn.analysis.core.product import of_arrays as product_of_arrays
from bnn.analysis.keras import capture, kernels
from bnn.analysis.keras.capture import Call
from bnn.analysis.keras.scores import Agreements, score_agreement
from bnn.geometry import CoordinateMoments, named_quantizers
from bnn.geometry.named_quantizers import SIGN, ScalarQuantizer
from bnn.spelling import argument, option

OVERFLOW = "its inputs are not finite: a model that overflows in float16 is to be analyzed in float32"
ROWS = 4096  # rows of an array per batch


def of_model(model, images, quantizer, activations, batch_size, score_images, seed, progress):
    """Measure every kernel of a model that can be analyzed; arguments as for `report.analyze`.

    Returns:
        (reports, unanalyzed, undefined): list of LayerReport, dict from the name of each other layer with a kernel to
        the reason, and dict from the key of each statistic that is not defined for this network to the reason.
    """
    name, quantizer = quantizer, as_function(quantizer)
    activations = as_function(activations, "activations")
    n_images = check_images(model, images, batch_size)
    found, unanalyzed = _products(model, quantizer, name)
    batches = -(-n_images // batch_size)

    def stream():
        streamed = capture.stream(model, found, images, batch_size)
        for start, batch in progress(streamed, total=batches, unit="batch"):
            yield start, min(batch_size, n_images - start), batch

    def agreement(layers):
        return score_agreement(model, images, layers, score_images, batch_size, seed, progress)

    about = model.name, found, unanalyzed, n_images
    layers, undefined = measured(*about, stream, activations, seed, agreement if score_images else None)
    return layers, unanalyzed, undefined


def measured(name, found, unanalyzed, n_images, stream, activations, seed, agreement):
    """Gather the statistics of kernels.

    Args:
        name: str, the model's.
        found: list of Product.
        unanalyzed: dict from name to reason, to which products are added that turn out to be no rows.
        n_images: int.
        stream: function without arguments that starts a pass, an iterator of (first image's index, images in the
            batch, list with, for each product, its list of capture.Call, or None where there are no values to see).
        activations: function that quantizes standardized inputs; None: leave them.
        seed: int.
        agreement: function from a list of LayerGeometry to the Agreements of their scores; None: leave it out.

    Returns:
        (reports, undefined): list of LayerReport, and dict from the key of each statistic that is not defined for this
        network to the reason.
    """
    standards = _standards(stream(), found, activations) if activations else [None] * len(found)
    generators = np.random.default_rng(seed).spawn(len(found))
    layers = [
        LayerGeometry(p, n_images, rng, s) for p, rng, s in zip(found, generators, standards, strict=True)
    ]
    for start, count, batch in stream():
        for layer, calls in zip(layers, batch, strict=True):
            if layer.name not in unanalyzed:
                _update(layer, start, count, calls, unanalyzed)
    layers = [layer for layer in layers if layer.name not in unanalyzed]
    if not layers:
        raise nothing(name, unanalyzed)
    scores, reason = agreement(layers) if agreement else Agreements([None] * len(layers))
    reports = [layer.report(r) for layer, r in zip(layers, scores, strict=True)]
    return reports, {"r_scores": reason} if reason else {}


def of_arrays(kernel, inputs, quantizer, before, name, seed):
    """Measure one kernel with its inputs; arguments and result as for `report.from_arrays`."""
    kernel = matrix("kernel", kernel)
    inputs = matrix("inputs", inputs, len(kernel))
    before = None if before is None else matrix("before", before, len(kernel))
    if before is not None and len(before) != len(inputs):
        raise ReportError(f"before: expected {len(inputs)} rows, as inputs has, received {len(before)}")
    product = product_of_arrays(name, Dense(), kernel[:, None], as_function(quantizer) or SIGN)
    layer = LayerGeometry(product, len(inputs), np.random.default_rng(seed))
    for start in range(0, len(inputs), ROWS):
        rows = slice(start, start + ROWS)
        part = inputs[rows]
        layer.update(start, len(part), [Call(part, None if before is None else before[rows])])
    return layer.report()


def as_function(quantizer, place="quantizer"):
    """Return a quantizer as a function; it may be given by name, as the argument `place`."""
    return named_quantizers.named(quantizer, place) if isinstance(quantizer, str) else quantizer


def _products(model, quantizer, name):
    """Return the products that can be analyzed, and a dict of the other layers; `name` is the quantizer as given."""
    check_weights(model)
    found = kernels.find(model, quantizer)
    refused = kernels.refused(model, found)
    if not found:
        raise nothing(model.name, refused)
    if quantizer is not None and all(product.quantizer is not quantizer for product in found):
        given = option("quantizer", name) if isinstance(name, str) else argument("quantizer")
        raise ReportError(
            f"{given}: expected kernels without a quantizer of their own, received the network {model.name}, whose "
            f"kernels all have one; leave {argument('quantizer')} out"
        )
    return found, refused


def nothing(name, unanalyzed):
    """The error for a model of which nothing can be analyzed."""
    reasons = (
        "; ".join(f"{names} ({reason})" for names, reason in by_reason(unanalyzed)) or "none with a kernel"
    )
    return ReportError(f"{name}: expected a layer with a kernel that can be analyzed, received {reasons}")


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
    """Return, for each product, a function from real to (quantized, standardized) inputs; None without inputs."""
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
