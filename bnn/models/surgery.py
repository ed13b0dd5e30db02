"""Copies of a network with altered layers."""

import keras


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
