"""What a layer's quantizer means to the whole network: its scores with that quantizer and without."""

import math
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from bnn.analysis.capture import wrapped_calls
from bnn.analysis.kernel_products import Kernels
from bnn.console import silent
from bnn.geometry import CorrelationStatistics
from bnn.layers import BatchNorm
from bnn.models import walk
from bnn.models.evaluation import as_built

SCORES = 1000  # of an image, of each output, at most


def score_agreement(model, images, layers, n=100, batch_size=50, seed=0, progress=silent):
    """Correlations of a model's scores with those that it gives after the kernel of one layer is exchanged.

    A real kernel is exchanged for its quantized one, one that the layer quantizes itself for the latent one, scaled
    so that the squared difference of the layer's dot products is least. Batch norm normalizes by each batch's own
    moments before and after, or as it always does where it is frozen. Over the layers of six networks trained in full
    precision this ranked the accuracy lost, which the statistics of the layer's own dot products did not: see
    results/README.md.

    Args:
        model: keras.Model; it is left as it was.
        images: (n, ...) array, or a list or dict of these.
        layers: list of LayerGeometry or LayerReport of the model, with data.
        n: how many of the images to take, at most: drawn at random, and in random order, because the moments of a
            batch of one class are not those of all.
        batch_size: images at a time, at most; batches are as equal as can be.
        seed: of the draw.
        progress: shows progress over the layers, as `console.progress` does.

    Returns:
        list of float in [-1, 1], one for each layer: over all scores of all images drawn, evenly spaced ones of an
        image with more than 1,000; the mean over the model's outputs. NaN where scores do not vary; None where the
        kernel is no variable that could be exchanged. 1 for a kernel that nothing quantizes.
    """
    agreements, batches = [], _drawn(images, n, batch_size, np.random.default_rng(seed))
    with _own_moments(model):
        before = _scores(model, images, batches)
        for layer in progress(layers, total=len(layers), unit="layer"):
            if layer.product.quantizer is None:
                agreements.append(1.0)
            elif layer.product.variable is None:
                agreements.append(None)
            else:
                with _exchanged(layer):
                    agreements.append(_agreement(before, _scores(model, images, batches)))
    return agreements


def _drawn(images, n, batch_size, rng):
    """Indices of at most n images, a list with an array for each batch."""
    chosen = rng.permutation(len(keras.tree.flatten(images)[0]))[:n]
    return np.array_split(chosen, math.ceil(len(chosen) / batch_size))


def _scores(model, images, batches):
    """A list with, for each output, an (n, scores) array."""
    parts = []
    for chosen in batches:
        batch = keras.tree.map_structure(lambda array, places=chosen: _taken(array, places), images)
        parts.append(keras.tree.flatten(model(as_built(model, batch), training=False)))
    return [np.concatenate([_thinned(part) for part in output]) for output in zip(*parts, strict=True)]


def _taken(array, places):
    """Some of the images; by slices, which every kind of array knows."""
    return np.concatenate([np.asarray(array[i : i + 1]) for i in places])


def _thinned(output):
    rows = ops.convert_to_numpy(ops.cast(output, "float32")).reshape(len(output), -1)
    return rows[:, :: -(-rows.shape[1] // SCORES)]


def _agreement(before, after):
    pairs = zip(before, after, strict=True)
    return float(np.mean([CorrelationStatistics().update(x, y).r for x, y in pairs]))


@contextmanager
def _exchanged(layer):
    """While it lasts, the model multiplies by the layer's other kernel."""
    owner, variable = layer.product.layer, layer.product.variable
    own = getattr(owner, "kernel_quantizer", None)
    kernels, std = layer.product.kernels, Kernels(*layer.weights.std)
    if own is None:
        other = _fitted(kernels.quantized, std.quantized, std.latent, layer.weights.r)
    else:
        other = _fitted(kernels.latent, std.latent, std.quantized, layer.weights.r)
    with _restored([variable]):
        variable.assign(other.reshape(variable.shape))
        if own is not None:
            owner.kernel_quantizer = None
        try:
            yield
        finally:
            if own is not None:
                owner.kernel_quantizer = own


def _fitted(kernel, std, others, r):
    """A kernel whose dot products have spread `std`, scaled so that they are nearest to those of spread `others`."""
    scale = r * others / std if std and others else 1.0
    return kernel * np.float32(scale)


@contextmanager
def _own_moments(model):
    """While it lasts, every batch norm normalizes by its batch's moments, and everything else is in inference."""
    norms = [n for _, n in walk(model) if isinstance(n, BatchNorm | keras.layers.BatchNormalization)]

    def in_training(_, call):
        return lambda inputs, training=False, **options: call(inputs, training=True, **options)

    with _restored([v for norm in norms for v in norm.variables]), wrapped_calls(norms, in_training):
        yield


@contextmanager
def _restored(variables):
    """At its end, the variables have the values of its beginning."""
    values = [ops.copy(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
