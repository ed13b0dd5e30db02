"""Which parts of a network's output are scores: arrays of real numbers with the images on their first axis."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass


def tensors(output, path=()):
    """Find the tensors and arrays in the output of a network.

    Args:
        output: tensor, or a list, tuple, Mapping or data class of outputs. Anything else, such as None, a number or
            a distribution, holds no tensor.
        path: tuple, the place of the output within a larger one.

    Returns:
        Dict from path to tensor.
    """
    if isinstance(output, Mapping):
        parts = output.items()
    elif is_dataclass(output) and not isinstance(output, type):
        parts = ((field.name, getattr(output, field.name, None)) for field in fields(output))
    elif isinstance(output, list | tuple):
        parts = enumerate(output)
    else:
        return {path: output} if hasattr(output, "shape") and hasattr(output, "dtype") else {}
    return {key: tensor for name, part in parts for key, tensor in tensors(part, (*path, name)).items()}


def scores(first, count, other):
    """Select the scores in the output of a network.

    An output is a score if the length of its first axis is the number of images. That of another output, such as the
    state of a recurrent layer, may have the same length by chance, so a second batch decides between several outputs.
    Whole numbers are decisions, and count only if there are no floats.

    Args:
        first: dict from path to tensor, from `tensors`, of a batch.
        count: int, images in that batch.
        other: function without arguments to the pair of these for a batch with another number of images.

    Returns:
        List of paths.
    """
    found = [path for path, tensor in first.items() if _holds(tensor, count) and 0 not in tensor.shape]
    if len(found) > 1:
        second, others = other()
        found = [path for path in found if path in second and _holds(second[path], others)]
    floats = [path for path in found if "float" in str(first[path].dtype)]
    return floats or found


def _holds(tensor, count):
    """Whether a tensor holds real numbers for each of the images."""
    real = any(kind in str(tensor.dtype) for kind in ("float", "int", "bool"))
    return real and len(tensor.shape) > 0 and tensor.shape[0] == count
