"""The layers of a model, including nested ones, their calls, and groups of the layers of Keras."""

from contextlib import contextmanager

import keras

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)

INACTIVE = (  # in inference
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
METHODS = ("call", "product", "quantized_kernel")


def computes_as(layer, base):
    """Whether a layer computes what a class does, and no subclass has changed that."""
    return isinstance(layer, base) and all(
        getattr(type(layer), name, None) is getattr(base, name, None) for name in METHODS
    )


def does_nothing(layer):
    """Whether a layer returns its input in inference."""
    linear = computes_as(layer, keras.layers.Activation) and layer.activation is keras.activations.linear
    return linear or any(computes_as(layer, base) for base in INACTIVE)


def walk(model):
    """Yield (path, layer) for every layer within a model, each layer once."""
    seen, queue = set(), [("", model)]
    while queue:
        name, layer = queue.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        nested = isinstance(layer, keras.Model)
        inner = layer.layers if nested else layer._flatten_layers(include_self=False, recursive=False)
        queue = [(f"{name}/{n.name}" if name else n.name, n) for n in inner] + queue
        if name:
            yield name, layer


@contextmanager
def wrapped_calls(layers, wrap):
    """Replace the `call` of each layer by `wrap(layer, call)` within the context."""
    for layer in layers:
        # Not with setattr, because Keras would track the attribute.
        vars(layer)["call"] = wrap(layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["call"]


def own_weights(layer):
    """Return the weights of the layer itself, not of its inner layers."""
    inner = {id(w) for n in layer._flatten_layers(include_self=False) for w in n.weights}
    return [w for w in layer.weights if id(w) not in inner]
