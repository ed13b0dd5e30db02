"""A PyTorch model as the analysis sees it."""

import os
from contextlib import contextmanager

import numpy as np

from bnn.analysis.core.adapter import Replacing
from bnn.analysis.core.checks import ReportError, check_finite, check_images
from bnn.analysis.torch import capture, forms, gradients, kernels, probe, scores
from bnn.console.errors import ModelError
from bnn.models import load_images
from bnn.models.inputs import mapped, plain


class TorchAdapter(Replacing):
    """A PyTorch model in evaluation mode with its images; see `core.adapter.Adapter`."""

    wing = gradients

    def __init__(self, model, images, quantizer, kernel, batch_size):
        """Find the kernels of a model with a few images, and check all; arguments as of `core.adapter.Wing`."""
        self.model, self.name = model, type(model).__name__
        self.use(images, batch_size)
        self.products, self.unanalyzed = kernels.find(model, self.images, quantizer, kernel)
        self._axes = probe.axes(model, self.products, self.images) if self.products else {}

    def use(self, images, batch_size):
        """Check images, and let them replace those before; see `core.adapter.Adapter`."""
        self.images = _as_arrays(images)
        check_images(None, self.images, batch_size)

    def stream(self, batch_size):
        """Run the model on the images, and yield the calls of its kernels; see `core.adapter.Adapter`."""
        return capture.stream(self.model, self.products, self.images, batch_size, self.unanalyzed, self._axes)

    def identity(self):
        """Describe the model; see `core.adapter.Adapter`."""
        import torch

        yield repr(self.model)
        for name, values in [*self.model.named_parameters(), *self.model.named_buffers()]:
            yield name
            yield forms.array(torch.view_as_real(values) if values.is_complex() else values)

    def score_agreement(self, layers, n, batch_size, seed, progress):
        """Compare scores with and without one quantizer; see `scores.score_agreement`."""
        return scores.score_agreement(self.model, self.images, layers, n, batch_size, seed, progress)


@contextmanager
def evaluated(model, images, quantizer, kernel, batch_size):
    """Within this context, a model is in evaluation mode; the value is its TorchAdapter."""
    model = _checked(model)
    with capture.evaluating(model):
        yield TorchAdapter(model, images, quantizer, kernel, batch_size)


def _checked(model):
    """The model, or the original of a compiled model; `ReportError` if it cannot be analyzed at all."""
    import torch

    model = getattr(model, "_orig_mod", model)
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ReportError(f"{name or 'model'}: expected a module with hooks, received a scripted one")
    for name, values in [*model.named_parameters(), *model.named_buffers()]:
        if torch.nn.parameter.is_lazy(values):
            raise ReportError(f"{name}: expected a weight, received a lazy one: call the model once")
        if values.is_meta:
            raise ReportError(
                f"{name}: expected values, received a tensor on the meta device, which has none"
            )
    for name, values in model.named_parameters():  # a buffer may be a mask of minus infinity
        values = torch.view_as_real(values) if values.is_complex() else values
        check_finite(name, forms.array(values), "weights")
    return model


def _as_arrays(inputs):
    if isinstance(inputs, str | os.PathLike):
        return load_images(inputs, None)
    try:
        return mapped(_as_array, plain(inputs))
    except ModelError as error:
        raise ReportError(str(error)) from None


def _as_array(values):
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float().numpy() if values.is_floating_point() else values.numpy()
    array = np.asarray(values)
    if not array.ndim:
        raise ReportError(f"images: expected arrays or tensors, received a {type(values).__name__}")
    return array
