"""The few operations that decide the speed of training.

Each is defined on `keras.ops` by its `portable_` form; the plain name is a faster one where there is one.
Figures: TensorFlow 2.21, bfloat16, batch 50, the paper's CIFAR-10 network, 2 cores with AVX512-BF16.
"""

import keras
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None


def portable_batch_norm(x, offset, epsilon):
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


def fused_batch_norm(x, offset, epsilon):
    """`portable_batch_norm` of images; with its gradient 2.8 ms instead of 22.8 ms (conv_1)."""
    scale = tf.ones_like(offset)
    normalized, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=epsilon)
    n = tf.cast(tf.size(x) // tf.size(offset), tf.float32)
    return normalized, mean, variance * (n - 1) / n  # The operation gives the unbiased variance.


def batch_norm(x, offset, epsilon):
    """`portable_batch_norm`, fused where that is faster."""
    fused = tf is not None and len(x.shape) == 4
    return (fused_batch_norm if fused else portable_batch_norm)(x, offset, epsilon)


def portable_conv2d(x, kernel):
    """Convolve with stride 1 and SAME padding.

    Args:
        x: (batch, height, width, channels) float tensor.
        kernel: (size, size, channels, filters) tensor of x's dtype.

    Returns:
        (batch, height, width, filters) tensor of x's dtype.
    """
    return ops.conv(x, kernel, padding="same", data_format="channels_last")


def tap_conv2d(x, kernel):
    """`portable_conv2d` whose kernel gradient is one matrix product a tap; that takes 22 ms instead of 46 (conv_6)."""
    size, *_, channels, filters = kernel.shape
    height, width = x.shape[1:3]
    before = (size - 1) // 2
    ends = [before, size - 1 - before]

    @tf.custom_gradient
    def convolve(x, kernel):
        def gradient(upstream):
            padded = tf.pad(x, [[0, 0], ends, ends, [0, 0]])
            columns = tf.reshape(upstream, (-1, filters))
            taps = [
                tf.matmul(tf.reshape(padded[:, i : i + height, j : j + width], (-1, channels)), columns, True)
                for i in range(size)
                for j in range(size)
            ]
            d_x = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), 1, "SAME")
            return d_x, tf.reshape(tf.stack(taps), kernel.shape)

        return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient

    return convolve(x, kernel)


def conv2d(x, kernel):
    """`portable_conv2d`, with the faster gradient on processors; maps above 8x8 and float32 gain nothing by it."""
    taps = (
        tf is not None
        and not tf.config.list_physical_devices("GPU")
        and x.dtype == "bfloat16"
        and None not in x.shape[1:3]
        and x.shape[1] * x.shape[2] <= 64
    )
    return (tap_conv2d if taps else portable_conv2d)(x, kernel)


@keras.saving.register_keras_serializable("bnn")
class Adam(keras.optimizers.Adam):
    """Keras's Adam, with the update in one pass on TensorFlow: 16 ms instead of 28, clipping included."""

    def update_step(self, gradient, variable, learning_rate):
        """Update a variable and its two moments."""
        if tf is None or self.amsgrad:
            return super().update_step(gradient, variable, learning_rate)
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        return tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
