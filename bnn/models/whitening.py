"""Whitening layers measured on the training images."""

import keras

from bnn.layers import Whitening
from bnn.models.evaluation import scores

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
