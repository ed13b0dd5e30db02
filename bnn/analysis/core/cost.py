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


class Source:
    """A model with its images; each framework has a subclass `Gradients` with `run`, `array` and `of`.

    Attributes:
        images: (n, ...) array, or a list, tuple or dict of such arrays.
    """

    def drawn(self, n, seed):
        """Return (indices of at most n images, list of the paths of the outputs that are scores)."""
        chosen = np.random.default_rng(seed).permutation(count(self.images))[:n]
        two, three = (np.resize(chosen, size) for size in (2, 3))
        return chosen, outputs.scores(self.run(two), 2, lambda: (self.run(three), 3))

    def scores(self, image, paths):
        """Return the scores of one image, a list with a (1, ...) float32 array for each output."""
        found = self.run([image])
        return [self.array(found[path]) for path in paths]


def costs(source, changes, n, seed, labels=None, progress=None):
    """Compute the cost of changing each kernel by itself.

    Args:
        source: Source, the `Gradients` of a framework.
        changes: list with, for each kernel, a list of changes, arrays in the shape of the gradient; None: no gradient.
        n: int, the largest number of images, drawn at random.
        seed: int, the seed of the draws of images and labels.
        labels: (images,) array of int, the classes in place of drawn ones; None: draw them.
        progress: function that shows progress over the images; None: show none.

    Returns:
        Costs
    """
    rng = np.random.default_rng(seed).spawn(1)[0]
    chosen, paths = source.drawn(n, seed)
    if not paths:
        return _undefined(changes, NO_SCORES)
    slopes = []
    for image in progress(chosen, total=len(chosen), unit="image") if progress else chosen:
        label = None if labels is None else int(labels[image])
        found = source.of(image, paths, partial(score_gradient, rng, label))
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


def score_gradient(rng, label, scores):
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
    if are_values(scores):
        return rng.standard_normal(scores.shape).astype(np.float32)
    p = probabilities(scores)
    drawn = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(max=p.shape[1] - 1)
    y = np.full(1, label) if label is not None and len(p) == 1 else drawn
    chosen = np.eye(p.shape[1])[y]
    gradient = chosen / p if _are_probabilities(_rows(scores)) else chosen - p
    return gradient.reshape(scores.shape).astype(np.float32)


def are_values(scores):
    """Whether scores are single values, as of a regression, and not those of classes."""
    return scores.ndim < 2 or scores.shape[-1] == 1


def probabilities(scores):
    """Return the probabilities of the classes, a (rows, classes) float64 array; scores as for `score_gradient`."""
    rows = _rows(scores)
    p = rows if _are_probabilities(rows) else np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.maximum(p / p.sum(axis=1, keepdims=True), LEAST)


def _rows(scores):
    return scores.reshape(-1, scores.shape[-1]).astype(np.float64)


def _are_probabilities(rows):
    return rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() < 1e-3
