"""Layers that multiply every patch by one fixed matrix before the first product: a rotation, a whitening."""

import keras
import numpy as np
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


@keras.saving.register_keras_serializable("bnn")
class Rotation(PatchTransform):
    """A fixed random rotation of the vectors that the next layer multiplies: x -> R x. R is orthogonal and not trained.

    Together with a following layer with the quantizer theta, it computes the generalized binarization transformation
    (paper, section 3). Let v be the latent kernel of that layer and x a patch of this layer's input. The product is

        theta(v) . R x  =  R' theta(R w) . x  =  theta_R(w) . x,  where w = R' v.

    The kernel is quantized in a random basis. Therefore its angle to w is that of random vectors for any principal
    components of x. The straight-through estimator also acts in that basis. R is drawn uniformly from the orthogonal
    matrices. Shapes are those of `PatchTransform`.

    Args:
        kernel_size: int, side of the square patches; 1 for vectors.

    Raises:
        ValueError: kernel_size is not a positive whole number.
    """

    initializer = "orthogonal"

    @property
    def rotation(self):
        """The (d, d) weight, whose column i holds row i of R."""
        return self.matrix


EPSILON = 5e-4  # of the mean variance
VALUES = 2**24  # the number of values in the patches that are measured


@keras.saving.register_keras_serializable("bnn")
class Whitening(PatchTransform):
    r"""Whitens the patches that the next layer multiplies: x -> W x. W is measured once and not trained.

    The rows of W are the eigenvectors of the covariance of the patches, divided by sqrt(eigenvalue + epsilon), where
    epsilon is 0.0005 times the mean eigenvalue. So the outputs are uncorrelated, and the variance of each is
    eigenvalue / (eigenvalue + epsilon), about 1. Shapes are those of `PatchTransform`. A real kernel v after this layer
    is the same as the kernel W' v on the patches themselves, but its gradient is that in the whitened coordinates.

    The first layer of [1]_, from [2]_, also has the negative of each eigenvector, because a nonlinearity follows it.
    Here a kernel follows, to which the negatives would add nothing. The mean of the patches is not subtracted, because
    batch norm after the kernel does so.

    A new layer has the identity matrix. `adapt` measures W.

    Args:
        kernel_size: int, side of the square patches; 1 for vectors.

    Raises:
        ValueError: kernel_size is not a positive whole number.

    References:
        .. [1] Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv:2404.00498.
        .. [2] tysam-code, hlb-CIFAR10, 2023, https://github.com/tysam-code/hlb-CIFAR10.
    """

    initializer = "identity"

    def adapt(self, inputs):
        """Measure W on inputs of this layer. The same inputs give the same W.

        Args:
            inputs: (n, height, width, channels) or (n, features) float array, n >= 2. Of many patches, some are chosen
                at random, equally many of each input.
        """
        vectors = inputs if inputs.ndim == 2 else random_patches(inputs, self.kernel_size)
        covariance = np.atleast_2d(np.cov(vectors, rowvar=False, dtype=np.float64))
        variances, directions = np.linalg.eigh(covariance)
        epsilon = EPSILON * variances.mean() or 1.0  # all inputs are equal
        self.matrix.assign(directions / np.sqrt(np.maximum(variances, 0) + epsilon))


def random_patches(inputs, size):
    """Take patches of a SAME convolution at random positions.

    Args:
        inputs: (n, height, width, channels) array.
        size: int, side of the patches.

    Returns:
        (n count, size^2 channels) array, where count n size^2 channels is about `VALUES`.
    """
    n, height, width, channels = inputs.shape
    count = min(max(1, VALUES // (n * size**2 * channels)), height * width)
    pad = (size - 1) // 2, size // 2
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(inputs, [(0, 0), pad, pad, (0, 0)]), (size, size), axis=(1, 2)
    )
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(side, size=(n, count)) for side in (height, width))
    return windows[np.arange(n)[:, None], rows, columns].transpose(0, 1, 3, 4, 2).reshape(n * count, -1)
