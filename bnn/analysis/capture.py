"""Record the inputs of a model's kernels, batch by batch.

Keras has no hooks. While a batch runs, the `call` of each layer is replaced by one that also records its inputs. So
every call counts, also in shared layers, nested models and models that are not a graph.
"""

import functools
from contextlib import contextmanager

import keras
from keras import ops

from bnn.analysis.kernel_products import float32
from bnn.layers import QuantActivation
from bnn.models import walk
from bnn.models.evaluation import as_built


def stream(model, found, images, batch_size=50):
    """Run the model on the images and yield the inputs of the products.

    Args:
        model: keras.Model.
        found: list of Product, from `kernel_products.find`.
        images: (n, ...) array, or a list or dict of arrays: the inputs of the model.
        batch_size: images per batch; memory depends only on this.

    Yields:
        For each batch (first image's index, list with, for each product, its calls): a list of (inputs, before),
        float32 NumPy arrays. `inputs` is what the kernel multiplies; `before`, of the same shape, is what the
        activation quantizer that made it was given, None where there was none. In place of the list None, if the
        layer was called in a compiled function, where there are no values to see.
    """
    n = len(keras.tree.flatten(images)[0])
    for start in range(0, n, batch_size):
        stop = start + batch_size
        batch = keras.tree.map_structure(lambda array, first=start, last=stop: array[first:last], images)
        calls = _calls(model, found, batch)
        yield start, [_arrays(product, calls[id(product.layer)]) for product in found]


def _calls(model, found, batch):
    """A dict from a layer's id to its calls, a list of (input tensor, tensor before its quantizer or None)."""
    calls, quantized = {id(product.layer): [] for product in found}, {}

    def heard(layer, inputs, outputs):
        before = quantized.get(id(inputs), (None, None))[1]
        if isinstance(layer, QuantActivation):
            quantized[id(outputs)] = outputs, inputs  # kept, so that no other tensor gets the id
        elif id(layer) in calls:
            calls[id(layer)].append((inputs, before))
        elif before is not None:
            quantized[id(outputs)] = outputs, before

    passing = (QuantActivation, keras.layers.Flatten, keras.layers.Reshape)
    layers = [layer for _, layer in walk(model) if id(layer) in calls or isinstance(layer, passing)]

    def listening(layer, call):
        @functools.wraps(call)
        def wrapper(*args, **kwargs):
            outputs = call(*args, **kwargs)
            heard(layer, args[0] if args else kwargs["inputs"], outputs)
            return outputs

        return wrapper

    with wrapped_calls(layers, listening):
        model(as_built(model, batch), training=False)
    return calls


@contextmanager
def wrapped_calls(layers, wrap):
    """Replace the `call` of each layer by `wrap(layer, call)` within the context."""
    for layer in layers:
        # Not with setattr, because Keras would track the attribute.
        vars(layer)["call"] = wrap(layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["call"]


def _arrays(product, calls):
    taken = []
    for inputs, before in calls:
        try:
            seen = ops.convert_to_numpy(inputs)
        except (TypeError, NotImplementedError, AttributeError):  # by the backend: it has no value
            return None
        values = float32(product.arrange(seen))
        taken.append((values, None if before is None else float32(before).reshape(values.shape)))
    return taken
