"""What a few images show of a PyTorch model: what its modules multiply by, and which axis the images are on."""

import numpy as np

from bnn.analysis.core.checks import ReportError
from bnn.analysis.torch import capture
from bnn.analysis.torch.forms import array
from bnn.models import inputs

COUNTS = 2, 3  # images in the two batches that show the axis


def first_calls(model, modules, images):
    """Run a model on two images.

    Returns:
        Dict from the id of each of the modules that was called to the capture.Seen of its first call.
    """
    seen = {}

    def heard(module, args, kwargs, output):
        seen.setdefault(id(module), capture.seen(module, args, kwargs, output))

    hooks = [module.register_forward_hook(heard, with_kwargs=True) for module in modules]
    try:
        if modules:
            capture.run(model, _few(images, COUNTS[0]))
    except ReportError:
        return {}  # a model of a fixed number of images; others fail later
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def multiplies(module, weight, seen):
    """Whether a module multiplies by a weight as it is or turned.

    Args:
        module: torch.nn.Module.
        weight: torch.Tensor of two axes.
        seen: capture.Seen.

    Returns:
        bool, whether the weight is (d, units), as in GPT-2's Conv1D, and not (units, d); None if the output holds
        neither product, with or without the bias.
    """
    if not capture.is_real(seen.inputs):
        return None
    inputs, kernel = array(seen.inputs), array(weight)
    for turned, columns in ((False, kernel.T), (True, kernel)):
        fits = inputs.shape[-1:] == columns.shape[:1]
        if fits and capture.result_of(module, seen, inputs @ columns) is not None:
            return turned
    return None


def axes(model, found, images):
    """Find the axis of the images in what each kernel multiplies, with two batches of another size.

    Returns:
        Dict from the name of each Product to a list with the axis for each of its calls, None where no axis grows with
        the number of images. It is empty if the model takes a fixed number of images.
    """
    try:
        shapes = [_shapes(model, found, _few(images, count)) for count in COUNTS]
    except ReportError:
        return {}
    return {
        key: [_axis(*pair) for pair in zip(first, shapes[1][key], strict=False)]
        for key, first in shapes[0].items()
    }


def _shapes(model, found, batch):
    """The shapes of the inputs in every call of each product, a dict of lists; None for a call with a mask."""
    ((_, calls),) = capture.stream(model, found, batch, COUNTS[-1], {}, {})
    return {
        product.name: [None if call.kept is not None else call.inputs.shape for call in heard]
        for product, heard in zip(found, calls, strict=True)
    }


def _axis(first, second):
    if first is None or second is None or len(first) != len(second):
        return 0
    grown = [
        axis
        for axis, (one, other) in enumerate(zip(first[:-1], second[:-1], strict=True))
        if one * COUNTS[1] == other * COUNTS[0]
    ]
    return grown[0] if grown else None


def _few(images, count):
    """The first images, repeated if there are fewer."""
    n = inputs.count(images)
    return inputs.mapped(lambda values: values[np.arange(count) % n], images)
