"""A kernel with all that a statistic needs: its two forms, its quantizer, and the linear map that applies it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bnn.analysis.core.linear_maps import Convolution, Dense, TransposedConvolution
from bnn.console.errors import ConfigError
from bnn.geometry import ScalarQuantizer


class Kernels(NamedTuple):
    """The quantized and the latent form of a kernel, arrays of the same shape."""

    quantized: np.ndarray
    latent: np.ndarray


class Call(NamedTuple):
    """What a kernel multiplies in one call of its layer.

    Attributes:
        inputs: (n, ..., channels) float32 array; (rows, channels) if a mask removed other rows.
        before: array of the same shape, what the activation quantizer that made the inputs was given, or None.
        kept: (n, positions) bool array, True for each position that is a row of `inputs`; None without a mask.
    """

    inputs: np.ndarray
    before: np.ndarray | None = None
    kept: np.ndarray | None = None


def multiplied(linear, inputs, kernel):
    """The products by NumPy, of which a framework may have its own; see `Convolution.multiply`."""
    return linear.multiply(inputs, kernel)


@dataclass(frozen=True, eq=False)
class Product:
    """A kernel of a model, quantized and latent, and how it is multiplied with the input.

    Attributes:
        name: the layer's, after those of the models and layers around it: "backbone/conv_1".
        linear: Dense, Convolution or TransposedConvolution; None for an embedding, which multiplies nothing.
        kernels: Kernels, each a (d, groups, units) float32 array.
        quantizer: function from the latent to the quantized kernel; None if the kernel is not quantized.
        scalar: ScalarQuantizer with the levels of `quantizer`, for theory; None if they are unknown.
        layer: the layer or module of the framework; None for arrays.
        variable: the framework's variable with the latent kernel; None for arrays, and where adapters (LoRA) add to it.
        arrange: from what the framework's `capture` recorded of a call to what the kernel is multiplied with, channels
            last: an array from a keras.capture.Given, a Call from a torch.capture.Seen.
        restore: from a kernel in the form of `kernels` to one in the shape of the variable; None: reshape.
        masked: bool, whether a mask of the layer's inputs removes rows of what the kernel is multiplied with.
        own_input: bool, whether that is the layer's input, and not a state or the result of another kernel.
        gates: names of the parts, of as many units each, that are side by side in the kernel of a recurrent layer.
        multiplied: from `linear`, inputs and a kernel to the products, a float32 NumPy array, as the framework computes
            them.
        quantize_columns: function from (d, n) latent kernels to the quantized ones; None: `quantizer`, which a layer
            that has its own calls with the shape of its kernel.
    """

    name: str
    linear: Dense | Convolution | TransposedConvolution | None
    kernels: Kernels
    quantizer: Callable | None
    scalar: ScalarQuantizer | None
    layer: Any = None
    variable: Any = None
    arrange: Callable = lambda given: given.inputs
    restore: Callable | None = None
    masked: bool = False
    own_input: bool = True
    gates: tuple = ()
    multiplied: Callable = multiplied
    quantize_columns: Callable | None = None

    @property
    def columns(self):
        """The kernels of all groups side by side: Kernels, each (d, units) float32."""
        return Kernels(*(kernel.reshape(len(kernel), -1) for kernel in self.kernels))

    def quantize(self, columns):
        """Quantize (d, n) float32 latent kernels."""
        return np.asarray((self.quantize_columns or self.quantizer)(columns))

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
        return self.multiplied(self.linear, inputs, kernel)


def unknown(columns):
    """A quantizer with only one known result, so r_rotated is not defined."""
    return np.full_like(columns, np.nan)


def of_arrays(name, linear, latent, quantizer, **kwargs):
    """Make the Product of a (d, groups, units) latent kernel; `quantizer` gets it as (d, groups x units)."""
    columns = latent.reshape(len(latent), -1)
    quantized = np.asarray(quantizer(columns), np.float32)
    if quantized.shape != columns.shape:
        raise ConfigError(
            f"quantizer: expected to get shape {columns.shape} back, received {quantized.shape}"
        )
    quantized = quantized.reshape(latent.shape)
    scalar = quantizer if isinstance(quantizer, ScalarQuantizer) else None
    return Product(name, linear, Kernels(quantized, latent), quantizer, scalar, **kwargs)
