"""The base class of layers that multiply every patch by one fixed matrix, before the first product of a network."""

import keras
from keras import ops

from bnn.layers import fast_ops
from bnn.layers.quantized import positive


class PatchTransform(keras.Layer):
    """Multiplies the vectors that the next layer multiplies by a square matrix that is not trained: x -> A x.

    An input (batch, height, width, channels) gives (batch, height, width, kernel_size^2 channels): at every position,
    A times the patch that a SAME convolution would multiply there. The convolution that follows has kernel size 1.
    An input (batch, features) gives vectors of the same shape.

    A subclass sets `initializer`, the name or object of a Keras initializer of the matrix.

    Args:
        kernel_size: int, side of the square patches; 1 for vectors.

    Attributes:
        matrix: (d, d) float32 weight, whose column i holds row i of A. The order of a patch is row, column, channel.

    Raises:
        ValueError: kernel_size is not a positive whole number.
    """

    initializer = None

    def __init__(self, kernel_size=1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = positive("kernel_size", kernel_size)

    def build(self, input_shape):
        """Make the matrix."""
        d = self.compute_output_shape(input_shape)[-1]
        self.matrix = self.add_weight(
            name=type(self).__name__.lower(),
            shape=(d, d),
            initializer=keras.initializers.get(self.initializer),
            trainable=False,
        )

    def call(self, inputs):
        """Return the transformed patches or vectors."""
        if len(inputs.shape) == 2:
            return ops.matmul(inputs, self.matrix)
        size = self.kernel_size
        return fast_ops.conv2d(inputs, ops.reshape(self.matrix, (size, size, inputs.shape[-1], -1)))

    def compute_output_shape(self, input_shape):
        """Return (..., kernel_size^2 channels)."""
        return (*input_shape[:-1], self.kernel_size**2 * input_shape[-1])

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"kernel_size": self.kernel_size}
