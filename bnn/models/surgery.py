"""Networks with altered layers: copies with other settings or in float32, and whitening measured on images."""

import keras

from bnn.layers import Whitening
from bnn.models.evaluation import scores
from bnn.models.traversal import walk


def altered_copy(model, altered):
    """Copy a network with changed settings of its layers.

    Args:
        model: keras.Model of layers that `keras.models.clone_model` can copy from their configuration.
        altered: function from a layer to a dict of what changes in its configuration; {}: nothing.

    Returns:
        keras.Model with the same layer names and copied weights.
    """
    copy = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(layer.get_config() | altered(layer))
    )
    copy.set_weights(model.get_weights())
    return copy


def in_float32(model):
    """Return a network of this package with every bfloat16 layer in float32.

    bfloat16 rounds the sums of a layer to 8 bits, so that values near 0 can have another sign. In float32, the sums of
    -1 and +1 are exact, as in the packed network.

    Args:
        model: keras.Model.

    Returns:
        keras.Model: the same one if no layer is in bfloat16, else a copy with copies of the weights.
    """
    if all(layer.compute_dtype != "bfloat16" for _, layer in walk(model)):
        return model
    return altered_copy(
        model, lambda layer: {"dtype": "float32"} if layer.compute_dtype == "bfloat16" else {}
    )


without_emulation = in_float32  # its name in the first version, where a machine with bfloat16 used it


IMAGES = 5000  # as in Jordan 2024


def whiten(model, images):
    """Measure the whitening layers of a network on the first images, in place.

    Args:
        model: keras.Model with one input; a model without `Whitening` stays as it is.
        images: (n, height, width, channels) uint8 array, the training images.
    """
    for layer in model.layers:
        if isinstance(layer, Whitening):
            before = keras.Model(model.inputs, layer.input)
            layer.adapt(scores(before, images[:IMAGES]))
