"""Find the kernels of a model's layers, and the reason for each layer whose kernel cannot be analyzed."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
from keras import ops

from bnn.analysis.core.linear_maps import Convolution, Dense, TransposedConvolution
from bnn.analysis.core.product import Kernels
from bnn.analysis.keras import recurrent
from bnn.analysis.keras.einsum import Contraction
from bnn.analysis.keras.holdings import Holdings, constants
from bnn.analysis.keras.products import float32, product_of, product_of_arrays
from bnn.geometry.named_quantizers import SIGN, lloyd_max_quantizer, ternary_quantizer
from bnn.layers import LloydMax, PatchTransform, QuantConv2D, QuantDense, latent_kernels
from bnn.layers.recurrent import QuantCell, QuantRecurrent
from bnn.models.traversal import CONVOLUTIONS, DEPTHWISE, SEPARABLE, computes_as, own_weights, walk

TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
KERAS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
    *CONVOLUTIONS,
    *DEPTHWISE,
    *SEPARABLE,
    *TRANSPOSED,
)
OTHERS = {
    PatchTransform: "its matrix is fixed, and nothing quantizes it",
    (
        keras.layers.LSTMCell,
        keras.layers.GRUCell,
        keras.layers.SimpleRNNCell,
        QuantCell,
    ): "a recurrent cell is analyzed only within keras.layers.RNN",
}


def find(model, quantizer=None):
    """Find the products of a model, in the order of its layers.

    Args:
        model: keras.Model.
        quantizer: function from a (d, units) float32 array to an array of the same shape, for kernels that have no
            quantizer. None: sign for Keras layers; continuous kernels of this package's layers are not quantized.

    Returns:
        List of Product.
    """
    found = []
    for name, layer in walk(model):
        if _reason(layer) is not None:
            continue
        if isinstance(layer, QuantConv2D | QuantDense):
            (kernel,) = latent_kernels(layer)
            found.append(_own_product(name, layer, kernel, _linear(layer), quantizer))
        elif isinstance(layer, keras.layers.RNN):
            found += _recurrent_products(name, layer, quantizer)
        elif isinstance(layer, KERAS):
            found += _keras_products(name, layer, quantizer or SIGN)
    return found


def refused(model, products):
    """The numbers of a model that no product shows, a dict from the name of a layer or of an array to the reason.

    Args:
        model: keras.Model.
        products: list of Product, from `find`.
    """
    layers, holdings = dict(walk(model)), Holdings(model)
    analyzed = {id(product.layer) for product in products}
    owners = {cell: layer for layer in layers.values() for cell in recurrent.cells([layer])}
    reasons = holdings.reasons(model.name, model, False)
    for name, layer in layers.items():
        rows, owner = id(layer) in analyzed, owners.get(id(layer))
        if owner is not None:
            reasons |= holdings.reasons(name, layer, True) if id(owner) in analyzed else {}
        elif reason := _known_reason(layer, holdings):
            reasons[name] = reason
        else:
            reasons |= holdings.reasons(name, layer, rows)
    return reasons | constants(model)


def _known_reason(layer, holdings):
    """The reason for a layer of a class that is known, if it holds numbers, else None."""
    if isinstance(layer, keras.layers.RNN):
        cells = [cell for cell in getattr(layer.cell, "cells", [layer.cell]) if isinstance(cell, keras.Layer)]
        return _reason(layer) if any(not cell.built or holdings.held(cell) for cell in cells) else None
    known = next((why for cls, why in OTHERS.items() if isinstance(layer, cls)), None)
    return _reason(layer) or (known if holdings.held(layer) else None)


def _reason(layer):
    """Return why a layer of a class that is analyzed, or one with complex weights, cannot be; None for others."""
    if any(keras.backend.standardize_dtype(w.dtype).startswith("complex") for w in own_weights(layer)):
        return "its weights are complex numbers"
    if isinstance(layer, QuantConv2D | QuantDense):
        if not any(computes_as(layer, base) for base in (QuantConv2D, QuantDense)):
            return f"{type(layer).__name__} has a call of its own, which may not multiply by the kernel"
        return None if layer.built else "it has no weights yet: call the model once"
    if isinstance(layer, keras.layers.RNN):
        return recurrent.reason(layer)
    base = next((cls for cls in KERAS if isinstance(layer, cls)), None)
    if base is None:
        return None
    if not layer.built:
        return "it has no weights yet: call the model once"
    if getattr(layer, "quantization_mode", None):
        return f"Keras has quantized it to {layer.quantization_mode}: its real weights are gone"
    if type(layer).call is not base.call:
        return f"{type(layer).__name__} has a call of its own, which may not multiply by the kernel"
    return _contraction(layer).reason() if base is keras.layers.EinsumDense else None


def _contraction(layer):
    return Contraction.of(layer.equation, layer.input_spec.ndim)


def _linear(layer):
    """The linear map of a QuantDense or QuantConv2D."""
    if isinstance(layer, QuantDense):
        return Dense()
    window = ((side,) * 2 for side in (layer.kernel_size, layer.strides, layer.dilation_rate))
    return Convolution(*window, layer.padding, layer.groups, float(layer.pad_values))


def _own_product(name, layer, kernel, linear, quantizer, **options):
    """The product of a LatentKernel of a layer of this package."""
    latent, own = float32(kernel.variable), kernel.quantizer
    form = (-1, linear.groups, latent.shape[-1] // linear.groups)
    place = {"layer": layer, "variable": kernel.variable} | options
    if own is None and quantizer is not None:
        return product_of_arrays(name, linear, latent.reshape(form), quantizer, **place)
    quantized = latent if own is None else float32(own(ops.convert_to_tensor(latent)))
    kernels = Kernels(quantized.reshape(form), latent.reshape(form))
    if own is not None:
        place["quantize_columns"] = partial(_quantized, own, latent.shape[:-1])
    return product_of(name, linear, kernels, own, _scalar(own), **place)


def _quantized(own, window, columns):
    """Quantize (d, n) kernels by a layer's own quantizer, which gets them in the shape of its kernel."""
    return float32(own(ops.convert_to_tensor(columns.reshape(*window, -1)))).reshape(columns.shape)


def _scalar(quantizer):
    """Return the levels of a layer's quantizer if it declares them; see `layers.Quantizer`."""
    levels = getattr(quantizer, "levels", None)
    if isinstance(quantizer, LloydMax):
        return replace(lloyd_max_quantizer(levels), relative=quantizer.relative)
    if levels == 3 and hasattr(quantizer, "threshold"):
        return ternary_quantizer(quantizer.threshold, getattr(quantizer, "relative", False))
    return SIGN if levels == 2 else None


def _keras_products(name, layer, quantizer):
    if isinstance(layer, keras.layers.Embedding):
        latent, place = float32(layer.embeddings).T[:, None], _place(layer, layer.embeddings)
        return [product_of_arrays(name, None, latent, quantizer, restore=lambda k, _: k[:, 0].T, **place)]
    kernel, place = _kernel(layer)
    if isinstance(layer, keras.layers.Dense):
        return [product_of_arrays(name, Dense(), kernel[:, None], quantizer, masked=True, **place)]
    if isinstance(layer, keras.layers.EinsumDense):
        return [_einsum_product(name, layer, kernel, quantizer, place)]
    if layer.data_format == "channels_first":
        place["arrange"] = lambda given: ops.moveaxis(given.inputs, 1, -1)
    if isinstance(layer, TRANSPOSED):
        linear, latent = _transposed_map(layer), _transposed_columns(kernel)
        return [product_of_arrays(name, linear, latent, quantizer, restore=_restore_transposed, **place)]
    window = (layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding)
    if isinstance(layer, CONVOLUTIONS):
        latent = kernel.reshape(-1, layer.groups, layer.filters // layer.groups)
        return [product_of_arrays(name, Convolution(*window, layer.groups), latent, quantizer, **place)]
    linear, latent = Convolution(*window, kernel.shape[-2]), kernel.reshape(-1, *kernel.shape[-2:])
    if isinstance(layer, DEPTHWISE):
        return [product_of_arrays(name, linear, latent, quantizer, **place)]
    return _separable_products(name, quantizer, linear, latent, place)


def _kernel(layer):
    """The latent kernel of a layer, in its own shape, and where it is."""
    kernel = layer.depthwise_kernel if isinstance(layer, SEPARABLE) else layer.kernel
    return float32(kernel), _place(layer, kernel)


def _einsum_product(name, layer, kernel, quantizer, place):
    contraction = _contraction(layer)
    latent = contraction.columns(kernel)
    return product_of_arrays(
        name,
        Dense(latent.shape[1]),
        latent,
        quantizer,
        arrange=lambda given: contraction.arrange(float32(given.inputs)),
        restore=contraction.restore,
        masked=contraction.keeps_time,
        **place,
    )


def _recurrent_products(name, layer, quantizer):
    """Two, for what is multiplied with the inputs, and with the states."""
    cell, groups = layer.cell, 3 if recurrent.separate_candidate(layer) else 1
    common = {"masked": True, "gates": recurrent.gates(layer)}
    of_states = {"arrange": lambda given: recurrent.states(layer, given), "own_input": False}
    if isinstance(layer, QuantRecurrent):
        return [
            _own_product(f"{name}/{kernel.name}", layer, kernel, Dense(), quantizer, **common, **options)
            for kernel, options in zip(latent_kernels(layer), ({}, of_states), strict=True)
        ]
    quantizer, latent = quantizer or SIGN, float32(cell.recurrent_kernel)
    return [
        product_of_arrays(
            f"{name}/kernel",
            Dense(),
            float32(cell.kernel)[:, None],
            quantizer,
            **common,
            **_place(layer, cell.kernel),
        ),
        product_of_arrays(
            f"{name}/recurrent_kernel",
            Dense(groups),
            latent.reshape(len(latent), groups, -1),
            quantizer,
            **common,
            **of_states,
            **_place(layer, cell.recurrent_kernel),
        ),
    ]


def _place(layer, kernel):
    """Return the layer and the variable of a kernel; with adapters (LoRA), the kernel is a sum, not a variable."""
    return {"layer": layer, "variable": kernel if isinstance(kernel, keras.Variable) else None}


def _separable_products(name, quantizer, linear, latent, place):
    """Two: the second multiplies what the first, with its latent kernel, gives."""
    layer = place["layer"]
    pointwise = float32(layer.pointwise_kernel)
    pointwise = pointwise.reshape(pointwise.shape[-2], 1, -1)
    first = product_of_arrays(f"{name}/depthwise", linear, latent, quantizer, **place)

    def between(given):
        y = first.multiply(float32(first.arrange(given)), latent)
        return y.reshape(*y.shape[:-2], -1)

    return [
        first,
        product_of_arrays(
            f"{name}/pointwise",
            Dense(),
            pointwise,
            quantizer,
            arrange=between,
            own_input=False,
            **_place(layer, layer.pointwise_kernel),
        ),
    ]


def _transposed_map(layer):
    """The TransposedConvolution of a Keras layer."""
    shape = (1, *layer.kernel_size, layer.kernel.shape[-1])  # any size that fits
    if layer.data_format == "channels_first":
        shape = (1, shape[-1], *layer.kernel_size)
    out = layer.compute_output_shape(shape)
    out = out[1:-1] if layer.data_format == "channels_last" else out[2:]
    extra = tuple(o - k * s for o, k, s in zip(out, layer.kernel_size, layer.strides, strict=True))
    cropped = [
        max((k - 1) * step + 1 - stride - more, 0) // 2 if layer.padding == "same" else 0
        for k, step, stride, more in zip(
            layer.kernel_size, layer.dilation_rate, layer.strides, extra, strict=True
        )
    ]
    return TransposedConvolution(layer.kernel_size, layer.strides, layer.dilation_rate, tuple(cropped), extra)


def _transposed_columns(kernel):
    """A Keras kernel (sizes..., units, channels) as the (d, 1, units) array of the convolution of stride 1."""
    return _turned(kernel).reshape(-1, 1, kernel.shape[-2])


def _restore_transposed(columns, shape):
    """The inverse of `_transposed_columns`, for a kernel of the given shape."""
    return _turned(columns.reshape(*shape[:-2], shape[-1], shape[-2]))


def _turned(kernel):
    """With taps in the opposite order and the last two axes exchanged."""
    return np.flip(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2)
