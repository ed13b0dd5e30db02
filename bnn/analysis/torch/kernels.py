"""The kernels in the modules of a PyTorch model, and the reasons for modules that cannot be analyzed."""

import numpy as np

from bnn.analysis.core.linear_maps import Dense
from bnn.analysis.core.product import Call, Kernels, Product, of_arrays, unknown
from bnn.analysis.torch import recurrent
from bnn.analysis.torch.forms import LATENT, MULTIPLIED, Weight, array, dense_shape, form_of, unreal
from bnn.analysis.torch.holdings import Holdings
from bnn.analysis.torch.probe import first_calls, multiplies
from bnn.geometry.named_quantizers import SIGN

ATTENTION = ("query", "key", "value")


def find(model, images, quantizer=None, kernel=None):
    """Find the products of a model, in the order of its modules.

    Args:
        model: torch.nn.Module in evaluation mode.
        images: (n, ...) array, or a list or dict of these; a few show what modules of other classes multiply.
        quantizer: function from a (d, units) float32 array to one of the same shape, for plain weights; None: sign.
        kernel: None, or a function from a module to (quantized, latent), tensors in the shape of its weight, to one
            tensor, by which it multiplies, and to None for other modules.

    Returns:
        (found, refused): list of Product, whose `arrange` takes a capture.Seen and returns a Call, and a dict
        from the name of each other module with a weight to the reason.
    """
    found, refused, holdings = [], {}, Holdings(model)
    given = {
        id(module): pair for module in model.modules() if (pair := own_kernels(module, kernel)) is not None
    }
    seen = first_calls(model, [m for m in model.modules() if id(m) in given or _may_multiply(m)], images)
    for name, module in model.named_modules():
        name = name.replace("._orig_mod", "") or type(module).__name__
        try:
            products = _products(name, module, quantizer or SIGN, given.get(id(module)), seen.get(id(module)))
        except (RuntimeError, NotImplementedError) as error:  # of a weight that is no plain tensor
            products = f"its weight cannot be read: {str(error).partition(chr(10))[0]}"
        if isinstance(products, str):
            refused[name] = products
        else:
            found += products
            refused |= holdings.reasons(name, module, products)
    within = _within_attention(model)  # the module with the output weight is not called itself
    return [product for product in found if id(product.layer) not in within], refused


def _products(name, module, quantizer, given, seen):
    """A list of Product, or the reason if there is none."""
    from torch import nn
    from torch.nn.utils import parametrize

    if given is not None:
        return _own(name, module, quantizer, given, seen)
    if not isinstance(module, _plain()) and parametrize.is_parametrized(module):
        return f"a parametrization within a {type(module).__name__} is not analyzed"
    if isinstance(module, nn.MultiheadAttention):
        return _attention(name, module, quantizer)
    if isinstance(module, nn.RNNBase):
        return _recurrent(name, module, quantizer)
    if type(module) is nn.Embedding:
        return _lookup(name, module, quantizer)
    if isinstance(module, _plain()):
        return _multiplied(name, module, Weight.of(module), quantizer)
    if _is_quantized(module):
        return "PyTorch has quantized it: its real weights are gone"
    if seen is None or (turned := multiplies(module, module.weight, seen)) is None:
        return []
    return _multiplied(name, module, Weight.of(module), quantizer, turned)


def _recurrent(name, module, quantizer):
    reason = recurrent.reason(module)
    if reason:
        return reason
    kernels, products = list(recurrent.kernels(module)), []
    for key, weight, arrange in kernels:
        if reason := unreal(weight):
            return reason
        products.append(
            of_arrays(
                f"{name}/{key}",
                Dense(),
                array(weight).T[:, None],
                quantizer,
                arrange=arrange,
                restore=dense_shape,
                gates=recurrent.gates(module),
                layer=module,
                variable=Weight(weight),
            )
        )
    return products


def _lookup(name, module, quantizer):
    weight = Weight.of(module)
    if reason := unreal(weight.tensor):
        return reason
    latent = array(weight.tensor).T[:, None]
    return [of_arrays(name, None, latent, quantizer, restore=dense_shape, layer=module, variable=weight)]


def _multiplied(name, module, weight, quantizer, turned=False):
    """The product of a weight by which a module multiplies."""
    form = unreal(weight.tensor) or form_of(module, weight.tensor, turned)
    if isinstance(form, str):
        return form
    return [
        of_arrays(
            name,
            form.linear,
            form.columns(array(weight.tensor)),
            quantizer,
            arrange=form.arrange,
            restore=form.restore,
            layer=module,
            variable=weight,
        )
    ]


def _may_multiply(module):
    """Whether a module of another class has a weight like that of a dense layer."""
    from torch import nn

    known = (*_plain(), nn.Embedding, nn.MultiheadAttention, nn.RNNBase)
    weight = module._parameters.get("weight", module._buffers.get("weight"))
    return not isinstance(module, known) and weight is not None and weight.dim() == 2


def _is_quantized(module):
    """Whether it keeps integers, which a method converts to numbers."""
    cls = type(module)
    return cls.__module__.startswith("torch.ao.") and (hasattr(cls, "weight") or hasattr(cls, "get_weight"))


def own_kernels(module, kernel):
    """What `kernel`, or a parametrization of its weight, gives for a module; None for other modules."""
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


def _own(name, module, quantizer, given, seen):
    """The product of the kernel, or the two forms of it, that `kernel` gave."""
    import torch

    tensors = given if isinstance(given, tuple | list) else (given,)
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors) or len(tensors) not in (1, 2):
        kinds = ", ".join(type(part).__name__ for part in tensors)
        return f"kernel= returned ({kinds}): expected one tensor, or (quantized, latent)"
    quantized, latent = tensors[0], tensors[-1]
    if quantized.shape != latent.shape:
        return f"kernel= returned the shapes {tuple(quantized.shape)} and {tuple(latent.shape)}: expected equal ones"
    if reason := next(filter(None, map(unreal, tensors)), None):
        return reason
    turned = bool(seen and latent.dim() == 2 and multiplies(module, quantized, seen))
    if len(tensors) == 1:
        return _multiplied(name, module, Weight(latent, role=MULTIPLIED), quantizer, turned)
    form = form_of(module, latent, turned)
    if isinstance(form, str):
        return form
    kernels = Kernels(*(np.ascontiguousarray(form.columns(array(k))) for k in tensors))
    quantizer = _known(kernels)
    scalar, weight = SIGN if quantizer is SIGN else None, Weight(latent, role=LATENT, quantized=quantized)
    return [Product(name, form.linear, kernels, quantizer, scalar, module, weight, form.arrange)]


def _known(kernels):
    """The quantizer of a kernel that is quantized elsewhere, inferred from its values: none, sign, or unknown."""
    quantized, latent = kernels
    if np.array_equal(quantized, latent):
        return None
    sizes = np.abs(quantized)
    signs = np.array_equal(quantized >= 0, latent >= 0) and np.allclose(sizes, sizes[:1]) and sizes.all()
    return SIGN if signs else unknown


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
    if reason := next(filter(None, (unreal(weight.parameter) for weight in weights)), None):
        return reason
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
