"""What quantization costs: a trained network, its quantizers taken out layer by layer (paper, section 3) or put in."""

import keras
import numpy as np
from keras import ops

from bnn.analysis.capture import as_built
from bnn.layers import QuantActivation, QuantConv2D, QuantDense, Sign
from bnn.models import refit_batch_norm

BATCH = 200  # images at a time


def quantized_layers(model):
    """The names of a network's layers that quantize.

    Returns:
        (kernels, activations): lists of the names of layers whose kernel is quantized, and of the layers that
        quantize activations, in the network's order.
    """
    kernels = [n.name for n in model.layers if isinstance(n, QuantConv2D | QuantDense) and n.kernel_quantizer]
    return kernels, [n.name for n in model.layers if isinstance(n, QuantActivation) and n.quantizer]


def unbinarized(model, kernels=(), activations=()):
    """A copy of a network that multiplies by latent kernels, or passes on continuous activations, where asked.

    A kernel becomes the latent one, an activation hard tanh, clip(x, -1, 1). Scales change with them: call
    `refit_batch_norm` before trusting the copy.

    Args:
        model: keras.Model with quantized layers.
        kernels: names of layers whose kernel is no longer quantized.
        activations: names of layers that no longer quantize activations.

    Returns:
        keras.Model of the same layer names, its weights copies.

    Raises:
        ValueError: a name is not among `quantized_layers`.
    """
    for argument, given, known in zip(
        ("kernels", "activations"), (kernels, activations), quantized_layers(model), strict=True
    ):
        for name in given:
            if name not in known:
                raise ValueError(f"{argument}: expected names among {', '.join(known)}, received {name!r}")
    removed = dict.fromkeys(kernels, "kernel_quantizer") | dict.fromkeys(activations, "quantizer")
    return _copied(model, lambda name, config: config | ({removed[name]: None} if name in removed else {}))


def binarized(model):
    """A copy of a network that multiplies by the signs of its continuous kernels; `unbinarized` the other way round.

    Args:
        model: keras.Model of this package's layers. Kernels that have a quantizer keep it.

    Returns:
        keras.Model of the same layer names, its weights copies. Call `refit_batch_norm` before trusting it.
    """

    def changed(_, config):
        continuous = "kernel_quantizer" in config and config["kernel_quantizer"] is None
        return config | ({"kernel_quantizer": Sign()} if continuous else {})

    return _copied(model, changed)


def _copied(model, changed):
    """A copy of a network; changed(name, config) gives a layer's new configuration."""
    copy = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(changed(layer.name, layer.get_config()))
    )
    copy.set_weights(model.get_weights())
    return copy


def variants(model):
    """The networks to compare: nothing made continuous; kernels one layer at a time, all; the same for activations.

    Returns:
        dict from (what, layer) to the two arguments (kernels, activations) of `unbinarized`; what is "kernels"
        or "activations", layer a name, "none", "all", or of kernels "convolutions", where these are some of all, as
        in the paper. Without hidden layers, there are no activations.
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


def accuracies(model, images, split, progress=iter):
    """The accuracy of each of the `variants`, before and after refitting batch norm.

    Args:
        model: keras.Model, as trained; it is left as it is.
        images: (n, height, width, channels) uint8 array of training images, for the refit.
        split: Split that the accuracy is measured on.
        progress: wraps the iterable of variants, such as `tqdm`.

    Returns:
        list of dicts with "what" and "layer" (see `variants`), "stale" and "refitted", accuracies in [0, 1].
    """
    rows = []
    for (what, layer), arguments in progress(variants(model).items()):
        copy = unbinarized(model, *arguments)
        stale = _accuracy(copy, split)
        refit_batch_norm(copy, images)
        rows.append({"what": what, "layer": layer, "stale": stale, "refitted": _accuracy(copy, split)})
    return rows


def lost(rows, what, layers="all"):
    """The accuracy that making "kernels" or "activations" continuous loses, batch norm refitted throughout.

    Args:
        rows: list of dicts, from `accuracies`.
        what: str.
        layers: str, "all", "convolutions" or a layer's name.

    Returns:
        float; NaN if the network has none of them.
    """
    refitted = {(row["what"], row["layer"]): row["refitted"] for row in rows}
    return refitted["kernels", "none"] - refitted.get((what, layers), float("nan"))


def scores(model, images, batch_size=BATCH, progress=iter):
    """What a network that is used once or twice says to images: `predict` would compile a function for it.

    Args:
        model: keras.Model.
        images: (n, ...) array, n >= 1.
        batch_size: int, images at a time, at most.
        progress: wraps the batches, such as `tqdm`.

    Returns:
        (n, classes) array.
    """
    parts = np.array_split(images, -(-len(images) // batch_size))
    said = (model(as_built(model, part), training=False) for part in progress(parts))
    return np.concatenate([ops.convert_to_numpy(part) for part in said])


def _accuracy(model, split):
    return float(np.mean(scores(model, split.images).argmax(axis=1) == split.labels))
