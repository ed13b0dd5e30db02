"""Batch norm, by default without a scale."""

import math

import keras
from keras import ops

from bnn.console.errors import ConfigError
from bnn.layers import fast_ops

BatchSizeError = ConfigError  # its name in earlier versions


@keras.saving.register_keras_serializable("bnn")
class BatchNorm(keras.Layer):
    """Batch norm with an offset, by default without a scale (paper, section 2).

    A positive scale does not change a sign. The input and the output are (..., channels). The moments and the weights
    are float32 for every dtype but float64. Inference uses moving averages, and so does a frozen layer,
    `trainable = False`, in training. During the first 1 / (1 - decay) steps they are plain means over all steps.
    Therefore the initial values 0 and 1 have no weight, and a network is usable after a few steps.

    Args:
        decay: float in [0, 1), the decay of the moving averages.
        epsilon: float > 0, added to the variance.
        scale: bool, whether the normalized values are multiplied by `gamma`, a trained weight per channel that starts
            at 1. A negative value reverses the activation that follows.

    Raises:
        ConfigError: in training, the input holds one value per channel, so that the output is the offset for every
            input and nothing before the layer learns. Where TensorFlow runs a graph, its error has the same message.
    """

    def __init__(self, decay=0.999, epsilon=1e-3, scale=False, **kwargs):
        super().__init__(**kwargs)
        self.decay = decay
        self.epsilon = epsilon
        self.scale = scale

    def build(self, input_shape):
        """Create the offset, the moving averages, and gamma if the layer has a scale."""
        dtype = "float64" if self.variable_dtype == "float64" else "float32"

        def weight(name, initializer, shape=(input_shape[-1],), **kwargs):
            options = {"initializer": initializer, "dtype": dtype, "autocast": False}
            return self.add_weight(name=name, shape=shape, **options, **kwargs)

        self.offset = weight("offset", "zeros")
        self.moving_mean = weight("moving_mean", "zeros", trainable=False)
        self.moving_variance = weight("moving_variance", "ones", trainable=False)
        self.steps = weight("steps", "zeros", shape=(), trainable=False)
        self.gamma = weight("gamma", "ones") if self.scale else None

    def call(self, inputs, training=False):
        """Normalize with the moments of the batch in training, with the moving averages otherwise or if frozen."""
        if not (training and self.trainable):
            factor = ops.rsqrt(self.moving_variance + self.epsilon)
            factor = factor if self.gamma is None else factor * self.gamma
            shift = self.offset - self.moving_mean * factor
            return ops.cast(ops.cast(inputs, self.offset.dtype) * factor + shift, self.compute_dtype)
        inputs = self._of_several_values(inputs)
        normalized, mean, variance = fast_ops.batch_norm(inputs, self.offset, self.epsilon, self.gamma)
        self.steps.assign_add(1)
        rate = ops.maximum(1 - self.decay, 1 / self.steps)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign_add(rate * (value - average))
        return normalized

    def _of_several_values(self, inputs):
        """Return the inputs, or raise an error if they hold one value per channel."""
        batch, *places = inputs.shape[:-1] or (1,)
        if None in places or math.prod(places) > 1:
            return inputs
        message = (
            f"{self.name}: expected training batches of at least 2 images, whose variance batch norm divides by, "
            "received a batch of 1; choose a batch_size that leaves no rest of 1, or drop the last batch"
        )
        if batch is None:
            return fast_ops.expect_two(inputs, message)
        if batch == 1:
            raise ConfigError(message)
        return inputs

    def compute_output_shape(self, input_shape):
        """Return the input's shape."""
        return input_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"decay": self.decay, "epsilon": self.epsilon, "scale": self.scale}
