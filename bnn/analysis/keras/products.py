"""The linear maps of `core` on the tensors of Keras's backend, and the products that kernels of Keras have."""

from functools import partial

import numpy as np
from keras import ops

from bnn.analysis.core.linear_maps import Dense, TransposedConvolution
from bnn.analysis.core.product import Product, of_arrays


def float32(tensor):
    """Convert an array, tensor or variable of any dtype to a float32 NumPy array."""
    if isinstance(tensor, np.ndarray):
        return tensor.astype(np.float32, copy=False)
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def multiply(linear, inputs, kernel):
    """Multiply inputs with a kernel at every position, in float32, whatever the compute dtype of the layer.

    Args:
        linear: Dense, Convolution or TransposedConvolution.
        inputs: (n, ..., channels) float32 array or tensor.
        kernel: (d, groups, units) float32 array or tensor.

    Returns:
        (n, ..., groups, units) float32 tensor.
    """
    if isinstance(linear, Dense):
        return _dense(linear, inputs, kernel)
    if isinstance(linear, TransposedConvolution):
        return _convolution(linear.convolution, linear.spread(np.asarray(inputs)), kernel)
    return _convolution(linear, inputs, kernel)


def multiplied(linear, inputs, kernel):
    """The same as a NumPy array."""
    return ops.convert_to_numpy(multiply(linear, inputs, kernel))


product_of = partial(Product, multiplied=multiplied)
product_of_arrays = partial(of_arrays, multiplied=multiplied)


def _dense(linear, inputs, kernel):
    if linear.groups == 1:
        return ops.expand_dims(ops.matmul(inputs, kernel[:, 0]), -2)
    split = ops.reshape(inputs, (*inputs.shape[:-1], linear.groups, -1))
    return ops.einsum("...gd,dgu->...gu", split, kernel)


def _convolution(linear, inputs, kernel):
    padding, x = linear.padding, ops.convert_to_tensor(inputs)
    if padding not in ("valid", "same") or linear.pad_value:
        borders = linear.borders(inputs.shape)
        padding, x = "valid", ops.pad(x, borders, constant_values=linear.pad_value)
    options = {"strides": linear.strides, "padding": padding, "dilation_rate": linear.dilation}
    options["data_format"] = "channels_last"
    groups, size = linear.groups, linear.kernel_size
    channels = inputs.shape[-1] // groups
    if channels == 1 < groups and len(set(linear.strides)) == 1:  # TensorFlow needs equal strides
        y = ops.depthwise_conv(x, ops.reshape(kernel, (*size, groups, -1)), **options)
        return ops.reshape(y, (*y.shape[:-1], groups, -1))
    # One convolution per group: TensorFlow compiles a grouped convolution again at every call.
    parts = []
    for g in range(groups):
        part = ops.reshape(kernel[:, g], (*size, channels, -1))
        y = ops.conv(x[..., g * channels : (g + 1) * channels], part, **options)
        parts.append(ops.expand_dims(y, -2))
    return parts[0] if groups == 1 else ops.concatenate(parts, axis=-2)
