"""What quantization costs: a trained network, its quantizers taken out layer by layer (paper, section 3) or put in."""

import keras

from bnn.console import silent
from bnn.layers import QuantActivation, QuantConv2D, QuantDense, Sign
from bnn.models import accuracy, refit_batch_norm


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


def binarized(model, layers=None):
    """A copy of a network that multiplies by the signs of its continuous kernels: the reverse of `unbinarized`.

    Args:
        model: keras.Model of this package's layers. Kernels that have a quantizer keep it.
        layers: names of the layers to binarize; None: all.

    Returns:
        keras.Model of the same layer names, its weights copies. Call `refit_batch_norm` before trusting it.
    """

    def changed(name, config):
        continuous = "kernel_quantizer" in config and config["kernel_quantizer"] is None
        continuous = continuous and (layers is None or name in layers)
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


def accuracies(model, images, split, progress=silent):
    """The accuracy of each of the `variants`, before and after refitting batch norm.

    Args:
        model: keras.Model, as trained; it is left as it is.
        images: (n, height, width, channels) uint8 array of training images, for the refit.
        split: Split that the accuracy is measured on.
        progress: shows progress over the variants, as `console.progress` does.

    Returns:
        list of dicts with "what" and "layer" (see `variants`), "stale" and "refitted", accuracies in [0, 1].
    """
    rows, compared = [], variants(model)
    for (what, layer), arguments in progress(compared.items(), total=len(compared), unit="network"):
        copy = unbinarized(model, *arguments)
        stale = accuracy(copy, split)
        refit_batch_norm(copy, images)
        rows.append({"what": what, "layer": layer, "stale": stale, "refitted": accuracy(copy, split)})
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
