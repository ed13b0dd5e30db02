"""A fixed random rotation, for generalized binarization."""

import keras
from keras import ops

from bnn.layers import fast_ops
from bnn.layers.quantized import positive


@keras.saving.register_keras_serializable("bnn")
class Rotation(keras.Layer):
    """A fixed random rotation of the vectors that the next layer multiplies: x -> R x, R orthogonal, not trained.

    Before a layer with the quantizer theta it makes the generalized binarization transformation (paper, section 3).
    With a latent kernel v there and a patch x of the input here, the product is

        theta(v) . R x  =  R' theta(R w) . x  =  theta_R(w) . x,  where w = R' v:

    the kernel is quantized in a random basis, so that the angle to w is that of random vectors whatever the
    principal components of x, and the straight-through estimator acts in that basis too.

    Input (batch, height, width, channels) gives (batch, height, width, kernel_size^2 channels): at every position the
    patch that a SAME convolution would multiply there, rotated. The convolution that follows has kernel size 1.
    Input (batch, features) gives rotated vectors of the same shape.

    Args:
        kernel_size: side of the square patches; 1 for vectors.

    Raises:
        ValueError: kernel_size is not a positive whole number.
    """

    def __init__(self, kernel_size=1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = positive("kernel_size", kernel_size)

    def build(self, input_shape):
        """Draw the rotation uniformly from the orthogonal matrices; column i of the weight holds row i of R."""
        d = self.compute_output_shape(input_shape)[-1]
        orthogonal = keras.initializers.Orthogonal()
        self.rotation = self.add_weight(
            name="rotation", shape=(d, d), initializer=orthogonal, trainable=False
        )

    def call(self, inputs):
        """The rotated patches or vectors."""
        if len(inputs.shape) == 2:
            return ops.matmul(inputs, self.rotation)
        size = self.kernel_size
        return fast_ops.conv2d(inputs, ops.reshape(self.rotation, (size, size, inputs.shape[-1], -1)))

    def compute_output_shape(self, input_shape):
        """(..., kernel_size^2 channels)."""
        return (*input_shape[:-1], self.kernel_size**2 * input_shape[-1])

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"kernel_size": self.kernel_size}
