"""Batch norm without a scale."""

import keras
from keras import ops

from bnn.layers import fast_ops


@keras.saving.register_keras_serializable("bnn")
class BatchNorm(keras.Layer):
    """Batch norm with offset and no scale (paper, section 2): before a sign, a positive scale changes nothing.

    Input and output are (..., channels). Moments are float32, whatever the compute dtype. The moving averages that
    inference uses are plain means over all steps until there are more than 1 / (1 - decay) of these, so that the
    initial values 0 and 1 have no weight, and a network is usable after a few steps.

    Args:
        decay: float in [0, 1), of the moving averages.
        epsilon: float, added to the variance.
    """

    def __init__(self, decay=0.999, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.decay = decay
        self.epsilon = epsilon

    def build(self, input_shape):
        """Create the offset and the moving averages."""

        def weight(name, initializer, shape=(input_shape[-1],), **kwargs):
            return self.add_weight(name=name, shape=shape, initializer=initializer, autocast=False, **kwargs)

        self.offset = weight("offset", "zeros")
        self.moving_mean = weight("moving_mean", "zeros", trainable=False)
        self.moving_variance = weight("moving_variance", "ones", trainable=False)
        self.steps = weight("steps", "zeros", shape=(), trainable=False)

    def call(self, inputs, training=False):
        """Normalize by the batch's moments in training, by the moving averages otherwise."""
        if not training:
            scale = ops.rsqrt(self.moving_variance + self.epsilon)
            shift = self.offset - self.moving_mean * scale
            return ops.cast(ops.cast(inputs, "float32") * scale + shift, self.compute_dtype)
        normalized, mean, variance = fast_ops.batch_norm(inputs, self.offset, self.epsilon)
        self.steps.assign_add(1)
        rate = ops.maximum(1 - self.decay, 1 / self.steps)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign_add(rate * (value - average))
        return normalized

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"decay": self.decay, "epsilon": self.epsilon}
