"""What it costs a network to replace a kernel, in nats per image, from one backward pass per image for all kernels.

Let w be the kernel by which a layer multiplies and dw its change. To second order, the Kullback-Leibler divergence from
the predictions of the network to those with the change is

    cost = 1/2 mean over images of (dw . grad log p(y | image))^2,

the quadratic form of the Fisher information in the direction of the change. The labels y are drawn from the network's
own prediction p. dw . grad is the sum over units and positions of the gradient times the change of the dot products.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from bnn.analysis.core import outputs
from bnn.analysis.core.agreement import CONSTANT, NO_SCORES
from bnn.models.inputs import count

LEAST = np.finfo(np.float32).tiny


class Costs(NamedTuple):
    """The costs of changes to the kernels of a network.

    Attributes:
        values: list with, for each kernel, a (changes,) float64 array in nats per image; None if its gradient cannot be
            computed.
        errors: the same for the standard errors over the images.
        reason: str, why all values are NaN; None if they are not.
    """

    values: list
    errors: list
    reason: str | None = None


def costs(gradients, changes, n, seed, labels=None, progress=None):
    """Compute the cost of changing each kernel by itself.

    Args:
        gradients: `Gradients` of a framework for a model and its images.
        changes: list with, for each kernel, a list of changes, arrays in the shape of the gradient; None: no gradient.
        n: int, the largest number of images, drawn at random.
        seed: int, the seed of the draws of images and labels.
        labels: (images,) array of int, the classes in place of drawn ones; None: draw them.
        progress: function that shows progress over the images; None: show none.

    Returns:
        Costs
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(count(gradients.images))[:n]
    paths = _paths(gradients, chosen)
    if not paths:
        return _undefined(changes, NO_SCORES)
    slopes = []
    for image in progress(chosen, total=len(chosen), unit="image") if progress else chosen:
        label = None if labels is None else int(labels[image])
        found = gradients.of(image, paths, partial(_upstream, rng, label))
        slopes.append([_along(gradient, change) for gradient, change in zip(found, changes, strict=True)])
    columns = [None if column[0] is None else np.stack(column) for column in zip(*slopes, strict=True)]
    if all(column is None or not np.isfinite(column).all() for column in columns):
        return _undefined(changes, CONSTANT)
    halves = [None if column is None else column**2 / 2 for column in columns]
    return Costs(
        [None if half is None else half.mean(axis=0) for half in halves],
        [None if half is None else _standard_error(half) for half in halves],
    )


def _along(gradient, changes):
    """The products of a gradient with each change, a (changes,) float64 array."""
    if changes is None:
        return None
    flat = np.zeros(1) if gradient is None else np.asarray(gradient, np.float64).ravel()
    return np.array([0.0 if gradient is None else flat @ change.ravel() for change in changes])


def _standard_error(values):
    n = len(values)
    return values.std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else np.full(values.shape[1:], math.nan)


def _undefined(changes, reason):
    nan = [None if change is None else np.full(len(change), math.nan) for change in changes]
    return Costs(nan, nan, reason)


def _paths(gradients, chosen):
    """The outputs of a network that are scores, see `outputs.scores`."""
    two, three = (np.resize(chosen, size) for size in (2, 3))
    return outputs.scores(gradients.run(two), 2, lambda: (gradients.run(three), 3))


def _upstream(rng, label, scores):
    """The gradient of log p(y) of one image with respect to its scores, for a drawn or given y.

    Args:
        rng: np.random.Generator.
        label: int, y; None: draw it. It is used if there is one prediction.
        scores: (1, ..., classes) float32 array. Rows that are not negative and add up to 1 are probabilities; single
            values, as of a regression, are the means of normal distributions of variance 1, whose divergence is half
            the squared error. Other rows are logits.

    Returns:
        Float32 array of the same shape.
    """
    rows = scores.reshape(-1, scores.shape[-1] if scores.ndim > 1 else 1).astype(np.float64)
    if rows.shape[1] == 1:
        return rng.standard_normal(scores.shape).astype(np.float32)
    are_probabilities = rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() < 1e-3
    p = rows if are_probabilities else np.exp(rows - rows.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    drawn = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(max=p.shape[1] - 1)
    y = np.full(1, label) if label is not None and len(p) == 1 else drawn
    chosen = np.eye(p.shape[1])[y]
    gradient = chosen / np.maximum(p, LEAST) if are_probabilities else chosen - p
    return gradient.reshape(scores.shape).astype(np.float32)
