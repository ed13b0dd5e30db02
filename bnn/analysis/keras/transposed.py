"""Kernels of Keras's transposed convolutions in the form of the convolution of stride 1 that they are."""

import numpy as np

from bnn.analysis.core.linear_maps import TransposedConvolution


def map_of(layer):
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


def columns(kernel):
    """A Keras kernel (sizes..., units, channels) as the (d, 1, units) array of the convolution of stride 1."""
    return _turned(kernel).reshape(-1, 1, kernel.shape[-2])


def restore(columns, shape):
    """The inverse of `columns`, for a kernel of the given shape."""
    return _turned(columns.reshape(*shape[:-2], shape[-1], shape[-2]))


def _turned(kernel):
    """With taps in the opposite order and the last two axes exchanged."""
    return np.flip(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2)
