"""From a measurement to a decision: the levels of every kernel of a network for a given number of bits per weight.

The prediction is of second order and adds up over layers. Do not trust it where the measured divergence is several
times larger, as with one or two bits in all layers: use `bnn.binarize`, or train the network with its quantizers.
"""

import os
from contextlib import contextmanager

from bnn import backend
from bnn.analysis.core import assignment
from bnn.analysis.core.checks import checked_labels
from bnn.analysis.report import wing
from bnn.console import silent


def assign_levels(model, images, budget, *, cost_images=100, labels=None, seed=0, progress=silent):
    """Choose how many levels each kernel of a network in full precision gets, for a number of bits per weight.

    The choice has the smallest sum of predicted costs, see `cost` in docs/statistics.md. The model is not changed. It
    runs once with the chosen levels, so that the sum can be compared with the divergence that was measured.

    Args:
        model: keras.Model, torch.nn.Module, or str or Path of a .keras file.
        images: as for `bnn.analyze`.
        budget: float, the largest mean of bits per weight, from 1 to 32. A weight with k levels has log2 k bits, and a
            real one 32; scales, biases and norms do not count.
        cost_images: int, the largest number of images, drawn at random.
        labels: (images,) array_like of int, as for `bnn.analyze`.
        seed: seed of the draws.
        progress: function that shows progress, such as `console.progress`.

    Returns:
        Assignment

    Raises:
        ReportError: the budget is out of range, every kernel has a quantizer of its own, there are no scores, they have
            no derivative by a kernel, or as for `bnn.analyze`.
        ModelError: the file cannot be read.
    """
    with _adapted(model, images) as adapter:
        chosen = checked_labels(labels, adapter.images)
        return assignment.assign(adapter, budget, cost_images, seed, chosen, progress)


def apply_levels(model, images, levels):
    """Quantize the kernels of a model in place, as `assign_levels` does.

    Args:
        model: as for `assign_levels`.
        images: as for `assign_levels`; they show which kernels the model has.
        levels: Assignment, or dict from the name of a layer to its number of levels, or None for a real kernel.

    Returns:
        The model, quantized; a file stays as it is.

    Raises:
        ReportError: a layer does not exist or has a quantizer of its own, or a number of levels is not 2 to 256.
    """
    levels = levels.levels() if isinstance(levels, assignment.Assignment) else dict(levels)
    with _adapted(model, images) as adapter:
        assignment.apply(adapter, levels)
        return adapter.model


@contextmanager
def _adapted(model, images):
    if isinstance(model, str | os.PathLike):
        backend.load()
        from bnn.models.loading import load_model

        model = load_model(model)
    with wing(model).adapted(model, images, None, None, 50) as adapter:
        yield adapter
