"""Linear maps of layers, without bias and activation, and the patches that they multiply.

Every kernel has the shape (d, groups, units) here: d weights for each output unit, and groups of units with disjoint
input channels. A dense layer or an ordinary convolution has one group, a depthwise convolution one group per channel.
"""

import math
from dataclasses import dataclass

import numpy as np


def _in_groups(rows, kernel):
    """Multiply (rows, groups x c) inputs, group by group, with a (c, groups, units) kernel: (rows, groups, units)."""
    channels, groups, _ = kernel.shape
    if groups == 1:
        return (rows @ kernel[:, 0])[:, None]
    rows = rows.reshape(len(rows), groups, channels)
    if channels == 1:
        return rows * kernel[0]
    return np.matmul(rows.swapaxes(0, 1), kernel.swapaxes(0, 1)).swapaxes(0, 1)


@dataclass(frozen=True)
class Dense:
    """Product of the last axis with a matrix, or, in groups, of parts of it with a matrix each.

    Attributes:
        groups: int.
    """

    groups: int = 1

    def multiply(self, inputs, kernel):
        """See `Convolution.multiply`; inputs are (n, ..., groups d)."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        return _in_groups(rows, kernel).reshape(*inputs.shape[:-1], self.groups, -1)

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
        padding: "valid", "same" or "causal", as in Keras, or (before, after) for each dimension.
        groups: int; a depthwise convolution has as many groups as input channels.
        pad_value: float, what the padding consists of.
    """

    kernel_size: tuple
    strides: tuple
    dilation: tuple
    padding: str | tuple
    groups: int = 1
    pad_value: float = 0.0

    def multiply(self, inputs, kernel):
        """Multiply the inputs with a kernel at every position.

        Args:
            inputs: (n, ..., channels) float32 array.
            kernel: (d, groups, units) float32 array, d = product of kernel_size x channels / groups.

        Returns:
            (n, ..., groups, units) float32 array.
        """
        taps, groups = math.prod(self.kernel_size), self.groups
        kernel = kernel.reshape(taps, -1, groups, kernel.shape[-1])
        shape = (len(inputs), *self.positions(inputs.shape), groups, kernel.shape[-1])
        products = np.zeros((math.prod(shape[:-2]), *shape[-2:]), np.float32)
        for rows, tap in zip(self.taps(inputs), kernel, strict=True):
            products += _in_groups(rows, tap)
        return products.reshape(shape)

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
        padded = self._padded(inputs)
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
        padded = self._padded(inputs)
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

    def _padded(self, inputs):
        return np.pad(inputs, self.borders(inputs.shape), constant_values=self.pad_value)

    def borders(self, shape):
        """The numbers of values to add before and after each axis of inputs of the given shape, as for `np.pad`."""
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

    def multiply(self, inputs, kernel):
        """See `Convolution.multiply`; the taps of the kernel are in the order of the convolution of stride 1."""
        return self.convolution.multiply(self.spread(np.asarray(inputs)), kernel)

    def positions(self, shape):
        """See `Convolution.positions`."""
        sizes = zip(shape[1:-1], self.strides, self.extra, strict=True)
        return tuple(size * stride + extra for size, stride, extra in sizes)

    def patches(self, inputs, places):
        """See `Convolution.patches`."""
        return self.convolution.patches(self.spread(inputs), places)

    def taps(self, inputs):
        """See `Convolution.taps`; the zeros count."""
        return self.convolution.taps(self.spread(inputs))

    @property
    def convolution(self):
        """The Convolution that multiplies what `spread` returns."""
        rank = len(self.kernel_size)
        return Convolution(self.kernel_size, (1,) * rank, self.dilation, "valid", self.groups)

    def spread(self, inputs):
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
