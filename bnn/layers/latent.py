"""The latent kernels of a layer: the only place that knows where a layer keeps them."""

from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops


class LatentKernel(NamedTuple):
    """A real-valued kernel of a layer and the quantizer of the kernel that the layer multiplies by.

    Attributes:
        name: str, the attribute of the layer that holds the variable, such as "kernel".
        variable: keras.Variable, float32.
        quantizer: function from the latent kernel to the quantized one, of the same shape; None if it is not quantized.
    """

    name: str
    variable: keras.Variable
    quantizer: Callable | None

    @property
    def setting(self):
        """The name of the quantizer among the attributes and the constructor arguments of the layer."""
        return f"{self.name}_quantizer"

    def quantized(self):
        """Return the kernel that the layer multiplies by in inference, a float32 tensor."""
        latent = ops.cast(self.variable, "float32")
        return latent if self.quantizer is None else self.quantizer(latent)


def latent_kernels(layer):
    """Return the latent kernels of a layer.

    A layer of your own has latent kernels if it has a method `latent_kernels` that returns them. Geometry logs, the
    analysis, compact checkpoints and the packed network ask for them here.

    Args:
        layer: keras.Layer, built.

    Returns:
        Tuple of LatentKernel, also those without a quantizer; empty for layers that keep none, such as Keras's own.
    """
    return tuple(layer.latent_kernels()) if hasattr(layer, "latent_kernels") else ()


def latent_kernel(layer, variable):
    """Return the LatentKernel of a layer that is this variable, or None."""
    return next((kernel for kernel in latent_kernels(layer) if kernel.variable is variable), None)
