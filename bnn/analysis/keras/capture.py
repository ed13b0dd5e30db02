"""Record the inputs of a model's kernels, batch by batch.

Keras has no hooks. While a batch runs, the `call` of each layer is replaced by one that also records its inputs. So
every call counts, also in shared layers, nested models and models that are not a graph.
"""

import functools
import inspect
from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from keras.src.backend import get_keras_mask

from bnn.analysis.core.checks import ReportError
from bnn.analysis.core.product import Call
from bnn.analysis.keras import recurrent
from bnn.analysis.keras.products import float32
from bnn.console.errors import ModelError
from bnn.layers import QuantActivation
from bnn.models import walk
from bnn.models.inputs import applied, as_built, count, mapped
from bnn.models.traversal import INACTIVE, does_nothing, wrapped_calls

ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
OUTER = (*ATTENTION, keras.layers.TimeDistributed)
MOVING = (  # layers that move, leave out or repeat values, or take the largest of them
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    keras.layers.RepeatVector,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
)


class Given(NamedTuple):
    """What a layer's `call` was given.

    Attributes:
        inputs: (n, ...) array.
        mask: (n, steps) bool array, False where a step is to be skipped; None if there is no mask.
        state: list of (n, units) arrays, the initial state of a recurrent layer; None if there is none.
    """

    inputs: np.ndarray
    mask: np.ndarray | None = None
    state: list | None = None


def stream(model, found, images, batch_size=50, on_device=False):
    """Run the model on the images and yield the inputs of the products.

    Args:
        model: keras.Model.
        found: list of Product, from `kernels.find`.
        images: (n, ...) array, or a list or dict of arrays: the inputs of the model.
        batch_size: images per batch; memory depends only on this.
        on_device: bool, whether to leave the inputs on the device that computed them: `Call.inputs` is then a tensor
            unless there is a mask, and `Call.before` is None.

    Yields:
        For each batch (first image's index, list with, for each product, its calls): a list of Call, float32. It is
        empty for kernels that multiply nothing. In place of the list None, if the layer was called in a compiled
        function, where there are no values to see.
    """
    n = count(images)
    for start in range(0, n, batch_size):
        stop = start + batch_size
        batch = mapped(lambda array, first=start, last=stop: array[first:last], images)
        calls = _calls(model, found, batch)
        yield start, [_arrays(product, calls[id(product.layer)], on_device) for product in found]


def _calls(model, found, batch):
    """A dict from a layer's id to its calls, a list of (Given tensors, tensor before its quantizer or None)."""
    calls, quantized, passed = {id(product.layer): [] for product in found}, {}, {}

    def heard(layer, call, arguments, outputs):
        inputs = next(iter(arguments.values()))
        before = quantized.get(id(inputs), (None, None))[1]
        inner = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
        if isinstance(inner, QuantActivation):
            quantized[id(outputs)] = (
                outputs,
                inner.before(inputs),
            )  # kept, so that no other tensor gets the id
        elif id(layer) in calls:
            mask = next(passed.get(id(layer), iter(())), get_keras_mask(inputs))
            mask = arguments.get("mask", mask)
            calls[id(layer)].append((Given(inputs, mask, arguments.get("initial_state")), before))
        elif before is not None and (isinstance(inner, MOVING) or does_nothing(inner)):
            quantized[id(outputs)] = outputs, call(before)

    heeded = (QuantActivation, *MOVING, *INACTIVE, *OUTER)
    layers = [layer for _, layer in walk(model) if id(layer) in calls or isinstance(layer, heeded)]

    def listening(layer, call):
        signature = inspect.signature(call)

        @functools.wraps(call)
        def wrapper(*args, **kwargs):
            arguments = signature.bind(*args, **kwargs).arguments
            if isinstance(layer, OUTER):
                passed.update(_masks_within(layer, arguments))
            outputs = call(*args, **kwargs)
            heard(layer, call, arguments, outputs)
            return outputs

        return wrapper

    with wrapped_calls(layers, listening), recurrent.unfused(layers):
        try:
            applied(model, as_built(model, batch))
        except ModelError as error:
            raise ReportError(str(error)) from error.__cause__
    return calls


def _arrays(product, calls, on_device):
    if product.linear is None:
        return []
    taken = []
    for given, before in calls:
        try:
            seen = _seen(given, on_device)
        except (TypeError, NotImplementedError, AttributeError):  # by the backend: it has no value
            return None
        taken.append(_call(product, seen, None if before is None or on_device else float32(before)))
    return taken


def _seen(given, on_device):
    """What was given, as NumPy arrays; with `on_device`, inputs without a mask stay a tensor."""
    mask = None if given.mask is None else ops.convert_to_numpy(given.mask).astype(bool)
    state = given.state
    if state is not None:
        state = [ops.convert_to_numpy(part) for part in keras.tree.flatten(state)]
    if on_device and mask is None:
        # An empty part copies nothing, and fails as the whole does if the tensor has no value.
        ops.convert_to_numpy(given.inputs[:0])
        return Given(given.inputs, mask, state)
    return Given(ops.convert_to_numpy(given.inputs), mask, state)


def _call(product, given, before):
    inputs = product.arrange(given)
    inputs = float32(inputs) if isinstance(given.inputs, np.ndarray) else ops.cast(inputs, "float32")
    if before is None or not product.own_input:
        before = None
    else:
        before = float32(product.arrange(given._replace(inputs=before.reshape(given.inputs.shape))))
    mask = given.mask if product.masked else None
    if mask is None or mask.shape != inputs.shape[: mask.ndim] or mask.ndim == inputs.ndim:
        return Call(inputs, before)
    kept = np.broadcast_to(np.expand_dims(mask, tuple(range(mask.ndim, inputs.ndim - 1))), inputs.shape[:-1])
    return Call(inputs[kept], None if before is None else before[kept], kept.reshape(len(kept), -1))


def _masks_within(layer, arguments):
    """The masks for the inner layers of attention and TimeDistributed, to which Keras passes none.

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
