"""Refit the moving averages of batch norm after the weights or quantizers of a network have changed."""

import math

import keras
import numpy as np
from keras import ops

from bnn.layers import BatchNorm


def refit_batch_norm(model, images, batch_size=200):
    """Replace the moving averages of every batch norm, ours or Keras's, by the moments of training images, in place.

    The moments of a layer depend on all layers before it, so they are wrong while the averages of earlier layers are
    stale. Therefore every batch runs in training mode, where each layer normalizes with the moments of the batch. The
    moments are pooled over the batches (PreciseBN [1]_):

        mean = E m_b,  variance = E v_b + Var m_b.

    This takes one pass for any depth, and the memory does not grow with the number of images. An exact computation
    would take one pass per layer, or would store all activations. The approximation is that the layers before use the
    moments of a batch instead of those of all images. With at least 200 images per batch, the error is far smaller than
    the effect of the refit.

    Args:
        model: keras.Model, a graph in which every batch norm is called once and normalizes over the last axis.
        images: (n, height, width, channels) uint8 array of training images, n >= 2.
        batch_size: int, >= 2, the largest number of images per batch. The batches are as equal as possible.

    Raises:
        ValueError: there are fewer than two images, or the batch size is less than two.

    References:
        .. [1] Y. Wu & J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, https://arxiv.org/abs/2105.07576.
    """
    for name, value in (("images", len(images)), ("batch_size", batch_size)):
        if value < 2:
            raise ValueError(f"{name}: expected at least 2, to compute a variance, received {value}")
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
    """Pool means and variances of batches, (batches, channels), to those of all images, (channels,)."""
    mean = np.average(means, axis=0, weights=sizes)
    return mean, np.average(variances + (means - mean) ** 2, axis=0, weights=sizes)
