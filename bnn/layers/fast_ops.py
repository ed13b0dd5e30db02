"""The few operations that decide the speed of training.

The `portable_` form of each operation uses `keras.ops` and is its definition. The name without a prefix selects the
fastest form. The timings are for TensorFlow 2.21, bfloat16, batch size 50, the paper's CIFAR-10 network, and 2 cores
with AVX512-BF16. "Step 1.05 x" means that a training step takes 1.05 times as long with the portable form.

The `lean_` forms are for JAX. In a training step that is compiled for an H100, all operations except the products read
and write 1.0 GB with the lean forms and 1.3 GB without them. The lean forms have not been timed.
"""

import math
from importlib.util import find_spec

import keras
import numpy as np
from keras import ops

from bnn.layers.quantizers import is_sign

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

# TensorFlow's fused batch norm replaces a smaller epsilon by this one, because of cuDNN.
LEAST_FUSED_EPSILON = 1.001e-5


def on_cpu():
    """Whether TensorFlow computes, without a GPU."""
    return tf is not None and not tf.config.list_physical_devices("GPU")


def portable_batch_norm(x, offset, epsilon, scale=None):
    """Normalize over all axes except the last with the moments of the batch, multiply by a scale and add an offset.

    Args:
        x: (..., channels) float tensor.
        offset: (channels,) float32 or float64 tensor.
        epsilon: added to the variance.
        scale: (channels,) float32 tensor. None means 1.

    Returns:
        (normalized x in x's dtype, mean and biased variance (channels,) in the dtype of the offset)
    """
    axes = tuple(range(len(x.shape) - 1))
    values = ops.cast(x, offset.dtype)
    mean, variance = ops.moments(values, axes)
    factor = ops.rsqrt(variance + epsilon)
    factor = factor if scale is None else factor * scale
    normalized = (values - mean) * factor + offset
    return ops.cast(normalized, x.dtype), mean, variance


def fused_batch_norm(x, offset, epsilon, scale=None):
    """`portable_batch_norm` for images; 2.8 ms with its gradient instead of 22.8 ms (conv_1), step 1.13 x.

    The epsilon must be at least `LEAST_FUSED_EPSILON`.
    """
    scale = tf.ones_like(offset) if scale is None else scale
    normalized, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=epsilon)
    n = tf.cast(tf.size(x) // tf.size(offset), tf.float32)
    return normalized, mean, variance * (n - 1) / n  # The operation returns the unbiased variance.


def lean_batch_norm(x, offset, epsilon, scale=None):
    """`portable_batch_norm` with an explicit gradient: XLA reads and writes less, and keeps no float32 copies.

    The moments have no gradient because only the moving averages use them.
    """

    @ops.custom_gradient
    def normalize(x, offset, *scales):
        normalized, mean, variance = portable_batch_norm(x, offset, epsilon, *scales)

        def gradient(upstream):
            inverse = ops.rsqrt(variance + epsilon)
            centered, slope = (ops.cast(x, mean.dtype) - mean) * inverse, ops.cast(upstream[0], mean.dtype)
            axes = tuple(range(len(x.shape) - 1))
            along = ops.mean(slope * centered, axes)
            d_x = inverse * (slope - ops.mean(slope, axes) - centered * along)
            for scale in scales:
                d_x = d_x * scale
            d_scales = [ops.sum(slope * centered, axes) for _ in scales]
            return ops.cast(d_x, x.dtype), ops.sum(slope, axes), *d_scales

        return (normalized, mean, variance), gradient

    return normalize(x, offset) if scale is None else normalize(x, offset, scale)


def batch_norm(x, offset, epsilon, scale=None):
    """`portable_batch_norm`, in the fastest form of the backend."""
    if tf is None:
        return lean_batch_norm(x, offset, epsilon, scale)
    fused = len(x.shape) == 4 and offset.dtype == "float32" and epsilon >= LEAST_FUSED_EPSILON
    return (fused_batch_norm if fused else portable_batch_norm)(x, offset, epsilon, scale)


def expect_two(x, message):
    """Return a tensor of TensorFlow; the graph ends with an error if its first axis has fewer than 2 entries.

    XLA leaves assertions out. There the tensor becomes NaN, and so does the loss.
    """
    enough = tf.shape(x)[0] > 1
    with tf.control_dependencies([tf.debugging.Assert(enough, [message])]):
        return tf.where(enough, x, tf.constant(math.nan, x.dtype))


def portable_max_pool2d(x):
    """The maximum of each 2x2 window of a (batch, height, width, channels) tensor.

    The windows do not overlap. An odd last row or column is ignored. If several values are equal, the first one
    receives the gradient.
    """
    return ops.max_pool(x, 2, 2, data_format="channels_last")


def lean_max_pool2d(x):
    """`portable_max_pool2d` that stores the position of each maximum.

    XLA's own gradient searches for the maximum again and scatters, which is slow on GPUs.
    """
    height, width, channels = x.shape[1:]
    rows, columns = height // 2, width // 2

    @ops.custom_gradient
    def pool(x):
        windows = ops.reshape(x[:, : 2 * rows, : 2 * columns], (-1, rows, 2, columns, 2, channels))
        corners = [windows[:, :, i, :, j] for i in range(2) for j in range(2)]
        largest = ops.maximum(ops.maximum(*corners[:2]), ops.maximum(*corners[2:]))
        first = ops.full_like(largest, 3, dtype="int8")
        for place in (2, 1, 0):
            first = ops.where(corners[place] == largest, ops.cast(place, "int8"), first)

        def gradient(upstream):
            place = ops.reshape(ops.arange(4, dtype="int8"), (2, 1, 2, 1))
            first_, upstream = (t[:, :, None, :, None, :] for t in (first, upstream))
            d_x = ops.where(first_ == place, upstream, ops.zeros_like(upstream))
            d_x = ops.reshape(d_x, (-1, 2 * rows, 2 * columns, channels))
            return ops.pad(d_x, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)])

        return largest, gradient

    return pool(x)


def max_pool2d(x):
    """`portable_max_pool2d`, in the fastest form of the backend."""
    return (lean_max_pool2d if tf is None else portable_max_pool2d)(x)


def portable_conv2d(x, kernel, strides=1, padding="same", dilation_rate=1):
    """Convolve, in as many groups as the kernel has fewer channels than x.

    Args:
        x: (batch, height, width, channels) float tensor.
        kernel: (size, size, channels / groups, filters) tensor of x's dtype.
        strides: int, the distance of the positions; 1 if the dilation rate is not.
        padding: "same" (with zeros) or "valid" (none).
        dilation_rate: int, the distance of the taps.

    Returns:
        (batch, height, width, filters) tensor of x's dtype; with "same", sides are divided by the strides and rounded
        up.
    """
    if kernel.shape[0] == 1 and strides > 1:
        # The same positions, without oneDNN's strided 1x1 convolution, whose gradient is faulty (its issue 6035).
        x, strides = x[:, ::strides, ::strides], 1
    options = {"padding": padding, "dilation_rate": dilation_rate, "data_format": "channels_last"}
    groups = x.shape[-1] // kernel.shape[2]
    if tf is None or groups == 1:
        return ops.conv(x, kernel, strides, **options)
    if kernel.shape[2] == 1:  # depthwise
        kernel = ops.reshape(kernel, (*kernel.shape[:2], groups, -1))
        return ops.depthwise_conv(x, kernel, strides, **options)
    # One convolution per group: outside of a graph, TensorFlow compiles a grouped one again at every call.
    parts = zip(ops.split(x, groups, axis=-1), ops.split(kernel, groups, axis=-1), strict=True)
    return ops.concatenate([ops.conv(*part, strides, **options) for part in parts], axis=-1)


def tap_conv2d(x, kernel):
    """`portable_conv2d` whose kernel gradient is one product per tap: 22 ms instead of 46 ms (conv_6), step 1.03 x."""
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


def conv2d(x, kernel, strides=1, padding="same", dilation_rate=1):
    """`portable_conv2d`; on CPUs with the faster gradient, which helps only in bfloat16 and up to 8x8 positions."""
    if (strides, padding, dilation_rate) != (1, "same", 1) or x.shape[-1] != kernel.shape[2]:
        return portable_conv2d(x, kernel, strides, padding, dilation_rate)
    taps = on_cpu() and x.dtype == "bfloat16" and None not in x.shape[1:3] and x.shape[1] * x.shape[2] <= 64
    return (tap_conv2d if taps else portable_conv2d)(x, kernel)


def bits_conv2d(x, kernel):
    """`portable_conv2d` of float32 signs, with the same sums from `bnn.bits`; step 1.22 x (float32)."""
    from bnn import bits

    def multiply(x, kernel):
        rows = bits.convolution_kernel(bits.pack(np.swapaxes(kernel, 2, 3)))
        return bits.convolve(bits.pack(x), rows).astype(np.float32)

    @tf.custom_gradient
    def convolve(x, kernel):
        def gradient(upstream):
            d_x = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), 1, "SAME")
            d_kernel = tf.raw_ops.Conv2DBackpropFilter(
                input=x,
                filter_sizes=kernel.shape,
                out_backprop=upstream,
                strides=[1] * 4,
                padding="SAME",
            )
            return d_x, d_kernel

        sums = tf.numpy_function(multiply, [x, kernel], tf.float32)
        return tf.ensure_shape(sums, (*x.shape[:3], kernel.shape[-1])), gradient

    return convolve(x, kernel)


def sign_conv2d(x, kernel):
    """`portable_conv2d` of tensors of -1 and +1, in the fastest form for a step of training.

    Bits are faster than float32 on CPUs, but not than bfloat16. With few channels, the rest of a step takes longer than
    the products.
    """
    on_bits = on_cpu() and x.dtype == "float32" and x.shape[-1] >= 128 and find_spec("numba") is not None
    return (bits_conv2d if on_bits else conv2d)(x, kernel)


def portable_quantize(quantizer, x, dtype):
    """Quantize the float tensor or variable x and cast to dtype."""
    # The cast turns a variable into a tensor: TensorFlow's custom gradients accept tensors only.
    return ops.cast(quantizer(ops.cast(x, x.dtype)), dtype)


def direct_sign(x, dtype):
    """`portable_quantize` with `Sign` in fewer passes: 8 ms with its gradient, not 12 ms (dense_1), step 1.05 x."""

    @tf.custom_gradient
    def estimator(x):
        def gradient(upstream):
            # Select is faster than SelectV2, which supports broadcasting.
            passed = tf.raw_ops.Select(condition=tf.abs(x) <= 1, x=upstream, y=tf.zeros_like(upstream))
            return tf.cast(passed, x.dtype)

        return tf.where(x >= 0, tf.constant(1, dtype), tf.constant(-1, dtype)), gradient

    return estimator(tf.convert_to_tensor(x))


def quantize(quantizer, x, dtype):
    """`portable_quantize`, with fewer passes over memory for `Sign`."""
    if tf is not None and is_sign(quantizer):
        return direct_sign(x, dtype)
    return portable_quantize(quantizer, x, dtype)
