"""The effect of one kernel's quantizer on the scores of a PyTorch model: that of the keras wing for modules."""

from contextlib import contextmanager

import numpy as np

from bnn.analysis.core.agreement import ONE_IMAGE, agreements, drawn, other_kernel, taken, unmeasured
from bnn.analysis.torch import capture
from bnn.analysis.torch.forms import COMPUTED, MULTIPLIED, STORED, array, rank_of
from bnn.analysis.torch.holdings import sharing


def score_agreement(model, images, layers, n, batch_size, seed, progress):
    """Correlate the scores of a model with its scores after the kernel of one module has been replaced.

    Arguments and result are as for `keras.scores.score_agreement`, for a torch.nn.Module in evaluation mode.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    batches = drawn(images, n, batch_size, seed, norms)
    if batches is None:
        return unmeasured(layers, _exchange(model), ONE_IMAGE)

    def run(chosen):
        return capture.run(model, taken(images, chosen))

    with _own_moments(norms):
        return agreements(layers, run, batches, _exchange(model), array, progress)


def _exchange(model):
    """A function from a layer to a context in which its kernel is replaced; None if it cannot be."""
    holders = sharing(model)

    def exchanged(layer):
        weight = layer.product.variable
        if weight.role == COMPUTED:
            return None
        if weight.role == STORED:
            return _replaced(layer, holders(weight.tensor) > 1)
        return _other_output(layer, weight.role == MULTIPLIED)

    return exchanged


@contextmanager
def _replaced(layer, in_calls):
    """Within this context, replace the weight by the quantized kernel.

    With `in_calls`, it is replaced only while its own module runs, because other modules share the weight.
    """
    import torch

    product, weight = layer.product, layer.product.variable.tensor
    before = weight.clone()
    other = product.in_shape(other_kernel(layer, True), tuple(weight.shape))
    other = torch.from_numpy(np.ascontiguousarray(other))

    def hold(values):
        with torch.no_grad():
            weight.copy_(values)

    hooks = []
    if in_calls:
        hooks.append(product.layer.register_forward_pre_hook(lambda *_: hold(other)))
        hooks.append(product.layer.register_forward_hook(lambda *_: hold(before), always_call=True))
    else:
        hold(other)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        hold(before)


@contextmanager
def _other_output(layer, quantized):
    """Within this context, change the output of a module to that of the quantized or of the latent kernel."""
    product = layer.product
    kernels = product.kernels
    multiplied = kernels.latent if quantized else kernels.quantized
    change = other_kernel(layer, quantized) - multiplied

    def corrected(module, args, kwargs, output):
        import torch

        seen = capture.seen(module, args, kwargs, output)
        inputs, rank = product.arrange(seen).inputs, rank_of(product.linear)
        more = _flat(product.multiply(inputs, change))
        more = np.moveaxis(more, -1, 1) if rank > 1 else more
        more = torch.from_numpy(np.ascontiguousarray(more))
        if capture.is_real(output):
            return output + more.to(output)
        result = capture.result_of(module, seen, _flat(product.multiply(inputs, multiplied)), rank)
        if result is not None:
            result += more.to(result)  # in place, whatever holds it
        return output

    hook = product.layer.register_forward_hook(corrected, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _flat(products):
    """Products without an axis of groups."""
    return products.reshape(*products.shape[:-2], -1)


@contextmanager
def _own_moments(norms):
    """Within this context, batch norms use the moments of the batch."""
    buffers = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    try:
        for norm in norms:
            norm.training = True
        yield
    finally:
        for norm in norms:
            norm.training = False
        for buffer, before in buffers:
            buffer.copy_(before)
