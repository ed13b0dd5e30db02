"""A kernel with all that a statistic needs to know of it: its two forms, its quantizer, and how it meets its input."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from bnn.analysis.core.linear_maps import Convolution, Dense
from bnn.analysis.core.transposed import TransposedConvolution
from bnn.geometry import QuantizerError, ScalarQuantizer
from bnn.layers.latent import latent_kernel


class Kernels(NamedTuple):
    """The quantized and the latent form of a kernel, arrays of the same shape."""

    quantized: np.ndarray
    latent: np.ndarray


@dataclass(frozen=True, eq=False)
class Product:
    """A kernel of a model, quantized and latent, and how it is multiplied with the input.

    Attributes:
        name: the layer's, after those of the models and layers around it: "backbone/conv_1".
        linear: Dense, Convolution or TransposedConvolution; None for an embedding, which multiplies nothing.
        kernels: Kernels, each a (d, groups, units) float32 array.
        quantizer: function from the latent to the quantized kernel; None if the kernel is not quantized.
        scalar: ScalarQuantizer with the levels of `quantizer`, for theory; None if they are unknown.
        layer: keras.Layer; None for arrays.
        variable: keras.Variable with the latent kernel; None for arrays, and where adapters (LoRA) add to it.
        arrange: from the capture.Given of a call to what the kernel is multiplied with, channels last.
        restore: from a kernel in the form of `kernels` to one in the shape of the variable; None: by its shape alone.
        masked: bool, whether a mask of the layer's inputs removes rows of what the kernel is multiplied with.
        own_input: bool, whether that is the layer's input, and not a state or the result of another kernel.
        gates: names of the parts, of as many units each, that are side by side in the kernel of a recurrent layer.
    """

    name: str
    linear: Dense | Convolution | TransposedConvolution | None
    kernels: Kernels
    quantizer: Callable | None
    scalar: ScalarQuantizer | None
    layer: keras.Layer | None = None
    variable: keras.Variable | None = None
    arrange: Callable = lambda given: given.inputs
    restore: Callable | None = None
    masked: bool = False
    own_input: bool = True
    gates: tuple = ()

    def quantize(self, columns):
        """Quantize (d, n) float32 latent kernels; a layer's own quantizer gets them in the shape of its kernel."""
        own = latent_kernel(self.layer, self.variable)
        if own is None or own.quantizer is not self.quantizer:
            return np.asarray(self.quantizer(columns))
        kernels = columns.reshape(*self.variable.shape[:-1], -1)
        return float32(self.quantizer(ops.convert_to_tensor(kernels))).reshape(columns.shape)

    def in_shape(self, kernel, shape):
        """A kernel in the form of `kernels` in that of the variable, whose shape is given."""
        return kernel.reshape(shape) if self.restore is None else self.restore(kernel, shape)

    def multiply(self, inputs, kernel):
        """The linear map in float32, whatever the layer's compute dtype; see `Convolution.multiply`.

        Args:
            inputs: (n, ..., channels) float32 array.
            kernel: (d, groups, units) float32 array.

        Returns:
            (n, ..., groups, units) float32 NumPy array.
        """
        return ops.convert_to_numpy(self.linear.multiply(inputs, kernel))


def of_arrays(name, linear, latent, quantizer, **kwargs):
    """Make the Product of a (d, groups, units) latent kernel; `quantizer` gets it as (d, groups x units)."""
    columns = latent.reshape(len(latent), -1)
    quantized = np.asarray(quantizer(columns), np.float32)
    if quantized.shape != columns.shape:
        raise QuantizerError(
            f"quantizer: expected to get shape {columns.shape} back, received {quantized.shape}"
        )
    quantized = quantized.reshape(latent.shape)
    scalar = quantizer if isinstance(quantizer, ScalarQuantizer) else None
    return Product(name, linear, Kernels(quantized, latent), quantizer, scalar, **kwargs)


def float32(tensor):
    """Convert an array, tensor or variable of any dtype to a float32 NumPy array."""
    if isinstance(tensor, np.ndarray):
        return tensor.astype(np.float32, copy=False)
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))
