"""Stream what a network's quantized layers multiply, batch by batch."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from bnn.layers import QuantActivation, QuantConv2D, QuantDense


@dataclass(frozen=True)
class Product:
    """A product of a network: a quantized layer with the tensors that feed it.

    Attributes:
        layer: QuantConv2D or QuantDense.
        source: its symbolic input.
        before: symbolic values before the activation quantizer that made the input; None for a real input.
    """

    layer: keras.Layer
    source: keras.KerasTensor
    before: keras.KerasTensor | None

    @property
    def kernels(self):
        """(quantized kernel, latent kernel), NumPy float32 arrays of the kernel's shape."""
        latent = ops.convert_to_numpy(self.layer.kernel)
        quantizer = self.layer.kernel_quantizer
        return (latent if quantizer is None else ops.convert_to_numpy(quantizer(latent))), latent

    def multiply(self, inputs, kernel):
        """The layer's linear map in float32, whatever its compute dtype.

        Args:
            inputs: (n, ...) float32 array of the layer's input shape.
            kernel: float32 array of the kernel's shape, but for any number of units.

        Returns:
            (n, ..., units) float32 NumPy array.
        """
        return ops.convert_to_numpy(
            self.layer.product(ops.convert_to_tensor(inputs), ops.convert_to_tensor(kernel))
        )


def products(model):
    """The products of a functional model in the order of its layers, a list of `Product`."""
    layers = [layer for layer in model.layers if isinstance(layer, QuantConv2D | QuantDense)]
    return [Product(layer, layer.input, _before_quantizer(layer.input)) for layer in layers]


def stream(model, found, images, batch_size=50):
    """Feed images and give out what the products' tensors hold.

    Args:
        model: keras.Model.
        found: list of Product, from `products`.
        images: (n, height, width, channels) uint8 array.
        batch_size: images at a time; memory grows with it and with nothing else.

    Yields:
        For each batch (first image's index, list of (inputs, before) for each product): float32 NumPy arrays of
        the layer's input shape; `before` is None where the product has none.
    """
    tensors = [t for product in found for t in (product.source, product.before) if t is not None]
    tap = keras.Function(model.inputs, tensors)
    for start in range(0, len(images), batch_size):
        values = iter(tap([images[start : start + batch_size]]))
        yield start, [_taken(product, values) for product in found]


def _taken(product, values):
    inputs = _float32(next(values))
    before = None if product.before is None else _float32(next(values)).reshape(inputs.shape)
    return inputs, before


def _float32(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def _before_quantizer(tensor):
    """What the activation quantizer that made `tensor` was given, looking through layers that only reshape."""
    layer = tensor._keras_history.operation
    if isinstance(layer, QuantActivation):
        return layer.input
    reshapes = isinstance(layer, keras.layers.Flatten | keras.layers.Reshape)
    return _before_quantizer(layer.input) if reshapes else None


def patches(inputs, kernel_size, places):
    """The input patches that a SAME convolution multiplies at given places.

    Args:
        inputs: (n, height, width, channels) array.
        kernel_size: side k of the kernel.
        places: (m, 3) array of ints: image, row, column.

    Returns:
        (m, k k channels) array, laid out like a kernel (k, k, channels, units) reshaped to (d, units).
    """
    before = (kernel_size - 1) // 2
    border = (before, kernel_size - 1 - before)
    padded = np.pad(inputs, ((0, 0), border, border, (0, 0)))
    cut = [padded[i, y : y + kernel_size, x : x + kernel_size].reshape(-1) for i, y, x in places]
    return np.stack(cut) if cut else np.empty((0, kernel_size**2 * inputs.shape[-1]), inputs.dtype)
