"""The arithmetic of a network: float32, which every machine computes alike."""

from bnn.models.surgery import altered_copy
from bnn.models.traversal import walk


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
