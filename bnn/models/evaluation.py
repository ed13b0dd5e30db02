"""The scores of a network and its accuracy. This is the only place that computes them."""

import math

import keras
import numpy as np
from keras import ops

from bnn.console import silent

BATCH = 200  # images per batch


def scores(model, images, batch_size=BATCH, progress=silent):
    """Compute the scores of a network in inference.

    The layers run one by one. `predict` would compile a function first, which takes longer for a network that is used
    only once or twice.

    Args:
        model: keras.Model with one output.
        images: (n, ...) array, n >= 1.
        batch_size: int, the largest number of images per batch. The batches are as equal as possible.
        progress: function that shows progress over the batches, such as `console.progress`.

    Returns:
        (n, classes) float32 array.
    """
    parts = np.array_split(images, math.ceil(len(images) / batch_size))
    shown = progress(parts, total=len(parts), unit="batch")
    given = (model(as_built(model, part), training=False) for part in shown)
    return np.concatenate([ops.convert_to_numpy(ops.cast(part, "float32")) for part in given])


def correct(model, split, batch_size=BATCH, progress=silent):
    """Find which images of a Split a network classifies correctly; other arguments as in `scores`.

    Returns:
        (n,) bool array.
    """
    return scores(model, split.images, batch_size, progress).argmax(axis=1) == split.labels


def accuracy(model, split, batch_size=BATCH, progress=silent):
    """Return the fraction of images that a network classifies correctly, a float; arguments as in `correct`."""
    return float(np.mean(correct(model, split, batch_size, progress)))


def as_built(model, batch):
    """Put a batch into the structure that the model was built with. Keras warns if a list of one array is expected."""
    structure = getattr(model, "input", batch)  # a model without a graph has no input
    return keras.tree.pack_sequence_as(structure, keras.tree.flatten(batch))
