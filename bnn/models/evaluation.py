"""The scores of a network, its accuracy and its loss. This is the only place that computes them."""

import numpy as np
from keras import ops

from bnn.console import silent
from bnn.models import inputs

BATCH = 200  # images per batch


def scores(model, images, batch_size=BATCH, progress=silent):
    """Compute the scores of a network in inference.

    The layers run one by one. `predict` would compile a function first, which takes longer for a network that is used
    only once or twice.

    Args:
        model: keras.Model with one output.
        images: (n, ...) array, n >= 1, or a list or Mapping of such arrays, see `inputs.as_built`.
        batch_size: int, the largest number of images per batch. The batches are as equal as possible.
        progress: function that shows progress over the batches, such as `console.progress`.

    Returns:
        (n, classes) float32 array; of sequences (n, steps, classes).

    Raises:
        ModelError: the arrays do not match the inputs of the model, or it does not take them.
    """
    given = inputs.as_built(model, images)
    inputs.expect_images(given)
    parts = inputs.batches(given, batch_size)
    shown = progress(parts, total=len(parts), unit="batch")
    given = (inputs.applied(model, part) for part in shown)
    return np.concatenate([ops.convert_to_numpy(ops.cast(part, "float32")) for part in given])


def correct(model, split, batch_size=BATCH, progress=silent):
    """Find which images of a Split a network classifies correctly; other arguments as in `scores`.

    Returns:
        (n,) bool array; of sequences (n, steps).
    """
    return scores(model, split.images, batch_size, progress).argmax(axis=-1) == split.labels


def accuracy(model, split, batch_size=BATCH, progress=silent):
    """Return the fraction of images that a network classifies correctly, a float; arguments as in `correct`.

    Of sequences, it is the fraction of characters that the network foretells.
    """
    return float(np.mean(correct(model, split, batch_size, progress)))


def cross_entropy(scores, labels):
    """Return the mean of -log p of the labels in nats, a float; log p is the log softmax of the scores.

    Args:
        scores: (..., classes) array.
        labels: (...) array of whole numbers from 0.
    """
    rows = np.asarray(scores, np.float64).reshape(-1, np.shape(scores)[-1])
    rows = rows - rows.max(axis=1, keepdims=True)
    own = rows[np.arange(len(rows)), np.ravel(labels)]
    return float(np.mean(np.log(np.exp(rows).sum(axis=1)) - own))
