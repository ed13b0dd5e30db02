"""Moments of the inputs and products of one batch, computed where these are, so that few numbers are copied.

The sums are over the positions of one image, or over the images of one batch, in float32; the caller merges them in
float64. They are of deviations from one of the values, so rounding is relative to the standard deviation. Values whose
standard deviation is below 1e-19 count as constant, because their squares are 0 in float32.
"""

import math

import keras
import numpy as np
from keras import ops

from bnn.analysis.core.unit_products import UnitProducts
from bnn.analysis.keras.products import multiply


def compiled(function):
    """Compile a function of tensors on JAX, once for each shape. TensorFlow runs its operations one by one."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


@compiled
def of_inputs(inputs):
    """The moments of each entry over the images.

    Args:
        inputs: (n, ...) float32 tensor.

    Returns:
        (first, shift, scatter): (...) tensors, one of the values, the mean less that value, and the sum of squared
        deviations from the mean.
    """
    origin, shift, deviations = _centered(inputs, 0)
    return origin, shift, ops.sum(ops.square(deviations), axis=0)


@compiled
def of_products(products):
    """The moments of each unit's pairs of products over the positions of each image.

    Args:
        products: (n, ..., groups, 2 units) float32 tensor, those with the quantized kernel, then those with the latent.

    Returns:
        (first, shift, scatter): (n, 2, groups x units) tensors, one of the values and the mean less that value, and
        (n, 3, groups x units) tensor, the sums of products of deviations, as for `UnitMoments.merge`.
    """
    n, groups, units = len(products), products.shape[-2], products.shape[-1] // 2
    pairs = ops.reshape(products, (n, -1, groups, 2, units))
    origin, shift, deviations = _centered(pairs, 1)
    x, y = deviations[:, :, :, 0], deviations[:, :, :, 1]
    scatter = ops.stack([ops.sum(product, axis=1) for product in (x * x, x * y, y * y)], axis=1)
    origin, shift = (ops.reshape(ops.swapaxes(part, 1, 2), (n, 2, -1)) for part in (origin, shift))
    return origin, shift, ops.reshape(scatter, (n, 3, -1))


def _centered(values, axis):
    """The first value along an axis, the mean less that value, and the deviations from the mean."""
    origin = ops.take(values, 0, axis=axis)
    deviations = values - ops.expand_dims(origin, axis)  # exactly 0 for a constant
    shift = ops.mean(deviations, axis=axis)
    return origin, shift, deviations - ops.expand_dims(shift, axis)


class BatchProducts(UnitProducts):
    """Accumulates what `UnitProducts` does, with products and most sums computed where the inputs are, in float32."""

    def update_on_device(self, call, inputs, both):
        """Add one batch of one call of the layer.

        Args:
            call: int, index of the call.
            inputs: (n, ..., channels) float32 array or tensor.
            both: (d, groups, 2 units) float32 tensor, the quantized and the latent kernel.
        """
        if not len(inputs):
            return
        inputs = ops.convert_to_tensor(inputs)
        mean, scatter = _in_float64(of_inputs(inputs))
        self.moments_of(call, inputs).merge(len(inputs), mean.reshape(-1), scatter.reshape(-1))
        products = multiply(self.product.linear, inputs, both)
        positions = math.prod(products.shape[1:-2])
        self.moments.merge(positions, *_in_float64(of_products(products)))


def _in_float64(moments):
    """The mean and the scatter, float64 arrays, from the result of a function of this module."""
    first, shift, scatter = (ops.convert_to_numpy(part).astype(np.float64) for part in moments)
    return first + shift, scatter
