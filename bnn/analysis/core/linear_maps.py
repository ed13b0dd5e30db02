"""Linear maps of layers, without bias and activation, and the patches that they multiply.

Every kernel has the shape (d, groups, units) here: d weights for each output unit, and groups of units with disjoint
input channels. A dense layer or an ordinary convolution has one group, a depthwise convolution one group per channel.
"""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops


@dataclass(frozen=True)
class Dense:
    """Product of the last axis with a matrix, or, in groups, of parts of it with a matrix each.

    Attributes:
        groups: int.
    """

    groups: int = 1

    def multiply(self, inputs, kernel):
        """See `Convolution.multiply`; inputs are (n, ..., groups d)."""
        if self.groups == 1:
            return ops.expand_dims(ops.matmul(inputs, kernel[:, 0]), -2)
        split = ops.reshape(inputs, (*inputs.shape[:-1], self.groups, -1))
        return ops.einsum("...gd,dgu->...gu", split, kernel)

    def positions(self, shape):
        """See `Convolution.positions`: every axis between the first and the last."""
        return tuple(shape[1:-1])

    def patches(self, inputs, places):
        """See `Convolution.patches`."""
        inputs = inputs.reshape(len(inputs), math.prod(self.positions(inputs.shape)), inputs.shape[-1])
        rows = inputs[places[:, 0], places[:, 1]]
        return rows.reshape(len(rows), self.groups, inputs.shape[-1] // self.groups).swapaxes(0, 1)

    def taps(self, inputs):
        """See `Convolution.taps`; a dense layer has one."""
        yield inputs.reshape(-1, inputs.shape[-1])


@dataclass(frozen=True)
class Convolution:
    """Convolution in one to three dimensions, channels last.

    Attributes:
        kernel_size: tuple of ints, one per dimension.
        strides, dilation: tuples of the same length.
        padding: "valid", "same" or "causal", as in Keras, or zeros (before, after) for each dimension.
        groups: int; a depthwise convolution has as many groups as input channels.
    """

    kernel_size: tuple
    strides: tuple
    dilation: tuple
    padding: str | tuple
    groups: int = 1

    def multiply(self, inputs, kernel):
        """Multiply the inputs with a kernel at every position.

        Args:
            inputs: (n, ..., channels) float32 array or tensor.
            kernel: (d, groups, units) float32 array or tensor, d = product of kernel_size x channels / groups.

        Returns:
            (n, ..., groups, units) float32 tensor.
        """
        padding, x = self.padding, ops.convert_to_tensor(inputs)
        if padding not in ("valid", "same"):
            padding, x = "valid", ops.pad(x, self._padding(inputs.shape))
        options = {"strides": self.strides, "padding": padding, "dilation_rate": self.dilation}
        options["data_format"] = "channels_last"
        channels = inputs.shape[-1] // self.groups
        if channels == 1 < self.groups and len(set(self.strides)) == 1:  # TensorFlow needs equal strides
            y = ops.depthwise_conv(x, ops.reshape(kernel, (*self.kernel_size, self.groups, -1)), **options)
            return ops.reshape(y, (*y.shape[:-1], self.groups, -1))
        # One convolution per group: TensorFlow compiles a grouped convolution again at every call.
        parts = []
        for g in range(self.groups):
            part = ops.reshape(kernel[:, g], (*self.kernel_size, channels, -1))
            y = ops.conv(x[..., g * channels : (g + 1) * channels], part, **options)
            parts.append(ops.expand_dims(y, -2))
        return parts[0] if self.groups == 1 else ops.concatenate(parts, axis=-2)

    def positions(self, shape):
        """Return the shape of the output without its first and last axis, for inputs of the given shape."""
        spans, zeros = self._spans(), (0,) * len(self.kernel_size)
        if isinstance(self.padding, tuple):
            zeros = [sum(border) for border in self.padding]
        elif self.padding != "valid":
            spans = (1,) * len(self.kernel_size)
        return tuple(
            (size + more - span) // stride + 1
            for size, more, span, stride in zip(shape[1:-1], zeros, spans, self.strides, strict=True)
        )

    def patches(self, inputs, places):
        """Return the vectors that the kernel is multiplied with at given places.

        Args:
            inputs: (n, ..., channels) array.
            places: (m, 2) int array: index of the sample, and of the output position in C order.

        Returns:
            (groups, m, d) array, with d in the order of the kernel.
        """
        padded = np.pad(inputs, self._padding(inputs.shape))
        corners = np.unravel_index(places[:, 1], self.positions(inputs.shape))
        cut = np.empty((len(places), *self.kernel_size, inputs.shape[-1]), inputs.dtype)
        geometry = list(zip(self._spans(), self.strides, self.dilation, strict=True))
        for row, sample, *corner in zip(cut, places[:, 0], *corners, strict=True):
            window = [
                slice(at * stride, at * stride + span, step)
                for at, (span, stride, step) in zip(corner, geometry, strict=True)
            ]
            row[...] = padded[(sample, *window)]
        taps, channels = math.prod(self.kernel_size), inputs.shape[-1] // self.groups
        split = cut.reshape(len(places), taps, self.groups, channels).transpose(2, 0, 1, 3)
        return split.reshape(self.groups, len(places), taps * channels)

    def taps(self, inputs):
        """Yield the inputs of each tap of the kernel over all samples and positions, including the padding.

        Args:
            inputs: (n, ..., channels) array.

        Yields:
            For each tap, in the order of the kernel, an (n x positions, channels) array.
        """
        padded = np.pad(inputs, self._padding(inputs.shape))
        sizes = self.positions(inputs.shape)
        for tap in np.ndindex(*self.kernel_size):
            starts = [at * step for at, step in zip(tap, self.dilation, strict=True)]
            window = tuple(
                slice(start, start + (size - 1) * stride + 1, stride)
                for start, size, stride in zip(starts, sizes, self.strides, strict=True)
            )
            yield padded[(slice(None), *window)].reshape(-1, inputs.shape[-1])

    def _spans(self):
        return tuple((k - 1) * step + 1 for k, step in zip(self.kernel_size, self.dilation, strict=True))

    def _padding(self, shape):
        """Return the number of zeros for `np.pad` before and after each axis."""
        if isinstance(self.padding, tuple):
            return [(0, 0), *self.padding, (0, 0)]
        borders = []
        for size, out, span, stride in zip(
            shape[1:-1], self.positions(shape), self._spans(), self.strides, strict=True
        ):
            missing = max((out - 1) * stride + span - size, 0)
            before = {"valid": 0, "same": missing // 2, "causal": span - 1}[self.padding]
            borders.append((before, missing - before if self.padding == "same" else 0))
        return [(0, 0), *borders, (0, 0)]
