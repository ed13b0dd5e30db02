"""A fixed whitening of the patches that a first layer multiplies."""

import keras
import numpy as np

from bnn.layers.patches import PatchTransform

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
