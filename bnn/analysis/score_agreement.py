"""The effect of one layer's quantizer on the whole network: its scores with and without the quantizer."""

import math
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from bnn.analysis.product import Kernels, float32
from bnn.console import silent
from bnn.geometry import CorrelationStatistics
from bnn.models.batch_norm import batch_norms
from bnn.models.evaluation import as_built
from bnn.models.traversal import wrapped_calls

SCORES = 1000  # the largest number of scores per image and output


def score_agreement(model, images, layers, n=100, batch_size=50, seed=0, progress=silent):
    """Correlate the scores of a model with its scores after the kernel of one layer has been replaced.

    A real kernel is replaced by its quantized kernel. If the layer itself quantizes its kernel, the latent kernel
    replaces the quantized one. The new kernel is scaled by the slope of the least-squares line through the layer's
    dot products. Batch norm uses the moments of each batch before and after the replacement, or its usual moments
    if it is frozen. Over the layers of six networks that were trained in full precision, this correlation ranked
    the loss of accuracy. The statistics of a layer's own dot products did not: see results/experiments/README.md.

    Args:
        model: keras.Model. It is restored afterwards.
        images: (n, ...) array, or a list or dict of such arrays.
        layers: list of LayerGeometry or LayerReport of the model, with data.
        n: int, the largest number of images to use. They are drawn at random and in random order, because a batch of
            one class has other moments than all images.
        batch_size: int, the largest number of images per batch. The batches are as equal as possible.
        seed: int, the seed of the draw.
        progress: function that shows progress over the layers, such as `console.progress`.

    Returns:
        List of float in [-1, 1], one per layer: the correlation over all scores of all drawn images, as the mean over
        the outputs of the model. If an image has more than 1,000 scores, evenly spaced scores are used. The value is
        NaN if the scores do not vary, None if the kernel is not a variable that can be replaced, and 1 if the kernel
        is not quantized.
    """
    batches = drawn(images, n, batch_size, seed)
    with _own_moments(model):
        return agreements(layers, lambda: _scores(model, images, batches), _exchanged, progress)


def agreements(layers, scores, exchanged, progress):
    """Compare the scores of a network with its scores after the kernel of each layer has been replaced.

    Args:
        layers: list of LayerGeometry or LayerReport.
        scores: function that computes the scores, a list with one (n, scores) array per output.
        exchanged: function from a layer to a context in which its kernel is replaced; None if it cannot be.
        progress: function that shows progress over the layers.

    Returns:
        List of float or None, as of `score_agreement`.
    """
    found, before = [], scores()
    for layer in progress(layers, total=len(layers), unit="layer"):
        context = exchanged(layer)
        if layer.product.quantizer is None:
            found.append(1.0)
        elif context is None:
            found.append(None)
        else:
            with context:
                found.append(_agreement(before, scores()))
    return found


def drawn(images, n, batch_size, seed):
    """Draw the indices of at most n images, a list with one array per batch."""
    chosen = np.random.default_rng(seed).permutation(len(keras.tree.flatten(images)[0]))[:n]
    return np.array_split(chosen, math.ceil(len(chosen) / batch_size))


def _scores(model, images, batches):
    """Compute a list with one (n, scores) array per output."""
    parts = []
    for chosen in batches:
        batch = taken(images, chosen)
        parts.append(keras.tree.flatten(model(as_built(model, batch), training=False)))
    return [
        np.concatenate([thinned(float32(part)) for part in output]) for output in zip(*parts, strict=True)
    ]


def taken(images, places):
    """Select images of one or several arrays with slices, because every type of array supports slices."""
    return keras.tree.map_structure(
        lambda array: np.concatenate([np.asarray(array[i : i + 1]) for i in places]), images
    )


def thinned(output):
    """An (n, ...) array of scores as (n, scores), evenly spaced ones if there are many."""
    rows = output.reshape(len(output), -1)
    return rows[:, :: -(-rows.shape[1] // SCORES)]


def _agreement(before, after):
    pairs = zip(before, after, strict=True)
    return float(np.mean([CorrelationStatistics().update(x, y).r for x, y in pairs]))


def _exchanged(layer):
    return None if layer.product.variable is None else _replaced(layer)


@contextmanager
def _replaced(layer):
    """Make the model multiply by the layer's other kernel within this context."""
    owner, variable = layer.product.layer, layer.product.variable
    own = getattr(owner, "kernel_quantizer", None)
    with _restored([variable]):
        variable.assign(layer.product.in_shape(other_kernel(layer, own is None), variable.shape))
        if own is not None:
            owner.kernel_quantizer = None
        try:
            yield
        finally:
            if own is not None:
                owner.kernel_quantizer = own


def other_kernel(layer, quantized):
    """Scale the quantized kernel of a LayerGeometry or LayerReport to fit the latent one, or the other way round.

    An embedding is fitted itself; it has no dot products.
    """
    kernels = layer.product.kernels
    pairs = layer.weights if layer.product.linear else CorrelationStatistics().update(*kernels)
    std = Kernels(*pairs.std)
    if quantized:
        return _fitted(kernels.quantized, std.quantized, std.latent, pairs.r)
    return _fitted(kernels.latent, std.latent, std.quantized, pairs.r)


def _fitted(kernel, std, others, r):
    """Scale a kernel whose dot products have deviation `std` to the least-squares fit of those with `others`."""
    scale = r * others / std if std and others else 1.0
    return kernel * np.float32(scale)


@contextmanager
def _own_moments(model):
    """Make every batch norm use the moments of the batch within this context, with all other layers in inference."""
    norms = batch_norms(model)

    def in_training(_, call):
        return lambda inputs, training=False, **options: call(inputs, training=True, **options)

    with _restored([v for norm in norms for v in norm.variables]), wrapped_calls(norms, in_training):
        yield


@contextmanager
def _restored(variables):
    """Restore the values of variables at the end of this context."""
    values = [ops.copy(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
