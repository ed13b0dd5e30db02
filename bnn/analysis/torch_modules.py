"""The kernels in the modules of a PyTorch model, and the reasons for modules that cannot be analyzed."""

from dataclasses import dataclass

import numpy as np

from bnn.analysis import torch_recurrent
from bnn.analysis.capture import Call
from bnn.analysis.linear_maps import Dense
from bnn.analysis.product import Kernels, Product, of_arrays
from bnn.analysis.torch_forms import array, dense_shape, form_of
from bnn.geometry.named_quantizers import SIGN

ATTENTION = ("query", "key", "value")


@dataclass(frozen=True)
class Weight:
    """The source of a kernel: a parameter of a module, or some of its rows.

    Attributes:
        parameter: torch.nn.Parameter.
        rows: slice of its first axis, or None for all.
    """

    parameter: object
    rows: slice | None = None

    @property
    def tensor(self):
        """The values: a tensor that shares the memory of the parameter."""
        values = self.parameter.detach()
        return values if self.rows is None else values[self.rows]

    @property
    def computed(self):
        """Whether it is computed from other parameters, as by weight norm, so that it cannot be replaced."""
        from torch import nn

        return not isinstance(self.parameter, nn.Parameter)


def find(model, quantizer=None, kernel=None):
    """Find the products of a model, in the order of its modules.

    Args:
        model: torch.nn.Module.
        quantizer: function from a (d, units) float32 array to one of the same shape, for plain weights; None: sign.
        kernel: None, or a function from a module that quantizes its own weight to (quantized, latent), tensors in the
            shape of the weight, and to None for other modules.

    Returns:
        (found, refused): list of Product, whose `arrange` takes a torch_capture.Seen and returns a Call, and a dict
        from the name of each other module with a weight to the reason.
    """
    found, refused = [], {}
    for name, module in model.named_modules():
        name = name.replace("._orig_mod", "") or type(module).__name__
        products = _products(name, module, quantizer or SIGN, kernel)
        if isinstance(products, str):
            refused[name] = products
        else:
            found += products
    within = _within_attention(model)  # the module with the output weight is not called itself
    return [product for product in found if id(product.layer) not in within], refused


def _products(name, module, quantizer, kernel):
    """A list of Product, or the reason if there is none."""
    from torch import nn
    from torch.nn.utils import parametrize

    pair = own_kernels(module, kernel)
    if pair is not None:
        return _own(name, module, *pair)
    if not isinstance(module, _plain()) and parametrize.is_parametrized(module):
        return f"a parametrization within a {type(module).__name__} is not analyzed"
    if isinstance(module, nn.MultiheadAttention):
        return _attention(name, module, quantizer)
    if isinstance(module, nn.RNNBase):
        reason = torch_recurrent.reason(module)
        return reason or [
            of_arrays(
                f"{name}/{key}",
                Dense(),
                array(weight).T[:, None],
                quantizer,
                arrange=arrange,
                restore=dense_shape,
                gates=torch_recurrent.gates(module),
                layer=module,
                variable=Weight(weight),
            )
            for key, weight, arrange in torch_recurrent.kernels(module)
        ]
    if type(module) is nn.Embedding:
        latent = array(module.weight).T[:, None]
        return [
            of_arrays(
                name,
                None,
                latent,
                quantizer,
                restore=dense_shape,
                layer=module,
                variable=Weight(module.weight),
            )
        ]
    if isinstance(module, _plain()):
        form = form_of(module, module.weight)
        if isinstance(form, str):
            return form
        return [
            of_arrays(
                name,
                form.linear,
                form.columns(array(module.weight)),
                quantizer,
                arrange=form.arrange,
                restore=form.restore,
                layer=module,
                variable=Weight(module.weight),
            )
        ]
    if _is_quantized(module):
        return "PyTorch has quantized it: its real weights are gone"
    if isinstance(module, parametrize.ParametrizationList):
        return []
    if any(parameter.dim() >= 2 for parameter in module.parameters(recurse=False)):
        return f"a {type(module).__name__} is none of the modules that are analyzed"
    return []


def _is_quantized(module):
    """Whether it keeps integers, which a method converts to numbers."""
    cls = type(module)
    return cls.__module__.startswith("torch.ao.") and (hasattr(cls, "weight") or hasattr(cls, "get_weight"))


def own_kernels(module, kernel):
    """(quantized, latent) tensors of a module that quantizes its weight itself; None for other modules."""
    from torch.nn.utils import parametrize

    pair = kernel(module) if kernel else None
    if pair is not None:
        return pair
    if not parametrize.is_parametrized(module, "weight") or not isinstance(module, _plain()):
        return None
    steps = module.parametrizations.weight
    if all(type(step).__module__.startswith("torch.nn.utils.") for step in steps):
        return None  # such as spectral norm: the weight is computed, but not quantized
    original = getattr(steps, "original", None)
    return None if original is None else (module.weight, original)


def _plain():
    from torch import nn

    transposed = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
    return nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *transposed


def _own(name, module, quantized, latent):
    form = form_of(module, latent)
    if isinstance(form, str):
        return form
    kernels = Kernels(*(np.ascontiguousarray(form.columns(array(k))) for k in (quantized, latent)))
    quantizer = _known(kernels)
    scalar = SIGN if quantizer is SIGN else None
    return [Product(name, form.linear, kernels, quantizer, scalar, module, None, form.arrange)]


def _known(kernels):
    """The quantizer of a kernel that is quantized elsewhere, inferred from its values: none, sign, or unknown."""
    quantized, latent = kernels
    if np.array_equal(quantized, latent):
        return None
    sizes = np.abs(quantized)
    signs = np.array_equal(quantized >= 0, latent >= 0) and np.allclose(sizes, sizes[:1]) and sizes.all()
    return SIGN if signs else unknown


def unknown(columns):
    """A quantizer of which only one result is known, so r_rotated is not defined."""
    return np.full_like(columns, np.nan)


def _within_attention(model):
    from torch import nn

    return {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}


def _attention(name, module, quantizer):
    if module.bias_k is not None or module.add_zero_attn:
        return "it adds keys and values of its own"
    if module.in_proj_weight is None:
        weights = [Weight(getattr(module, f"{letter}_proj_weight")) for letter in "qkv"]
    else:
        e = module.embed_dim
        weights = [Weight(module.in_proj_weight, slice(i * e, (i + 1) * e)) for i in range(3)]
    rows = [(part, weight, _attended(module, part)) for part, weight in zip(ATTENTION, weights, strict=True)]
    rows.append(("output", Weight(module.out_proj.weight), lambda seen: Call(_heads(module, seen))))
    return [
        of_arrays(
            f"{name}/{part}",
            Dense(),
            array(weight.tensor).T[:, None],
            quantizer,
            arrange=arrange,
            restore=dense_shape,
            layer=module,
            variable=weight,
        )
        for part, weight, arrange in rows
    ]


def _attended(module, part):
    """The inputs of the kernel of the query, key or value, without keys that a mask removes."""

    def arrange(seen):
        inputs = array(seen.arguments[part])
        inputs = _images_first(module, inputs)
        mask = seen.arguments.get("key_padding_mask")
        if mask is None or part == "query":
            return Call(inputs)
        mask = mask.detach().cpu().numpy()
        kept = ~mask if mask.dtype == bool else mask == 0
        return Call(inputs[kept], None, kept)

    return arrange


def _heads(module, seen):
    """The inputs of the output kernel, computed by the layer itself with the identity as output kernel."""
    import torch

    projection = module.out_proj
    weight, bias = projection.weight.data, None if projection.bias is None else projection.bias.data
    try:
        projection.weight.data = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        if bias is not None:
            projection.bias.data = torch.zeros_like(bias)
        heads = module.forward(**seen.arguments)[0]
    finally:
        projection.weight.data = weight
        if bias is not None:
            projection.bias.data = bias
    return _images_first(module, array(heads))


def _images_first(module, values):
    return values if module.batch_first or values.ndim == 2 else values.swapaxes(0, 1)
