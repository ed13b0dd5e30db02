"""The numbers that a PyTorch module holds apart from the analyzed kernels, and the reasons that name them."""

import re

import numpy as np

from bnn.analysis.core import holdings
from bnn.analysis.core.holdings import DEPTH, MANY

WEIGHTS = re.compile(
    r"(in_proj_|[qkv]_proj_)?(weight|bias)(_.*)?"
)  # "weight_g", "weight_orig", "weight_hh_l0"
MOMENTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Holdings:
    """What the modules of a model hold.

    Args:
        model: torch.nn.Module.
    """

    def __init__(self, model):
        from torch import nn

        modules = list(model.modules())
        self._modules = {id(module) for module in modules}
        self._storages = {place for module in modules for _, t in _registered(module) if (place := _place(t))}
        self._parts = {*vars(nn.Module()), "_flat_weights", "_flat_weight_refs"}

    def reasons(self, name, module, products):
        """The reasons for numbers of a module, without its inner modules, that no row shows.

        Args:
            name: str, the module's.
            module: torch.nn.Module.
            products: list of Product, the rows of the module.

        Returns:
            Dict from name to reason: the name of the module, or of a tensor in a module with rows.
        """
        if _belongs_to_pytorch(module):
            return {}
        rows = {_place(tensor) for product in products for tensor in product.variable.sources}
        names = [key for key, value in self._held(module) if not _known(module, key, value, products, rows)]
        return holdings.reasons(name, type(module).__name__, names, bool(products), "modules", ".")

    def _held(self, module):
        """Yield (name, tensor, array or unregistered module) of everything in a module that is not small."""
        for key, tensor in _registered(module):
            if tensor.numel() >= MANY or (tensor.dim() > 1 and key in module._parameters):
                yield key, tensor
        for key, value in vars(module).items():
            if key not in self._parts:
                yield from self._within(key, value, DEPTH)

    def _within(self, key, value, depth):
        """Yield what an attribute holds that is registered nowhere in the model."""
        from torch import nn

        if isinstance(value, nn.Module):
            numbers = 0 if id(value) in self._modules else sum(p.numel() for p in value.parameters())
            if numbers >= MANY:
                yield key, value
        elif _is_tensor(value):
            if value.numel() >= MANY and _place(value) not in self._storages:
                yield key, value
        elif isinstance(value, np.ndarray):
            if value.size >= MANY and value.dtype.kind in "biufc":
                yield key, value
        elif depth:
            for inner, part in holdings.parts_of(value, ("torch",)):
                yield from self._within(f"{key}.{inner}", part, depth - 1)


def _registered(module):
    """The (name, tensor) of the parameters and buffers of a module itself."""
    from torch.nn.parameter import is_lazy

    named = [*module._parameters.items(), *module._buffers.items()]
    return [(key, tensor) for key, tensor in named if tensor is not None and not is_lazy(tensor)]


def _is_tensor(value):
    import torch

    return isinstance(value, torch.Tensor)


def _place(tensor):
    """Where the values of a tensor lie; equal for tensors that share them. None where it has no storage."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (RuntimeError, NotImplementedError):  # of subclasses of a tensor
        return None


def sharing(model):
    """A function from a tensor to the number of modules of a model that hold it, or a tensor with its memory."""
    places = [{_place(tensor) for _, tensor in _registered(module)} for module in model.modules()]
    return lambda tensor: sum(_place(tensor) in held for held in places)


def _belongs_to_pytorch(module):
    """Whether it is a part of one of PyTorch's parametrizations, which compute the weight of another module."""
    from torch.nn.utils import parametrize

    cls = type(module)
    return isinstance(module, parametrize.ParametrizationList) or cls.__module__.startswith("torch.nn.utils.")


def _known(module, key, value, products, rows):
    """Whether numbers are a weight or bias of the rows of their module, or parts of a norm."""
    from torch import nn

    norms = (
        nn.modules.batchnorm._NormBase,
        nn.LayerNorm,
        nn.GroupNorm,
        nn.LocalResponseNorm,
        nn.RMSNorm,
        nn.PReLU,
    )
    if isinstance(module, norms):
        return key in MOMENTS
    if not products:
        return False
    return bool(WEIGHTS.fullmatch(key)) or (_is_tensor(value) and _place(value) in rows)
