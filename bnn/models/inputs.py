"""The inputs of a model: one or several arrays, in the structure that the model was built with, matched by name."""

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from numbers import Number

import numpy as np

from bnn.console.errors import ModelError, UserError
from bnn.datasets.data_set import axes_hint

COLORS = re.compile(r"\x1b\[[0-9;]*m")
NODE = re.compile(r"\{\{.*?\}\} ")  # where TensorFlow was
LONGEST = 300  # characters of a reason


InputError = ModelError  # its name in earlier versions


def plain(given, name=None):
    """Convert every Mapping in what a user gives to a dict, and every list of numbers in it to an array.

    A tokenizer's BatchEncoding is a Mapping that holds lists, an NpzFile is one that holds arrays.

    Args:
        given: array, None, or a list, tuple or Mapping of these or of numbers.
        name: str, the key of `given` in a Mapping; None if it is in none.

    Raises:
        ModelError: the rows of a list of numbers differ in length.
    """
    if isinstance(given, Mapping):
        return {key: plain(value, key) for key, value in given.items()}
    if not _is_list(given):
        return given
    if name is not None and _is_of_numbers(given):
        return _as_array(name, given)
    return type(given)(map(plain, given)) if type(given) in (list, tuple) else tuple(map(plain, given))


def _is_of_numbers(given):
    while _is_list(given) and len(given):
        given = given[0]
    return isinstance(given, Number | np.generic)


def _as_array(name, rows):
    try:
        return np.asarray(rows)
    except ValueError:
        raise ModelError(
            f"images: expected rows of one length in {name!r}, received several lengths; pad them, such as with "
            "padding=True of a tokenizer"
        ) from None


def leaves(given):
    """Return a list of what the dicts, lists and tuples of a structure hold, in the order of `keras.tree.flatten`."""
    if isinstance(given, dict):
        given = [given[key] for key in _keys(given)]
    return [leaf for part in given for leaf in leaves(part)] if _is_list(given) else [given]


def _keys(given):
    """The keys of a dict in the order in which Keras flattens it: sorted, if they can be."""
    try:
        return list(given) if isinstance(given, OrderedDict) else sorted(given)
    except TypeError:
        return list(given)


def arrays(given):
    """Return a list of the arrays in a structure, without the inputs that are None."""
    return [part for part in leaves(given) if part is not None]


def mapped(function, given):
    """Replace every array in a structure by a function of it. None, for an input that is left out, stays."""
    if isinstance(given, dict):
        return {key: mapped(function, part) for key, part in given.items()}
    if _is_list(given):
        parts = [mapped(function, part) for part in given]
        return parts if isinstance(given, list) else tuple(parts)
    return None if given is None else function(given)


def as_built(model, given):
    """Put arrays into the structure that a model was built with.

    Arrays with names are matched with the inputs of these names. A list or tuple has the order of `model.inputs`.
    For a model that was built with a dict, that order is alphabetical; if the dict had another one, a list is refused.

    Args:
        model: keras.Model.
        given: array, or a list, tuple or Mapping of arrays, or a structure of these as the model was built with. None
            leaves out an input that is optional.

    Returns:
        The arrays in the structure of `model.input`. For a model that is not a graph, what was given, with dicts in
        place of other mappings.

    Raises:
        ModelError: a name is missing or unknown, the number of arrays differs, a list has no clear order, or an input
            that is not optional is None.
    """
    given = plain(given)
    structure = getattr(model, "input", None)  # a model that is not a graph has none
    if structure is None:
        return given
    found = {}
    _match(structure, given, found)
    for tensor in leaves(structure):
        if found[id(tensor)] is None and not _is_optional(tensor):
            raise ModelError(f"images: expected an array for the input {tensor.name}, received None")
    return mapped(lambda tensor: found[id(tensor)], structure)


def applied(model, given):
    """Run a model in inference on arrays in its structure.

    Returns:
        What the model returns.

    Raises:
        ModelError: the model does not take the arrays. The exception that it raised is the cause.
    """
    try:
        return model(given, training=False)
    except (UserError, RuntimeError):  # the latter: of the code of a layer, or of the memory
        raise
    except Exception as error:  # of Keras, the backend or a layer, whichever finds that the arrays do not fit
        wanted = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or ()]
        received = [np.shape(part) for part in arrays(given)]
        raise ModelError(f"images: expected {_expected(wanted, received)}; {_reason(error)}") from error


def _expected(wanted, received):
    """Say which shapes were expected and received, as far as a model has them."""
    text = ", ".join(map(str, received))
    if len(wanted) != len(received):
        return f"arrays that the model takes, received the shape {text}"
    hint = axes_hint(received[0], wanted[0]) if len(wanted) == 1 else ""
    return f"{', '.join(map(with_count, wanted))}, received {text}{hint}"


def with_count(shape):
    """The shape of n images of a shape, as text; None, for a size that is free, becomes "any"."""
    return f"shape ({', '.join(['n', *('any' if size is None else str(size) for size in shape)])})"


def _reason(error):
    """The line of an exception that says what is wrong; Keras puts one before it, and colors it."""
    lines = [COLORS.sub("", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Exception encountered when calling ")]
    return f"{type(error).__name__}: {NODE.sub('', lines[0])[:LONGEST]}" if lines else type(error).__name__


def count(given):
    """Return the number of images: the length of the first of one or several arrays."""
    return len(arrays(given)[0])


def expect_images(given):
    """Raise `ModelError` unless one or several arrays hold as many images each, at least one."""
    shapes = [np.shape(part) for part in arrays(given)]
    if not shapes or any(0 in shape[:1] or not shape for shape in shapes):
        received = f"the shape {', '.join(map(str, shapes))}" if shapes else "none"
        raise ModelError(f"images: expected at least one image, received {received}")
    if len({shape[0] for shape in shapes}) > 1:
        sizes = ", ".join(str(shape[0]) for shape in shapes)
        raise ModelError(f"images: expected arrays of equally many images, received {sizes}")


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
        mapped(lambda array, a=stop - size, b=stop: array[a:b], given)
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
    names = {tensor.name: tensor for tensor in leaves(structure)}
    for tensors in (keys, names):
        if set(given) == set(tensors):
            return {id(tensor): given[name] for name, tensor in tensors.items()}
    raise ModelError(
        f"images: expected arrays named {', '.join(map(str, keys))}, "
        f"received {', '.join(map(str, given)) or 'none'}"
    )


def _by_place(structure, given):
    tensors, parts = leaves(structure), _flat(given)
    named = ", ".join(str(name) for name, _ in _named(structure))
    if len(parts) != len(tensors):
        received = f"{len(parts)}; they are named {named}" if len(tensors) > 1 else len(parts)
        raise ModelError(f"images: expected an array for each of {len(tensors)} inputs, received {received}")
    if any(isinstance(array, dict) for array in parts) or (len(parts) > 1 and not _is_ordered(structure)):
        raise ModelError(f"images: expected a dict with arrays named {named}, received a list")
    return {id(tensor): array for tensor, array in zip(tensors, parts, strict=True)}


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


def _is_optional(tensor):
    """Whether an input of a model may be None, as `keras.Input(optional=True)` says."""
    return getattr(tensor._keras_history.operation, "optional", False)


def _is_list(value):
    return isinstance(value, list | tuple)
