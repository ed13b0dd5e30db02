"""The layers of a model, including nested ones, and the types of convolutions in Keras."""

import keras

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


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
