"""Measure the kernels of a PyTorch model on inputs, in one streamed pass."""

import numpy as np

from bnn.analysis.core.checks import ReportError, check_finite, check_images
from bnn.analysis.measuring import as_function, measured, nothing
from bnn.analysis.torch import capture, forms, kernels, probe, scores
from bnn.models.inputs import InputError, mapped, plain


def of_model(model, inputs, quantizer, activations, kernel, *, batch_size, score_images, seed, progress):
    """Measure every kernel of a model that can be analyzed; arguments as for `report.analyze_torch`.

    Returns:
        (reports, unanalyzed, undefined, inputs): list of LayerReport, dict from each other module with a weight to the
        reason, dict from the key of each statistic that is not defined to the reason, and the inputs as NumPy arrays.
    """
    model = _checked(model)
    inputs = _as_arrays(inputs)
    n = check_images(None, inputs, batch_size)
    with capture.evaluating(model):
        found, unanalyzed = kernels.find(model, inputs, as_function(quantizer), kernel)
        name = type(model).__name__
        if not found:
            raise nothing(name, unanalyzed)
        axes = probe.axes(model, found, inputs)

        def stream():
            streamed = capture.stream(model, found, inputs, batch_size, unanalyzed, axes)
            for start, batch in progress(streamed, total=-(-n // batch_size), unit="batch"):
                yield start, min(batch_size, n - start), batch

        def agreement(layers):
            return scores.score_agreement(model, inputs, layers, score_images, batch_size, seed, progress)

        options = as_function(activations, "activations"), seed, agreement if score_images else None
        layers, undefined = measured(name, found, unanalyzed, n, stream, *options)
        return layers, unanalyzed, undefined, inputs


def _checked(model):
    """The model, or the original of a compiled model; `ReportError` if it cannot be analyzed at all."""
    import torch

    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, torch.nn.Module):
        raise ReportError(f"model: expected a torch.nn.Module, received a {type(model).__name__}")
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
    try:
        return mapped(_as_array, plain(inputs))
    except InputError as error:
        raise ReportError(str(error)) from None


def _as_array(values):
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float().numpy() if values.is_floating_point() else values.numpy()
    array = np.asarray(values)
    if not array.ndim:
        raise ReportError(f"images: expected arrays or tensors, received a {type(values).__name__}")
    return array
