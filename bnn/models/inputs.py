"""The inputs of a model: one or several arrays, in the structure that the model was built with, matched by name."""

import math
from collections.abc import Mapping

import keras
import numpy as np

from bnn.errors import UserError


class InputError(UserError, ValueError):
    """What was given does not fit the inputs of a model. The message is one line for the user."""


def plain(given):
    """Convert every Mapping in what a user gives, such as a tokenizer's BatchEncoding or an NpzFile, to a dict."""

    def converted(part):
        return {name: plain(value) for name, value in part.items()} if isinstance(part, Mapping) else part

    return keras.tree.map_structure(converted, given)


def as_built(model, given):
    """Put arrays into the structure that a model was built with.

    Arrays with names are matched with the inputs of these names. A list or tuple has the order of `model.inputs`.
    For a model that was built with a dict, that order is alphabetical; if the dict had another one, a list is refused.

    Args:
        model: keras.Model.
        given: array, or a list, tuple or Mapping of arrays, or a structure of these as the model was built with.

    Returns:
        The arrays in the structure of `model.input`. For a model that is not a graph, what was given, with dicts in
        place of other mappings.

    Raises:
        InputError: a name is missing or unknown, the number of arrays differs, or a list has no clear order.
    """
    given = plain(given)
    structure = getattr(model, "input", None)  # a model that is not a graph has none
    if structure is None:
        return given
    found = {}
    _match(structure, given, found)
    return keras.tree.map_structure(lambda tensor: found[id(tensor)], structure)


def count(given):
    """Return the number of images: the length of the first of one or several arrays."""
    return len(keras.tree.flatten(given)[0])


def batches(given, batch_size, least=1):
    """Split one or several arrays into batches that are as equal as possible.

    Args:
        given: (n, ...) array, or a list or dict of such arrays, n >= 1.
        batch_size: int, the largest number of images per batch.
        least: int, the least number, which goes before the largest one.

    Returns:
        List of batches in the structure of `given`.
    """
    n = count(given)
    sizes = [len(part) for part in np.array_split(np.arange(n), min(math.ceil(n / batch_size), n // least))]
    stops = np.cumsum(sizes)
    return [
        keras.tree.map_structure(lambda array, a=stop - size, b=stop: array[a:b], given)
        for size, stop in zip(sizes, stops, strict=True)
    ]


def _match(structure, given, found):
    """Add to a dict the array for the id of each KerasTensor in a structure."""
    if isinstance(structure, dict) and isinstance(given, dict) and set(structure) == set(given):
        for name, part in structure.items():
            _match(part, given[name], found)
    elif _is_list(structure) and _is_list(given) and len(structure) == len(given):
        for part, value in zip(structure, given, strict=True):
            _match(part, value, found)
    elif isinstance(given, dict):
        found.update(_by_name(structure, given))
    else:
        found.update(_by_place(structure, given))


def _by_name(structure, given):
    keys = dict(_named(structure))
    names = {tensor.name: tensor for tensor in keras.tree.flatten(structure)}
    for tensors in (keys, names):
        if set(given) == set(tensors):
            return {id(tensor): given[name] for name, tensor in tensors.items()}
    raise InputError(
        f"images: expected arrays named {', '.join(map(str, keys))}, "
        f"received {', '.join(map(str, given)) or 'none'}"
    )


def _by_place(structure, given):
    tensors, arrays = keras.tree.flatten(structure), _flat(given)
    named = ", ".join(str(name) for name, _ in _named(structure))
    if len(arrays) != len(tensors):
        received = f"{len(arrays)}; they are named {named}" if len(tensors) > 1 else len(arrays)
        raise InputError(f"images: expected an array for each of {len(tensors)} inputs, received {received}")
    if any(isinstance(array, dict) for array in arrays) or (len(arrays) > 1 and not _is_ordered(structure)):
        raise InputError(f"images: expected a dict with arrays named {named}, received a list")
    return {id(tensor): array for tensor, array in zip(tensors, arrays, strict=True)}


def _named(structure):
    """Yield (name, tensor): the key of each tensor in a dict, and the name of any other tensor."""
    if isinstance(structure, dict):
        for name, part in structure.items():
            yield from [(name, part)] if hasattr(part, "name") else _named(part)
    elif _is_list(structure):
        for part in structure:
            yield from _named(part)
    else:
        yield structure.name, structure


def _flat(given):
    return [array for part in given for array in _flat(part)] if _is_list(given) else [given]


def _is_ordered(structure):
    """Whether the dicts in a structure have the order in which Keras flattens them."""
    if isinstance(structure, dict):
        return list(structure) == sorted(structure) and all(map(_is_ordered, structure.values()))
    return not _is_list(structure) or all(map(_is_ordered, structure))


def _is_list(value):
    return isinstance(value, list | tuple)
