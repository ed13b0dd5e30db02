"""Refit the moving averages of batch norm after the weights or quantizers of a network have changed.

Do not refit on test images whose accuracy you report.
"""

from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from bnn.layers import BatchNorm
from bnn.models import inputs
from bnn.models.traversal import walk, wrapped_calls


def refit_batch_norm(model, images, batch_size=200):
    """Replace the moving averages of every batch norm, ours or Keras's, by the moments of training images, in place.

    The moments of a layer depend on all layers before it, so they are wrong while the averages of earlier layers are
    stale. Therefore every batch norm normalizes with the moments of the batch, while all other layers, such as dropout,
    are in inference. The moments are pooled over the batches (PreciseBN [1]_):

        mean = E m_b,  variance = E v_b + Var m_b.

    This takes one pass for any depth, and the memory does not grow with the number of images. An exact computation
    would take one pass per layer, or would store all activations. The approximation is that the layers before use the
    moments of a batch instead of those of all images. With at least 200 images per batch, the error is far smaller than
    the effect of the refit.

    Args:
        model: keras.Model in which every batch norm, also in nested models, is called once. Each keeps its own axis of
            channels, and leaves out what a mask of its inputs removes. Batch renormalization takes the moments of the
            batch here, as batch norm does. Without a batch norm nothing happens.
        images: (n, height, width, channels) uint8 array of training images, n >= 2; or what else the model takes, also
            a list or Mapping of arrays, see `inputs.as_built`.
        batch_size: int, >= 2, the largest number of images per batch. The batches are as equal as possible; none holds
            a single image, so that of an odd number of images in batches of 2 one batch has 3.

    Raises:
        ValueError: there are fewer than two images, the batch size is less than two, a batch norm is not called once
            or gets nothing but masked values, or the arrays do not match the inputs of the model.

    References:
        .. [1] Y. Wu & J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, https://arxiv.org/abs/2105.07576.
    """
    images = inputs.as_built(model, images)
    for name, value in (("images", inputs.count(images)), ("batch_size", batch_size)):
        if value < 2:
            raise ValueError(f"{name}: expected at least 2, to compute a variance, received {value}")
    batches = inputs.batches(images, batch_size, least=2)
    for norm, measured in _measured(model, batches).items():
        if len(measured) != len(batches):
            raise ValueError(f"{norm.name}: expected one call, received {len(measured) / len(batches):g}")
        means, variances, counts = (
            np.stack(values).astype(np.float64) for values in zip(*measured, strict=True)
        )
        if not counts.sum(axis=0).all():
            raise ValueError(f"{norm.name}: expected inputs, received nothing but masked ones")
        mean, variance = _pooled(means, variances, counts)
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)


def batch_norms(model):
    """Return the batch norms of a model, ours and Keras's, also those in nested models."""
    kinds = BatchNorm | keras.layers.BatchNormalization
    return [layer for _, layer in walk(model) if isinstance(layer, kinds)]


def _measured(model, batches):
    """Return a dict from each batch norm to the moments of its input, one pair for each call with a batch."""
    found = {norm: [] for norm in batch_norms(model)}

    def measuring(norm, call):
        def measured(inputs, training=False, **options):
            moments = _moments(inputs, getattr(norm, "axis", -1), options.get("mask"))
            found[norm].append([ops.convert_to_numpy(moment) for moment in moments])
            return call(inputs, training=True, **options)

        return measured

    with _own_moments(found), wrapped_calls(found, measuring):
        for batch in batches if found else ():
            model(batch, training=False)
    return found


@contextmanager
def _own_moments(norms):
    """Within this context, every batch norm in training normalizes with the moments of the batch.

    A frozen one would take its averages, and batch renormalization a mixture of both.
    """
    before = [(norm.trainable, getattr(norm, "renorm", False)) for norm in norms]
    try:
        for norm, (_, renorm) in zip(norms, before, strict=True):
            norm.trainable = True
            if renorm:
                norm.renorm = False
        yield
    finally:
        for norm, (trainable, renorm) in zip(norms, before, strict=True):
            norm.trainable = trainable
            if renorm:
                norm.renorm = True


def _moments(tensor, axis, mask):
    """The mean and the variance of each channel, and the number of their values, tensors (channels,).

    Args:
        tensor: input of a batch norm.
        axis: int, the axis of its channels.
        mask: bool tensor without the last axis, False for what is left out; None: all counts.
    """
    values = ops.moveaxis(ops.cast(tensor, "float32"), axis, -1)
    axes = tuple(range(len(values.shape) - 1))
    if mask is None:
        mean, variance = ops.moments(values, axes)
        return mean, variance, ops.full_like(mean, float(np.prod([values.shape[i] for i in axes])))
    kept = ops.broadcast_to(ops.cast(mask, "bool")[..., None], tensor.shape)
    kept = ops.cast(ops.moveaxis(kept, axis, -1), "float32")
    counts = ops.sum(kept, axes)
    mean = ops.sum(values * kept, axes) / ops.maximum(counts, 1)
    return mean, ops.sum(ops.square(values - mean) * kept, axes) / ops.maximum(counts, 1), counts


def _pooled(means, variances, counts):
    """Pool means and variances of batches, (batches, channels), to those of all images, (channels,)."""
    mean = np.average(means, axis=0, weights=counts)
    return mean, np.average(variances + (means - mean) ** 2, axis=0, weights=counts)
