"""The effect of one kernel's quantizer on the whole network: its scores with and without the quantizer."""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from bnn.analysis.core import outputs
from bnn.analysis.core.product import Kernels
from bnn.geometry import CorrelationStatistics
from bnn.models.inputs import count, mapped

SCORES = 1000  # the largest number of scores per image and output
BATCH = 50  # images whose moments a batch norm uses: `batch_size` is only about memory
ONE_IMAGE = "batch norm uses the moments of a batch, which one image does not have"
NO_SCORES = "no output of the network is an array of numbers with the images on its first axis"
NOTHING = np.empty(0, np.float32)
CONSTANT = "the scores do not vary, or are not finite"


class Agreements(NamedTuple):
    """The results of `score_agreement`.

    Attributes:
        values: list of float or None, one per layer.
        reason: str, why values are NaN for all quantized kernels; None if they are not.
    """

    values: list
    reason: str | None = None


def agreements(layers, run, batches, exchanged, as_array, progress):
    """Compare the scores of a network with its scores after the kernel of each layer has been replaced.

    Args:
        layers: list of LayerGeometry or LayerReport.
        run: function from the indices of images to the output of the network.
        batches: list of arrays of indices.
        exchanged: function from a layer to a context in which its kernel is replaced; None if it cannot be.
        as_array: function from a tensor of the output to a float32 array.
        progress: function that shows progress over the layers.

    Returns:
        Agreements
    """
    before = _scores(run, batches, as_array)
    varying = {
        path: scores for path, scores in before.items() if not math.isnan(_correlation(scores, scores))
    }
    if not varying:
        return unmeasured(layers, exchanged, CONSTANT if before else NO_SCORES)
    found = []
    for layer in progress(layers, total=len(layers), unit="layer"):
        context = exchanged(layer)
        if layer.product.quantizer is None or context is None:
            found.append(_without_scores(layer, exchanged))
            continue
        with context:
            after = _scores(run, batches, as_array, list(varying))
        found.append(float(np.mean([_correlation(varying[path], after[path]) for path in varying])))
    return Agreements(found)


def unmeasured(layers, exchanged, reason):
    """The Agreements of a network whose scores cannot be compared."""
    values = [_without_scores(layer, exchanged) for layer in layers]
    return Agreements(values, reason if any(map(np.isnan, filter(None, values))) else None)


def _without_scores(layer, exchanged):
    """1 for a kernel that is not quantized, None for one that cannot be replaced, else NaN."""
    if layer.product.quantizer is None:
        return 1.0
    return None if exchanged(layer) is None else math.nan


def drawn(images, n, batch_size, seed, norms):
    """Draw the indices of at most n images, a list with one array per batch; None if `norms` would get one image."""
    chosen = np.random.default_rng(seed).permutation(count(images))[:n]
    if norms and len(chosen) < 2:
        return None
    most = BATCH if norms else min(batch_size, BATCH)
    return np.array_split(chosen, math.ceil(len(chosen) / most))


def taken(images, places):
    """Select images of one or several arrays with slices, because every type of array supports slices."""
    return mapped(lambda array: np.concatenate([np.asarray(array[i : i + 1]) for i in places]), images)


def _scores(run, batches, as_array, paths=None):
    """A dict from the path of each output that is scores to a flat array; `paths` None: find these outputs."""
    parts = []
    for chosen in batches:
        output = outputs.tensors(run(chosen))
        if paths is None:
            paths = outputs.scores(output, len(chosen), partial(_of_another_size, run, chosen, output))
        parts.append({path: _thinned(as_array(output[path])) for path in paths if path in output})
    return {path: np.concatenate([part.get(path, NOTHING) for part in parts]) for path in paths}


def _of_another_size(run, chosen, output):
    """The tensors in the output for another number of images, and that number."""
    number = 3 if len(chosen) == 2 else 2
    try:
        return outputs.tensors(run(np.resize(chosen, number))), number
    except Exception:  # of the backend or of the model, which may have a fixed number of images
        return output, len(chosen)


def _thinned(output):
    """Flatten an (n, ...) array of scores; of many per image, to evenly spaced ones."""
    rows = output.reshape(len(output), -1)
    return rows[:, :: -(-rows.shape[1] // SCORES)].ravel()


def _correlation(before, after):
    return CorrelationStatistics().update(before, after).r if before.shape == after.shape else math.nan


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
