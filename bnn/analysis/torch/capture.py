"""The inputs of a PyTorch model's kernels, batch by batch, read with forward hooks."""

import inspect
import math
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from bnn.analysis.core import outputs
from bnn.analysis.core.checks import ReportError
from bnn.analysis.core.linear_maps import Dense
from bnn.analysis.core.product import Call
from bnn.analysis.torch.forms import COMPUTED, LATENT, STORED, array, rank_of
from bnn.models.inputs import count, mapped

NOT_FIRST = "the first axis of its inputs is not that of the images"
CLOSE = 0.01  # the relative difference that rounding in float16 and bfloat16 can cause


class Seen(NamedTuple):
    """One call of a module.

    Attributes:
        arguments: dict, the arguments of its `forward`.
        output: the result of its `forward`.
    """

    arguments: dict
    output: object

    @property
    def inputs(self):
        """The first argument of the call."""
        return next(iter(self.arguments.values()))


def stream(model, found, images, batch_size, unanalyzed, axes):
    """Run a model on images and yield the inputs of its products, as `capture.stream` does.

    Args:
        model: torch.nn.Module in evaluation mode.
        found: list of Product, from `kernels.find`.
        images: (n, ...) array, or a list or dict of these.
        batch_size: int, number of images at a time.
        unanalyzed: dict, to which modules are added that do not multiply their input by their kernel.
        axes: dict from `probe.axes`, the axis of the images in each call.

    Yields:
        For each batch (first image's index, list with, for each product, its list of Call).
    """
    for start in range(0, count(images), batch_size):
        batch = mapped(lambda a, at=start: a[at : at + batch_size], images)
        calls = {id(product): [] for product in found}
        with _listening(found, calls, unanalyzed, axes):
            run(model, batch)
        yield start, [calls[id(product)] for product in found]


def run(model, batch):
    """Run a model on a batch of arrays, which are converted to the device and precision of its parameters.

    Raises:
        ReportError: the model does not accept them.
    """
    import torch

    first = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(1))

    def given(values):
        tensor = torch.as_tensor(np.require(values, requirements="W")).to(first.device)
        return tensor.to(first.dtype) if tensor.is_floating_point() else tensor

    batch = mapped(given, batch)
    try:
        if isinstance(batch, dict):
            return model(**batch)
        return model(*batch) if isinstance(batch, list | tuple) else model(batch)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ReportError(
            f"images: expected inputs that the model accepts, received its error: {reason}"
        ) from error


def seen(module, args, kwargs, output):
    """Make a Seen from the arguments of a forward hook."""
    return Seen(dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments), output)


@contextmanager
def _listening(found, calls, unanalyzed, axes):
    """Within this context, record the inputs of every product in each call of its module."""
    products = {}
    for product in found:
        if product.linear is not None:
            products.setdefault(id(product.layer), []).append(product)

    def heard(module, args, kwargs, output):
        noticed = seen(module, args, kwargs, output)
        for product in products[id(module)]:
            if product.name in unanalyzed:
                continue
            number, places = len(calls[id(product)]), axes.get(product.name, [])
            call = _call(product, noticed, places[number] if number < len(places) else 0)
            if isinstance(call, str):
                unanalyzed[product.name] = call
            else:
                calls[id(product)].append(call)

    modules = {id(product.layer): product.layer for product in found}
    hooks = [modules[key].register_forward_hook(heard, with_kwargs=True) for key in products]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _call(product, noticed, axis):
    """What a kernel multiplies in one call of its module, images first; or the reason if it is unknown."""
    within = "/" in product.name  # attention and recurrent modules, which know their arguments
    if not within and not is_real(noticed.inputs):
        return f"its first argument is {_described(noticed.inputs)}: expected a tensor of real numbers"
    call = product.arrange(noticed)
    if reason := _misfit(product, call.inputs) or (None if within else _unlike(product, call, noticed)):
        return reason
    if axis is None or (axis and not isinstance(product.linear, Dense)):
        return "none of the axes of its inputs is that of the images" if axis is None else NOT_FIRST
    return call if not axis else Call(np.moveaxis(call.inputs, axis, 0))


def is_real(tensor):
    """Whether it is a tensor of real numbers."""
    return hasattr(tensor, "detach") and not tensor.is_complex()


def _described(value):
    return "complex" if hasattr(value, "detach") else f"a {type(value).__name__}"


def _misfit(product, inputs):
    """The reason if a kernel does not have the shape that its inputs ask for, else None."""
    d, groups, _ = product.kernels.latent.shape
    channels = d * groups // math.prod(getattr(product.linear, "kernel_size", ()))
    if inputs.ndim > rank_of(product.linear) and inputs.shape[-1] == channels:
        return None
    shape = tuple(product.variable.tensor.shape)
    return f"its weight of shape {shape} is not that of a product with its inputs of shape {inputs.shape}"


def _unlike(product, call, noticed):
    """The reason if the output of a module is not its input times its kernel, plus its bias; else None."""
    module, latent = product.layer, product.variable.role != LATENT
    if _is_pytorchs(module) and product.variable.role in (STORED, COMPUTED):
        return None
    kernel = product.kernels.latent if latent else product.kernels.quantized
    products = product.multiply(call.inputs, kernel)
    products = products.reshape(*products.shape[:-2], -1)
    if result_of(module, noticed, products, rank_of(product.linear)) is not None:
        return None
    which = "its weight" if latent else "the quantized kernel"
    return (
        f"a {type(module).__name__} whose output is not its input times {which}: say by kernel= what it multiplies "
        "by, and quantize its input in a module of its own"
    )


def result_of(module, noticed, products, rank=1):
    """Find the tensor in the output of a module that is the given products, with or without its bias.

    Args:
        module: torch.nn.Module.
        noticed: Seen. The output may be a tensor, or a tuple, list, Mapping or data class that holds it, as of modules
            that also return their bias or a state.
        products: (..., units) float32 array, channels last.
        rank: int, the number of axes of one input.

    Returns:
        torch.Tensor, or None if there is none.
    """
    bias, expected = getattr(module, "bias", None), [products]
    if is_real(bias) and bias.dim() <= 1 and bias.numel() in (1, products.shape[-1]):
        expected = [products + array(bias), products]
    for tensor in filter(is_real, outputs.tensors(noticed.output).values()):
        values = array(tensor)
        values = np.moveaxis(values, 1, -1) if rank > 1 and values.ndim == rank + 1 else values
        if any(_equal(values, one) for one in expected):
            return tensor
    return None


def _equal(values, products):
    if values.shape != products.shape:
        return False
    return np.linalg.norm(values - products) <= CLOSE * np.linalg.norm(values)


def _is_pytorchs(module):
    return type(module).__module__.startswith("torch.")


@contextmanager
def evaluating(model):
    """Within this context, a model is in evaluation mode, without gradients and fused operations that skip modules.

    Raises:
        ReportError: it has no evaluation mode, like a program that `torch.export` made.
    """
    import torch

    modes, fast = (
        {module: module.training for module in model.modules()},
        torch.backends.mha.get_fastpath_enabled(),
    )
    try:
        model.eval()
    except NotImplementedError as error:
        kind = type(model).__name__
        raise ReportError(f"model: expected one that can be set to evaluation, received a {kind}") from error
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes.items():
            module.training = mode
