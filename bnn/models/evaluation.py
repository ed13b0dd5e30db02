"""The scores that a network gives to images, and how often the highest one is right. The only place for both."""

import math

import keras
import numpy as np
from keras import ops

from bnn.console import silent

BATCH = 200  # images at a time


def scores(model, images, batch_size=BATCH, progress=silent):
    """The scores of a network in inference.

    The layers run one by one: `predict` would compile a function first, which takes longer for a network that is used
    once or twice.

    Args:
        model: keras.Model of one output.
        images: (n, ...) array, n >= 1.
        batch_size: int, images at a time, at most; batches are as equal as can be.
        progress: shows progress over the batches, as `console.progress` does.

    Returns:
        (n, classes) float32 array.
    """
    parts = np.array_split(images, math.ceil(len(images) / batch_size))
    shown = progress(parts, total=len(parts), unit="batch")
    given = (model(as_built(model, part), training=False) for part in shown)
    return np.concatenate([ops.convert_to_numpy(ops.cast(part, "float32")) for part in given])


def correct(model, split, batch_size=BATCH, progress=silent):
    """Which images of a Split a network classifies correctly; arguments as for `scores`.

    Returns:
        (n,) bool array.
    """
    return scores(model, split.images, batch_size, progress).argmax(axis=1) == split.labels


def accuracy(model, split, batch_size=BATCH, progress=silent):
    """The fraction of a Split's images that a network classifies correctly, a float; arguments as for `scores`."""
    return float(np.mean(correct(model, split, batch_size, progress)))


def as_built(model, batch):
    """The batch in the structure that a graph was built with: Keras warns of an array in place of a list of one."""
    structure = getattr(model, "input", batch)  # a model that is no graph has none
    return keras.tree.pack_sequence_as(structure, keras.tree.flatten(batch))
