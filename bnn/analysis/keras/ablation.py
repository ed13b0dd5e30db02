"""The cost of quantization: remove a trained network's quantizers layer by layer (paper, section 3), or add them."""

import math

import keras
import numpy as np

from bnn.console import silent
from bnn.layers import AbsmaxIntegers, QuantActivation, QuantConv2D, Sign, latent_kernels
from bnn.models import accuracy, altered_copy, refit_batch_norm
from bnn.models.evaluation import correct


def quantized_layers(model):
    """List the names of the layers that quantize.

    Returns:
        (kernels, activations): the names of the layers with a quantized kernel, and the names of the layers that
        quantize activations, as lists in the order of the network.
    """
    kernels = [
        layer.name for layer in model.layers if any(kernel.quantizer for kernel in latent_kernels(layer))
    ]
    return kernels, [n.name for n in model.layers if isinstance(n, QuantActivation) and n.quantizer]


def unbinarized(model, kernels=(), activations=()):
    """Copy a network and remove the quantizers of some kernels or activations.

    A layer without its kernel quantizer multiplies by the latent kernel. An activation without its quantizer is hard
    tanh, clip(x, -1, 1); one without `AbsmaxIntegers`, which clips nothing, is its input. Both change the scale of
    values, so call `refit_batch_norm` before you use the copy.

    Args:
        model: keras.Model with quantized layers.
        kernels: names of layers whose kernels become continuous.
        activations: names of layers whose activations become continuous.

    Returns:
        keras.Model with the same layer names and copied weights.

    Raises:
        ValueError: a name is not among `quantized_layers`.
    """
    known_kernels, known_activations = quantized_layers(model)
    _expect_names("kernels", kernels, known_kernels)
    _expect_names("activations", activations, known_activations)

    def removed(layer):
        if layer.name in activations:
            whole = isinstance(layer.quantizer, AbsmaxIntegers)
            return {"quantizer": keras.activations.linear if whole else None}
        settings = [kernel.setting for kernel in latent_kernels(layer)] if layer.name in kernels else []
        return dict.fromkeys(settings)

    return altered_copy(model, removed)


def binarized(model, layers=None):
    """Copy a network so that it multiplies by the signs of its continuous kernels: the opposite of `unbinarized`.

    Args:
        model: keras.Model with layers of this package. Kernels that have a quantizer keep it.
        layers: names of the layers to binarize, or None for all layers.

    Returns:
        keras.Model with the same layer names and copied weights. Call `refit_batch_norm` before you use it.

    Raises:
        ValueError: a name is not that of a layer with a kernel.
    """
    kernels = [layer.name for layer in model.layers if latent_kernels(layer)]
    layers = kernels if layers is None else layers
    _expect_names("layers", layers, kernels)

    def signed(layer):
        found = latent_kernels(layer) if layer.name in layers else ()
        return {kernel.setting: Sign() for kernel in found if kernel.quantizer is None}

    return altered_copy(model, signed)


def _expect_names(argument, given, known):
    """Raise `ValueError` unless `given` is a list of names in `known`; a str would be a list of letters."""
    for name in [given] if isinstance(given, str) else given:
        if name not in known or isinstance(given, str):
            raise ValueError(
                f"{argument}: expected a list of names among {', '.join(known)}, received {name!r}"
            )


def variants(model):
    """List the networks to compare: the original, and copies with continuous kernels or activations.

    A copy makes the kernels (or activations) of one layer continuous, or those of all layers. If the network has both
    convolutions and dense layers, one copy makes the kernels of all convolutions continuous, as in the paper.

    Returns:
        Dict from (what, layer) to the two arguments (kernels, activations) of `unbinarized`. `what` is "kernels" or
        "activations". `layer` is a name, "none", "all", or for kernels "convolutions". Without hidden layers, there are
        no entries for activations.
    """
    kernels, activations = quantized_layers(model)
    convolutions = [name for name in kernels if isinstance(model.get_layer(name), QuantConv2D)]
    sets = {("kernels", layer): ([layer], []) for layer in kernels}
    if 0 < len(convolutions) < len(kernels):
        sets["kernels", "convolutions"] = convolutions, []
    sets["kernels", "all"] = kernels, []
    sets |= {("activations", layer): ([], [layer]) for layer in activations}
    return (
        {("kernels", "none"): ([], [])}
        | sets
        | ({("activations", "all"): ([], activations)} if activations else {})
    )


def accuracies(model, images, split, progress=silent):
    """Measure the accuracy of each of the `variants`, before and after batch norm is refitted.

    Args:
        model: keras.Model as trained. It is not changed.
        images: (n, height, width, channels) uint8 array of training images, for the refit.
        split: Split to measure the accuracy on.
        progress: function that shows progress over the variants, such as `console.progress`.

    Returns:
        List of dicts with "what" and "layer" (see `variants`), "stale" and "refitted", accuracies in [0, 1] before and
        after the refit, and "error", the standard error of the difference of "refitted" from that of the first row.
        All rows are for the same images, so it is smaller than the error of two independent accuracies.
    """
    rows, compared, reference = [], variants(model), None
    for (what, layer), arguments in progress(compared.items(), total=len(compared), unit="network"):
        copy = unbinarized(model, *arguments)
        stale = accuracy(copy, split)
        refit_batch_norm(copy, images)
        right = correct(copy, split).astype(float)
        reference = right if reference is None else reference
        deviation = float(np.std(reference - right) / math.sqrt(len(right)))
        rows.append(
            {
                "what": what,
                "layer": layer,
                "stale": stale,
                "refitted": float(right.mean()),
                "error": deviation,
            }
        )
    return rows


def lost(rows, what, layers="all"):
    """Compute the accuracy that is lost when kernels or activations become continuous, with refitted batch norm.

    Args:
        rows: list of dicts from `accuracies`.
        what: str, "kernels" or "activations".
        layers: str, "all", "convolutions" or the name of a layer.

    Returns:
        Float; NaN if the rows have no entry for these layers.
    """
    return rows[0]["refitted"] - _value(rows, what, layers, "refitted")


def error(rows, what, layers="all"):
    """Return the standard error of `lost`, over the choice of the test images; arguments and result as there."""
    return _value(rows, what, layers, "error")


def _value(rows, what, layers, key):
    return next((row[key] for row in rows if (row["what"], row["layer"]) == (what, layers)), math.nan)
