"""Check whether a model, images or arrays can be analyzed; if not, the error says why in one line."""

import numpy as np

from bnn.console.errors import UserError
from bnn.datasets.data_set import axes_hint
from bnn.models import inputs

OVERFLOW = "its inputs are not finite: a model that overflows in float16 is to be analyzed in float32"


class ReportError(UserError, ValueError):
    """A model or arrays cannot be analyzed. The message says what was expected and what was received."""


def check_images(model, images, batch_size):
    """Check the images, `batch_size` at a time, and return their number.

    Raises:
        ReportError: there are none, or they do not have the shape that the model expects, are not numbers, or are not
            finite.
    """
    given = inputs.leaves(images)
    arrays = inputs.arrays(given)
    if not arrays:
        raise ReportError("images: expected at least one array, received none")
    n = arrays[0].shape[0] if getattr(arrays[0], "shape", ()) else 0
    wanted = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or ()]
    if wanted and len(given) != len(wanted):  # where the structure of the inputs is not known
        raise ReportError(
            f"images: expected an array for each of {len(wanted)} inputs, received {len(given)}"
        )
    for array, shape in zip(given, wanted or [None] * len(given), strict=True):
        if array is not None:
            _check_array(array, shape, n, batch_size)
    return n


def _check_array(array, shape, n, batch_size):
    received = tuple(getattr(array, "shape", ()))
    wanted = received[1:] if shape is None else shape
    fits = len(received) == len(wanted) + 1 and all(map(_may_be, wanted, received[1:]))
    if fits and received[0] != n:
        raise ReportError(f"images: expected {n} of each input, as of the first, received {received[0]}")
    if not fits or 0 in received:
        hint = axes_hint(received, wanted) if len(received) == len(wanted) + 1 else ""
        raise ReportError(
            f"images: expected {inputs.with_count(wanted)} with n >= 1, received {received}{hint}"
        )
    for start in range(0, n, batch_size):
        part = np.asarray(array[start : start + batch_size])
        if part.dtype.kind not in "biuf" and not np.can_cast(part.dtype, np.float32):  # the latter: bfloat16
            raise ReportError(f"images: expected numbers, received {part.dtype}")
        check_finite("images", part, "values")


def _may_be(wanted, size):
    return wanted in (None, size)


def check_finite(name, values, what="values"):
    """Raise `ReportError` unless an array is finite."""
    finite = np.isfinite(values)
    if not finite.all():
        raise ReportError(f"{name}: expected finite {what}, received {values[~finite].flat[0]}")


def matrix(name, values, columns=None):
    """Convert an array_like of a user to a float32 matrix.

    Args:
        name: str, for messages.
        values: (d, units) array_like; (n, columns) if `columns` is given.
        columns: int, the expected number of columns, or None for any number.

    Raises:
        ReportError: the values are not such a matrix, are empty or are not finite.
    """
    values = np.asarray(values, np.float32)
    shape = "(d, units)" if columns is None else f"(n, {columns})"
    if values.ndim != 2 or not values.size or columns not in (None, values.shape[1]):
        raise ReportError(f"{name}: expected shape {shape}, received {values.shape}")
    check_finite(name, values)
    return values


def by_reason(unanalyzed):
    """Return a list of (names, reason), one for each reason, from the dict of names to reasons."""
    names = {}
    for name, reason in unanalyzed.items():
        names.setdefault(reason, []).append(name)
    return [(", ".join(group), reason) for reason, group in names.items()]


def checked_labels(labels, images):
    """Return labels as an array of one class per image, or None."""
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != (inputs.count(images),) or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        raise ReportError(
            f"labels: expected {inputs.count(images)} whole numbers from 0, one per image, received "
            f"{labels.dtype} of shape {labels.shape}"
        )
    return labels
