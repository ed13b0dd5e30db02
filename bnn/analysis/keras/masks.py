"""Which rows masks remove from what the layers within other layers multiply: Keras hands these no mask."""

import keras

ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
OUTER = (*ATTENTION, keras.layers.TimeDistributed)


def within(layer, arguments):
    """The masks of the calls of the layers within.

    Args:
        layer: keras.Layer, one of `OUTER`.
        arguments: dict, what its `call` was given.

    Returns:
        Dict from the id of a layer to an iterator with, for each of its calls, a tensor, or None without a mask.
    """
    if isinstance(layer, ATTENTION):
        return _of_attention(layer, arguments)
    mask = arguments.get("mask")
    if mask is None:
        return {}
    steps = mask.shape[1] or 0  # unknown in a compiled function, where there are no values either
    return {id(layer.layer): (mask[:, step] for step in range(steps))}


def _of_attention(layer, arguments):
    query = arguments.get("query_mask")
    given = [arguments.get(name) for name in ("value_mask", "key_mask") if arguments.get(name) is not None]
    memory = None
    for mask in given:  # a position that either removes is not attended to
        mask = keras.ops.cast(mask, "bool")
        memory = mask if memory is None else keras.ops.logical_and(memory, mask)
    parts = {"query": query, "gate": query, "key": memory, "value": memory, "output": query}
    inner = {getattr(layer, f"_{part}_dense", None): mask for part, mask in parts.items()}
    return {id(dense): iter([mask]) for dense, mask in inner.items()}
