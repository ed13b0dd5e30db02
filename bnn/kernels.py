"""The few operations that decide the speed of training."""

from keras import ops


def batch_norm(x, offset, epsilon):
    """Normalize over all axes but the last by the batch's own moments, and add an offset.

    Args:
        x: (..., channels) float tensor.
        offset: (channels,) float32 tensor.
        epsilon: added to the variance.

    Returns:
        (normalized x in x's dtype, mean (channels,) float32, biased variance (channels,) float32)
    """
    axes = tuple(range(len(x.shape) - 1))
    values = ops.cast(x, "float32")
    mean, variance = ops.moments(values, axes)
    normalized = (values - mean) * ops.rsqrt(variance + epsilon) + offset
    return ops.cast(normalized, x.dtype), mean, variance
