"""A fixed random rotation for generalized binarization."""

import keras
from keras import ops

from bnn.layers import fast_ops
from bnn.layers.quantized import positive


@keras.saving.register_keras_serializable("bnn")
class Rotation(keras.Layer):
    """A fixed random rotation of the vectors that the next layer multiplies: x -> R x. R is orthogonal and not trained.

    Together with a following layer with the quantizer theta, it computes the generalized binarization transformation
    (paper, section 3). Let v be the latent kernel of that layer and x a patch of this layer's input. The product is

        theta(v) . R x  =  R' theta(R w) . x  =  theta_R(w) . x,  where w = R' v.

    The kernel is quantized in a random basis. Therefore its angle to w is that of random vectors for any principal
    components of x. The straight-through estimator also acts in that basis.

    An input (batch, height, width, channels) gives (batch, height, width, kernel_size^2 channels): at every position,
    the rotated patch that a SAME convolution would multiply there. The convolution that follows has kernel size 1.
    An input (batch, features) gives rotated vectors of the same shape.

    Args:
        kernel_size: int, side of the square patches; 1 for vectors.

    Raises:
        ValueError: kernel_size is not a positive whole number.
    """

    def __init__(self, kernel_size=1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = positive("kernel_size", kernel_size)

    def build(self, input_shape):
        """Draw the rotation uniformly from the orthogonal matrices. Column i of the weight holds row i of R."""
        d = self.compute_output_shape(input_shape)[-1]
        orthogonal = keras.initializers.Orthogonal()
        self.rotation = self.add_weight(
            name="rotation", shape=(d, d), initializer=orthogonal, trainable=False
        )

    def call(self, inputs):
        """Return the rotated patches or vectors."""
        if len(inputs.shape) == 2:
            return ops.matmul(inputs, self.rotation)
        size = self.kernel_size
        return fast_ops.conv2d(inputs, ops.reshape(self.rotation, (size, size, inputs.shape[-1], -1)))

    def compute_output_shape(self, input_shape):
        """Return (..., kernel_size^2 channels)."""
        return (*input_shape[:-1], self.kernel_size**2 * input_shape[-1])

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"kernel_size": self.kernel_size}
