"""The arithmetic of a saved network on this machine."""

from bnn import backend
from bnn.models.surgery import altered_copy
from bnn.models.traversal import walk


def without_emulation(model):
    """Return a network that computes in float32 what this machine could only emulate in bfloat16.

    A processor without bfloat16 takes many times longer for a layer in bfloat16 than for the same layer in float32. The
    sums of float32 are more exact: signs of values near 0 can differ.

    Args:
        model: keras.Model.

    Returns:
        keras.Model: the same one if no layer is in bfloat16 or the hardware has it, else a copy in float32.
    """
    emulated = any(layer.compute_dtype == "bfloat16" for _, layer in walk(model))
    return in_float32(model) if emulated and backend.resolve_precision("auto") == "float32" else model


def in_float32(model):
    """Return a copy of a network of this package with every bfloat16 layer in float32; weights are copies."""
    return altered_copy(
        model, lambda layer: {"dtype": "float32"} if layer.compute_dtype == "bfloat16" else {}
    )
