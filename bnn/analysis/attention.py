"""Which rows the masks of an attention layer remove from what its kernels multiply."""

import keras


def masks(layer, arguments):
    """The mask of each of the layers within, a dict from the layer's id to a tensor, or None without a mask.

    Args:
        layer: keras.layers.MultiHeadAttention.
        arguments: dict, what its `call` was given.
    """
    query = arguments.get("query_mask")
    given = [arguments.get(name) for name in ("value_mask", "key_mask") if arguments.get(name) is not None]
    memory = None
    for mask in given:  # a position that either removes is not attended to
        mask = keras.ops.cast(mask, "bool")
        memory = mask if memory is None else keras.ops.logical_and(memory, mask)
    return {
        id(layer.query_dense): query,
        id(layer.key_dense): memory,
        id(layer.value_dense): memory,
        id(layer.output_dense): query,
    }
