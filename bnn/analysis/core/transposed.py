"""Transposed convolutions: convolutions of stride 1 over inputs with zeros inserted, which count as inputs."""

from dataclasses import dataclass

import numpy as np

from bnn.analysis.core.linear_maps import Convolution


@dataclass(frozen=True)
class TransposedConvolution:
    """Transposed convolution in one to three dimensions, channels last; the methods are those of `Convolution`.

    Attributes:
        kernel_size: of each dimension, as the other tuples.
        strides: input positions are so far apart in the output.
        dilation: between taps of the kernel.
        cropped: output positions that are cut off in front.
        extra: size of the output less that of the input times the stride.
        groups: int.
    """

    kernel_size: tuple
    strides: tuple
    dilation: tuple
    cropped: tuple
    extra: tuple
    groups: int = 1

    @classmethod
    def of_layer(cls, layer):
        """That of a Keras layer."""
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
        return cls(layer.kernel_size, layer.strides, layer.dilation_rate, tuple(cropped), extra)

    def multiply(self, inputs, kernel):
        """See `Convolution.multiply`; the taps of the kernel are in the order of the convolution of stride 1."""
        return self._convolution.multiply(self._spread(np.asarray(inputs)), kernel)

    def positions(self, shape):
        """See `Convolution.positions`."""
        sizes = zip(shape[1:-1], self.strides, self.extra, strict=True)
        return tuple(size * stride + extra for size, stride, extra in sizes)

    def patches(self, inputs, places):
        """See `Convolution.patches`."""
        return self._convolution.patches(self._spread(inputs), places)

    def taps(self, inputs):
        """See `Convolution.taps`; the zeros count."""
        return self._convolution.taps(self._spread(inputs))

    @property
    def _convolution(self):
        rank = len(self.kernel_size)
        return Convolution(self.kernel_size, (1,) * rank, self.dilation, "valid", self.groups)

    def _spread(self, inputs):
        """The inputs with zeros inserted between and around them."""
        geometry = zip(self.kernel_size, self.dilation, self.cropped, strict=True)
        starts = [(k - 1) * step - cropped for k, step, cropped in geometry]
        spans = [
            (k - 1) * step + out
            for k, step, out in zip(
                self.kernel_size, self.dilation, self.positions(inputs.shape), strict=True
            )
        ]
        spread = np.zeros((len(inputs), *spans, inputs.shape[-1]), inputs.dtype)
        taken, filled = [slice(None)], [slice(None)]
        for start, stride, span, size in zip(starts, self.strides, spans, inputs.shape[1:-1], strict=True):
            first = max(-(start // stride), 0)  # inputs that are cut off in front
            count = min(size, (span - 1 - start) // stride + 1) - first
            taken.append(slice(first, first + count))
            filled.append(slice(start + first * stride, start + (first + count - 1) * stride + 1, stride))
        spread[tuple(filled)] = inputs[tuple(taken)]
        return spread


def columns(kernel):
    """A Keras kernel (sizes..., units, channels) as the (d, 1, units) array of the convolution of stride 1."""
    return _turned(kernel).reshape(-1, 1, kernel.shape[-2])


def restore(columns, shape):
    """The inverse of `columns`, for a kernel of the given shape."""
    return _turned(columns.reshape(*shape[:-2], shape[-1], shape[-2]))


def _turned(kernel):
    """With taps in the opposite order and the last two axes exchanged."""
    return np.flip(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2)
