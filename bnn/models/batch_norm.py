"""Batch norm's moving averages, measured anew after a network's weights or quantizers have changed."""

import math

import keras
import numpy as np
from keras import ops

from bnn.layers import BatchNorm


def refit_batch_norm(model, images, batch_size=200):
    """Replace the moving averages of every batch norm, ours or Keras's own, by training images' moments, in place.

    A layer's moments depend on all layers before it, so they cannot be read off a network whose earlier
    averages are stale. Here every batch runs in training mode, each layer normalizing by the batch's own
    moments, and these are pooled over the batches (PreciseBN [1]_):

        mean = E m_b,  variance = E v_b + Var m_b.

    That costs one pass whatever the depth, in memory that does not grow with the images; going layer by layer
    would need a pass a layer, or all activations at once. The price is that a batch's moments stand in for the
    population's in the layers before: with 200 images and more, far less than the difference a refit makes.

    Args:
        model: keras.Model, a graph in which every batch norm is called once, over the last axis.
        images: (n, height, width, channels) uint8 array, n >= 2: training images.
        batch_size: int, >= 2, images at a time, at most; batches are as equal as can be.

    Raises:
        ValueError: there are fewer than two images, or batches of fewer.

    References:
        .. [1] Y. Wu & J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, https://arxiv.org/abs/2105.07576.
    """
    for name, value in (("images", len(images)), ("batch_size", batch_size)):
        if value < 2:
            raise ValueError(f"{name}: expected at least 2, for a variance, received {value}")
    norms = [
        layer for layer in model.layers if isinstance(layer, BatchNorm | keras.layers.BatchNormalization)
    ]
    moments = keras.Model(model.inputs, [moment for norm in norms for moment in _moments(norm.input)])
    batches = np.array_split(images, math.ceil(len(images) / batch_size))
    measured = [moments([batch], training=True) for batch in batches]
    sizes = [len(batch) for batch in batches]
    for i, norm in enumerate(norms):
        means, variances = (np.stack([ops.convert_to_numpy(m[2 * i + j]) for m in measured]) for j in (0, 1))
        mean, variance = _pooled(means.astype(np.float64), variances.astype(np.float64), sizes)
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)


def _moments(tensor):
    axes = tuple(range(len(tensor.shape) - 1))
    return ops.moments(ops.cast(tensor, "float32"), axes)


def _pooled(means, variances, sizes):
    """Mean and variance (channels,) of the union of batches, from theirs (batches, channels)."""
    mean = np.average(means, axis=0, weights=sizes)
    return mean, np.average(variances + (means - mean) ** 2, axis=0, weights=sizes)
