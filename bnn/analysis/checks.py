"""Whether a model, images or arrays can be analyzed at all; and if not, why, in one line."""

import numpy as np

from bnn.errors import UserError


class ReportError(UserError, ValueError):
    """A model or arrays that cannot be analyzed; the message says what was expected and what was received."""


def count(images):
    """The number of images, which are an array, or a list or dict of these."""
    import keras

    return len(keras.tree.flatten(images)[0])


def check_images(model, images, batch_size):
    """The number of images, which are read `batch_size` at a time.

    Raises:
        ReportError: they are not of the shape that the model takes, not numbers, or not finite.
    """
    import keras

    arrays = keras.tree.flatten(images)
    n = arrays[0].shape[0] if getattr(arrays[0], "shape", ()) else 0
    wanted = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or ()]
    if wanted and len(arrays) != len(wanted):
        raise ReportError(
            f"images: expected an array for each of {len(wanted)} inputs, received {len(arrays)}"
        )
    for array, shape in zip(arrays, wanted or [None] * len(arrays), strict=True):
        _check_array(array, shape, n, batch_size)
    return n


def _check_array(array, shape, n, batch_size):
    received = tuple(getattr(array, "shape", ()))
    wanted = received[1:] if shape is None else shape
    fits = len(received) == len(wanted) + 1 and all(map(_may_be, wanted, received[1:]))
    if not fits or received[0] != n or n == 0:
        expected = ", ".join(["n", *("any" if size is None else str(size) for size in wanted)])
        raise ReportError(f"images: expected shape ({expected}) with n >= 1, received {received}")
    for start in range(0, n, batch_size):
        part = np.asarray(array[start : start + batch_size])
        if part.dtype.kind not in "biuf":
            raise ReportError(f"images: expected numbers, received {part.dtype}")
        check_finite("images", part, "values")


def _may_be(wanted, size):
    return wanted in (None, size)


def check_weights(model):
    """Raise `ReportError` unless every weight of a model is finite."""
    import keras

    for weight in model.weights:
        values = keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32"))
        check_finite(weight.path, values, "weights")


def check_finite(name, values, what="values"):
    """Raise `ReportError` unless an array is finite."""
    finite = np.isfinite(values)
    if not finite.all():
        raise ReportError(f"{name}: expected finite {what}, received {values[~finite].flat[0]}")


def matrix(name, values, columns=None):
    """A float32 matrix of a user's array_like.

    Args:
        name: str, for messages.
        values: (d, units) array_like; (n, columns) where `columns` is given.
        columns: int, how many there must be; None: any number.

    Raises:
        ReportError: it is no such matrix, is empty or not finite.
    """
    values = np.asarray(values, np.float32)
    shape = "(d, units)" if columns is None else f"(n, {columns})"
    if values.ndim != 2 or not values.size or columns not in (None, values.shape[1]):
        raise ReportError(f"{name}: expected shape {shape}, received {values.shape}")
    check_finite(name, values)
    return values
