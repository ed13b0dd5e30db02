"""A PyTorch model and its quantized copy."""

import copy
from contextlib import ExitStack, contextmanager

import numpy as np

from bnn.analysis.core import outputs
from bnn.analysis.core.agreement import taken
from bnn.analysis.core.checks import ReportError
from bnn.analysis.torch import capture, kernels
from bnn.analysis.torch.adapter import evaluated
from bnn.analysis.torch.forms import STORED, array
from bnn.analysis.torch.holdings import sharing
from bnn.geometry.named_quantizers import SIGN
from bnn.models.inputs import count


@contextmanager
def opened(model, images, batch_size):
    """The TorchNetwork of a model with its images; both models are in evaluation mode within the context."""
    model = getattr(model, "_orig_mod", model)
    try:
        other = copy.deepcopy(model)
    except Exception as error:  # of a module of the user
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ReportError(
            f"model: expected a module that copy.deepcopy copies, received its error: {reason}"
        ) from error
    with ExitStack() as stack:
        adapters = [
            stack.enter_context(evaluated(one, images, SIGN, None, batch_size)) for one in (model, other)
        ]
        yield TorchNetwork(other, adapters)


class TorchNetwork:
    """A PyTorch model and its copy, whose kernels are replaced; methods and attributes are as of `KerasNetwork`."""

    def __init__(self, other, adapters):
        from torch.nn.modules.batchnorm import _BatchNorm

        self.copy, self.adapters, self.images = other, adapters, adapters[0].images
        self._norms = [module for module in other.modules() if isinstance(module, _BatchNorm)]
        self.norms, self._holders = bool(self._norms), sharing(other)

    def find(self):
        """See `KerasNetwork.find`."""
        return kernels.find(self.copy, self.images, SIGN, None)[0]

    def refusal(self, product):
        """See `KerasNetwork.refusal`."""
        if product.variable.role != STORED:
            return "its weight is computed from others"
        return "another module shares its weight" if self._holders(product.variable.tensor) > 1 else None

    def order(self, found):
        """See `KerasNetwork.order`."""
        names, called, given, normed = {}, [], {}, set()
        for product in found:
            names.setdefault(id(product.layer), []).append(product.name)

        def heard(module, _, output):
            called.append(id(module))
            given[id(output)] = names[id(module)], output  # kept, so that no other tensor gets the id

        def about_to(_, args):
            normed.update(given.get(id(args[0]), ((), None))[0] if args else ())

        modules = {id(product.layer): product.layer for product in found}
        hooks = [module.register_forward_hook(heard) for module in modules.values()]
        hooks += [norm.register_forward_pre_hook(about_to) for norm in self._norms]
        try:
            capture.run(self.copy, taken(self.images, range(min(2, count(self.images)))))
        finally:
            for hook in hooks:
                hook.remove()
        return [name for key in dict.fromkeys(called) for name in names[key]], normed

    def bias(self, product):
        """See `KerasNetwork.bias`."""
        import torch

        module, units = product.layer, product.columns.latent.shape[1]
        bias = getattr(module, "bias", None)
        within = isinstance(module, torch.nn.MultiheadAttention | torch.nn.RNNBase)
        return bias if not within and isinstance(bias, torch.Tensor) and bias.shape == (units,) else None

    def assign(self, product, kernel, shift):
        """See `KerasNetwork.assign`."""
        import torch

        weight, bias = product.variable.tensor, self.bias(product)
        weight.copy_(torch.from_numpy(np.ascontiguousarray(product.in_shape(kernel, tuple(weight.shape)))))
        if bias is not None:
            bias += torch.from_numpy(np.asarray(shift)).to(bias)

    def refit(self, images, batch_size):
        """Replace the moving averages of the batch norms of the copy by the moments of images."""
        import torch

        sums = {}

        def add(norm, args):
            x = args[0].detach().double().transpose(0, 1).reshape(args[0].shape[1], -1)
            n, mean, scatter = x.shape[1], x.mean(1), x.var(1, unbiased=False) * x.shape[1]
            count_, mean_, scatter_ = sums.get(norm, (0, torch.zeros_like(mean), torch.zeros_like(mean)))
            total, delta = count_ + n, mean - mean_
            sums[norm] = total, mean_ + delta * n / total, scatter_ + scatter + delta**2 * count_ * n / total

        norms = [norm for norm in self._norms if norm.running_mean is not None]
        before = [norm.num_batches_tracked.clone() for norm in norms]
        hooks = [norm.register_forward_pre_hook(add) for norm in norms]
        n = count(images)
        try:
            for norm in norms:
                norm.training = True
            for chosen in np.array_split(np.arange(n), max(1, n // max(2, batch_size))):
                capture.run(self.copy, taken(images, chosen))
        finally:
            for hook, norm, tracked in zip(hooks, norms, before, strict=True):
                hook.remove()
                norm.training = False
                norm.num_batches_tracked.copy_(tracked)
        for norm, (total, mean, scatter) in sums.items():
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(scatter / total)

    def outputs(self, which, chosen):
        """See `KerasNetwork.outputs`."""
        result = capture.run(self.adapters[which].model, taken(self.images, chosen))
        return {
            key: array(tensor) for key, tensor in outputs.tensors(result).items() if not tensor.is_complex()
        }
