"""Layers of quantized networks. Importing this module makes saved networks loadable."""

import keras
from keras import ops

from bnn import kernels, quantize


def _positive(name, value):
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: expected a positive whole number, received {value!r}")
    return value


@keras.saving.register_keras_serializable("bnn")
class WeightClip(keras.constraints.Constraint):
    """Clip latent weights to [-limit, limit] after every optimizer step (paper, section 2).

    Beyond 1 the straight-through gradient is 0, so an unclipped weight could never come back.

    Raises:
        ValueError: the limit is not positive.
    """

    def __init__(self, limit=1.0):
        if not limit > 0:
            raise ValueError(f"limit: expected a positive number, received {limit!r}")
        self.limit = limit

    def __call__(self, weights):
        """The clipped weights."""
        return ops.clip(weights, -self.limit, self.limit)

    def get_config(self):
        """Arguments of the constructor."""
        return {"limit": self.limit}


class _Quantizing(keras.Layer):
    """A layer whose quantizer may draw random numbers; saved and loaded, it goes on with the numbers that come next.

    Keras keeps the state of a SeedGenerator out of saved files.
    """

    def _apply(self, quantizer, x, dtype, training):
        return kernels.quantize(quantize.for_training(quantizer) if training else quantizer, x, dtype)

    def save_own_variables(self, store):
        """Save the weights, and where the random numbers have got to."""
        super().save_own_variables(store)
        if self.seed_generator is not None:
            store["seed_generator"] = self.seed_generator.state

    def load_own_variables(self, store):
        """Load what `save_own_variables` saved."""
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118, it is no whole mapping
        if self.seed_generator is not None:
            self.seed_generator.state.assign(own.pop("seed_generator"))
        super().load_own_variables(own)


class _QuantLayer(_Quantizing):
    """A layer that multiplies its input by a quantized kernel; the latent kernel is real and stays float32."""

    def __init__(self, kernel_quantizer, kernel_initializer="glorot_uniform", clip=1.0, **kwargs):
        super().__init__(**kwargs)
        self.kernel_quantizer = quantize.get(kernel_quantizer)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_clip = WeightClip(clip)
        self.seed_generator = getattr(self.kernel_quantizer, "seed_generator", None)

    def _add_kernel(self, shape):
        # No autocast: rounded to bfloat16 first, a weight just above the threshold would fall on it.
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=self.kernel_initializer, constraint=self.kernel_clip,
            autocast=False,
        )  # fmt: skip

    def quantized_kernel(self, training=False):
        """The kernel w_b that the layer multiplies by, in the layer's compute dtype."""
        if self.kernel_quantizer is None:
            return ops.cast(self.kernel, self.compute_dtype)
        return self._apply(self.kernel_quantizer, self.kernel, self.compute_dtype, training)

    def call(self, inputs, training=False):
        """The product of the input with the quantized kernel."""
        return self.product(inputs, self.quantized_kernel(training))

    def get_config(self):
        """Arguments of the constructor."""
        quantizer = self.kernel_quantizer
        saved = None if quantizer is None else keras.saving.serialize_keras_object(quantizer)
        return super().get_config() | {
            "kernel_quantizer": saved,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "clip": self.kernel_clip.limit,
        }


@keras.saving.register_keras_serializable("bnn")
class QuantDense(_QuantLayer):
    """Dense layer with a quantized kernel and no bias.

    Input (..., features), output (..., units), kernel (features, units), fan-in d = features.

    Args:
        units: output features.
        kernel_quantizer: maps the latent kernel to the one that is multiplied; None: the latent kernel itself.
        kernel_initializer: keyword; of the latent kernel, anything that `keras.initializers.get` takes.
        clip: keyword; positive limit of the latent weights' size, see `WeightClip`.

    Raises:
        ValueError: units is no positive whole number, clip not positive, or the quantizer neither None nor callable.
    """

    def __init__(self, units, kernel_quantizer=None, **kwargs):
        super().__init__(kernel_quantizer, **kwargs)
        self.units = _positive("units", units)

    def build(self, input_shape):
        """Create the latent kernel."""
        self._add_kernel((input_shape[-1], self.units))

    def product(self, inputs, kernel):
        """The layer's linear map with the given kernel in place of its own."""
        return ops.matmul(inputs, kernel)

    def compute_output_shape(self, input_shape):
        """(..., units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable("bnn")
class QuantConv2D(_QuantLayer):
    """Two-dimensional convolution with a quantized kernel, stride 1, SAME padding and no bias.

    Input (batch, height, width, channels), output (batch, height, width, filters),
    kernel (kernel_size, kernel_size, channels, filters), fan-in d = kernel_size^2 channels.

    Args:
        filters: output channels.
        kernel_size: side of the square kernel.
        kernel_quantizer: maps the latent kernel to the one that is multiplied; None: the latent kernel itself.
        kernel_initializer: keyword; of the latent kernel, anything that `keras.initializers.get` takes.
        clip: keyword; positive limit of the latent weights' size, see `WeightClip`.

    Raises:
        ValueError: a size is no positive whole number, clip not positive, or the quantizer neither None nor callable.
    """

    def __init__(self, filters, kernel_size, kernel_quantizer=None, **kwargs):
        super().__init__(kernel_quantizer, **kwargs)
        self.filters = _positive("filters", filters)
        self.kernel_size = _positive("kernel_size", kernel_size)

    def build(self, input_shape):
        """Create the latent kernel."""
        self._add_kernel((self.kernel_size, self.kernel_size, input_shape[-1], self.filters))

    def product(self, inputs, kernel):
        """The layer's linear map with the given kernel in place of its own."""
        return kernels.conv2d(inputs, kernel)

    def compute_output_shape(self, input_shape):
        """(batch, height, width, filters)."""
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"filters": self.filters, "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable("bnn")
class Rotation(keras.Layer):
    """A fixed random rotation of the vectors that the next layer multiplies: x -> R x, R orthogonal, not trained.

    Before a layer with the quantizer theta it makes the generalized binarization transformation (paper, section 3).
    With a latent kernel v there and a patch x of the input here, the product is

        theta(v) . R x  =  R' theta(R w) . x  =  theta_R(w) . x,  where w = R' v:

    the kernel is quantized in a random basis, so that the angle to w is that of random vectors whatever the
    principal components of x, and the straight-through estimator acts in that basis too.

    Input (batch, height, width, channels) gives (batch, height, width, kernel_size^2 channels): at every place the
    patch that a SAME convolution multiplies there, rotated; the convolution that follows has kernel size 1.
    Input (batch, features) is rotated as it is.

    Args:
        kernel_size: side of the square patches; 1 for vectors.

    Raises:
        ValueError: kernel_size is no positive whole number.
    """

    def __init__(self, kernel_size=1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = _positive("kernel_size", kernel_size)

    def build(self, input_shape):
        """Draw the rotation, uniform among the orthogonal matrices; column i holds row i of R."""
        d = self.compute_output_shape(input_shape)[-1]
        orthogonal = keras.initializers.Orthogonal()
        self.rotation = self.add_weight(
            name="rotation", shape=(d, d), initializer=orthogonal, trainable=False
        )

    def call(self, inputs):
        """The rotated patches, or vectors."""
        if len(inputs.shape) == 2:
            return ops.matmul(inputs, self.rotation)
        size = self.kernel_size
        return kernels.conv2d(inputs, ops.reshape(self.rotation, (size, size, inputs.shape[-1], -1)))

    def compute_output_shape(self, input_shape):
        """(..., kernel_size^2 channels)."""
        return (*input_shape[:-1], self.kernel_size**2 * input_shape[-1])

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable("bnn")
class QuantActivation(_Quantizing):
    """Quantize activations; shape and dtype stay.

    Args:
        quantizer: maps pre-activations to levels; None: hard tanh, clip(x, -1, 1), whose derivative is the very
            gradient that the straight-through estimators use, so that a continuous net is the quantized one's twin.
    """

    def __init__(self, quantizer=None, **kwargs):
        super().__init__(**kwargs)
        self.quantizer = quantize.get(quantizer)
        self.seed_generator = getattr(self.quantizer, "seed_generator", None)

    def call(self, inputs, training=False):
        """The quantized activations."""
        if self.quantizer is None:
            return ops.clip(inputs, -1, 1)
        return self._apply(self.quantizer, inputs, inputs.dtype, training)

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def get_config(self):
        """Arguments of the constructor."""
        saved = None if self.quantizer is None else keras.saving.serialize_keras_object(self.quantizer)
        return super().get_config() | {"quantizer": saved}


@keras.saving.register_keras_serializable("bnn")
class MaxPool2x2(keras.layers.MaxPooling2D):
    """Keras's MaxPooling2D of 2x2 windows side by side, with a gradient that suits GPUs on JAX."""

    def call(self, inputs):
        """The largest value of each window."""
        return kernels.max_pool2d(inputs)


@keras.saving.register_keras_serializable("bnn")
class BatchNorm(keras.Layer):
    """Batch norm with offset and no scale (paper, section 2): before a sign, a positive scale changes nothing.

    Moments are float32 whatever the compute dtype. Input and output (..., channels). The averages that inference
    uses are plain means over the steps so far until these outnumber the memory of the decay, so that the start,
    0 and 1, weighs nothing, and a network is usable after a few steps.

    Args:
        decay: of the moving averages, in [0, 1).
        epsilon: added to the variance.
    """

    def __init__(self, decay=0.999, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.decay = decay
        self.epsilon = epsilon

    def build(self, input_shape):
        """Create offset and moving averages."""

        def weight(name, initializer, shape=(input_shape[-1],), **kwargs):
            return self.add_weight(name=name, shape=shape, initializer=initializer, autocast=False, **kwargs)

        self.offset = weight("offset", "zeros")
        self.moving_mean = weight("moving_mean", "zeros", trainable=False)
        self.moving_variance = weight("moving_variance", "ones", trainable=False)
        self.steps = weight("steps", "zeros", shape=(), trainable=False)

    def call(self, inputs, training=False):
        """Normalize by the batch's moments when training, by the moving averages otherwise."""
        if not training:
            scale = ops.rsqrt(self.moving_variance + self.epsilon)
            shift = self.offset - self.moving_mean * scale
            return ops.cast(ops.cast(inputs, "float32") * scale + shift, self.compute_dtype)
        normalized, mean, variance = kernels.batch_norm(inputs, self.offset, self.epsilon)
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
