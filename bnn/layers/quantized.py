"""Quantized layers (dense, convolution, activation) and max-pooling."""

import keras
from keras import ops

from bnn.layers import fast_ops, quantizers
from bnn.layers.latent import LatentKernel


def positive(name, value):
    """Return the value, or raise `ValueError` if it is not a positive whole number."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: expected a positive whole number, received {value!r}")
    return value


@keras.saving.register_keras_serializable("bnn")
class WeightClip(keras.constraints.Constraint):
    """Clip latent weights to [-limit, limit] after every optimizer step (paper, section 2).

    Beyond 1 the straight-through gradient is 0, so a weight that is not clipped could never return.

    Args:
        limit: float > 0.

    Raises:
        ValueError: the limit is not positive.
    """

    def __init__(self, limit=1.0):
        if limit is None or not limit > 0:
            raise ValueError(f"limit: expected a positive number, received {limit!r}")
        self.limit = limit

    def __call__(self, weights):
        """Return the clipped weights."""
        return ops.clip(weights, -self.limit, self.limit)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {"limit": self.limit}


class Quantizing(keras.Layer):
    """A layer whose quantizers may draw random numbers. The state of the generators is saved with the weights.

    Keras itself does not save the state of a SeedGenerator.
    """

    seed_generator = recurrent_seed_generator = None

    def _apply(self, quantizer, x, dtype, training):
        return fast_ops.quantize(quantizers.for_training(quantizer) if training else quantizer, x, dtype)

    def save_own_variables(self, store):
        """Save the weights and the states of the random generators."""
        super().save_own_variables(store)
        for name, generator in self._generators():
            store[name] = generator.state

    def load_own_variables(self, store):
        """Load what `save_own_variables` saved."""
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118, the store is not iterable
        for name, generator in self._generators():
            generator.state.assign(own.pop(name))
        super().load_own_variables(own)

    def _generators(self):
        named = ((name, getattr(self, name)) for name in ("seed_generator", "recurrent_seed_generator"))
        return [(name, generator) for name, generator in named if generator is not None]


class _QuantLayer(Quantizing):
    """A layer that multiplies its input by a quantized kernel; the latent kernel is real-valued and float32."""

    def __init__(self, kernel_quantizer, kernel_initializer="glorot_uniform", clip=1.0, **kwargs):
        super().__init__(**kwargs)
        self.kernel_quantizer = quantizers.get(kernel_quantizer)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_clip = WeightClip(clip)
        self.seed_generator = getattr(self.kernel_quantizer, "seed_generator", None)

    def _add_kernel(self, shape):
        # Without autocast: bfloat16 would round a weight just above the threshold to the threshold.
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer=self.kernel_initializer,
            constraint=self.kernel_clip,
            autocast=False,
        )
        self.kernel.binary = getattr(self.kernel_quantizer, "levels", None) == 2  # for `optimizers.Bop`

    def latent_kernels(self):
        """Return the only one; see `bnn.layers.latent_kernels`."""
        return (LatentKernel("kernel", self.kernel, self.kernel_quantizer),)

    def quantized_kernel(self, training=False):
        """The kernel w_b that the layer multiplies by, in the layer's compute dtype."""
        if self.kernel_quantizer is None:
            return ops.cast(self.kernel, self.compute_dtype)
        return self._apply(self.kernel_quantizer, self.kernel, self.compute_dtype, training)

    def call(self, inputs, training=False):
        """Multiply the input by the quantized kernel."""
        return self.product(inputs, self.quantized_kernel(training))

    def get_config(self):
        """Return the arguments of the constructor."""
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
        units: int, number of output features.
        kernel_quantizer: function from the latent kernel to the kernel w_b that multiplies the input, of the same shape
            and dtype; or the name of a quantizer, such as "sign" or "ternary:0.1", see `bnn.geometry.estimators.get`.
            None means that the latent kernel itself multiplies the input.
        kernel_initializer: keyword, initializer of the latent kernel, see `keras.initializers.get`.
        clip: keyword, float > 0, largest absolute value of latent weights, see `WeightClip`.

    Raises:
        ValueError: units is not a positive whole number, clip is not positive, or the quantizer is neither a name nor
            callable.
    """

    def __init__(self, units, kernel_quantizer=None, **kwargs):
        super().__init__(kernel_quantizer, **kwargs)
        self.units = positive("units", units)

    def build(self, input_shape):
        """Create the latent kernel."""
        self._add_kernel((input_shape[-1], self.units))

    def product(self, inputs, kernel):
        """Apply the layer's linear map with the given kernel instead of its own."""
        return ops.matmul(inputs, kernel)

    def compute_output_shape(self, input_shape):
        """Return (..., units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable("bnn")
class QuantConv2D(_QuantLayer):
    """Two-dimensional convolution with a quantized kernel and no bias.

    Input (batch, height, width, channels), output (batch, height / strides, width / strides, filters), rounded up with
    the padding "same", kernel (kernel_size, kernel_size, channels / groups, filters), fan-in
    d = kernel_size^2 channels / groups.

    Args:
        filters: int, number of output channels.
        kernel_size: int, side of the square kernel.
        kernel_quantizer: function from the latent kernel to the kernel w_b that multiplies the input, of the same shape
            and dtype; or the name of a quantizer, such as "sign" or "ternary:0.1", see `bnn.geometry.estimators.get`.
            None means that the latent kernel itself multiplies the input.
        sign_inputs: bool, whether all inputs are -1 or +1. If the kernel quantizer is `Sign`, training may then
            multiply bits. The sums are the same.
        strides: int, the distance of the positions, in both directions.
        padding: "same" or "valid", as in Keras's Conv2D.
        dilation_rate: int, the distance of the taps, in both directions; strides or dilation_rate must be 1.
        groups: int, the number of groups of channels, each of which has its own filters.
        pad_values: 0, 1 or -1, what the padding consists of. Among signs, zeros are a third level.
        kernel_initializer: keyword, initializer of the latent kernel, see `keras.initializers.get`.
        clip: keyword, float > 0, largest absolute value of latent weights, see `WeightClip`.

    Raises:
        ValueError: a size is not a positive whole number, clip is not positive, the quantizer is neither a name nor
            callable, or another argument has none of its values. When the layer is built: the groups do not divide the
            channels, or the images are smaller than the kernel.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        kernel_quantizer=None,
        sign_inputs=False,
        strides=1,
        padding="same",
        dilation_rate=1,
        groups=1,
        pad_values=0,
        **kwargs,
    ):
        super().__init__(kernel_quantizer, **kwargs)
        self.filters = positive("filters", filters)
        self.kernel_size = positive("kernel_size", kernel_size)
        self.sign_inputs = bool(sign_inputs)
        self.strides = positive("strides", strides)
        self.padding = padding
        self.dilation_rate = positive("dilation_rate", dilation_rate)
        self.groups = positive("groups", groups)
        self.pad_values = pad_values
        self._check()
        signs = self.sign_inputs and quantizers.is_sign(self.kernel_quantizer)
        usual = (self.strides, self.padding, self.dilation_rate, self.groups, self.pad_values)
        self.multiplies_signs = signs and usual == (1, "same", 1, 1, 0)
        # Bits are computed outside of TensorFlow, so XLA cannot compile them.
        self.supports_jit = not (self.multiplies_signs and fast_ops.on_cpu())

    def _check(self):
        def expect(condition, name, expected):
            if not condition:
                raise ValueError(f"{name}: expected {expected}, received {getattr(self, name)!r}")

        expect(self.padding in ("same", "valid"), "padding", "same or valid")
        expect(self.pad_values in (0, 1, -1), "pad_values", "0, 1 or -1")
        expect(self.pad_values == 0 or self.padding == "same", "pad_values", "0 with the padding valid")
        expect(self.dilation_rate == 1 or self.strides == 1, "dilation_rate", "1 with strides")
        expect(self.filters % self.groups == 0, "groups", f"a divisor of the {self.filters} filters")

    def build(self, input_shape):
        """Create the latent kernel."""
        _, *sides, channels = input_shape
        if channels % self.groups:
            raise ValueError(
                f"{self.name}: expected channels that {self.groups} groups divide, received {channels}"
            )
        if self.padding == "valid" and any(side and side < self._span for side in sides):
            raise ValueError(
                f"{self.name}: expected images of at least {self._span}x{self._span}, which the kernel covers, "
                f"received {sides[0]}x{sides[1]}"
            )
        if self.pad_values and self.strides > 1 and None in sides:
            raise ValueError(
                f"{self.name}: expected images of known size, on which the padding depends with strides of "
                f"{self.strides}, received {sides[0]}x{sides[1]}"
            )
        self._add_kernel((self.kernel_size, self.kernel_size, channels // self.groups, self.filters))

    @property
    def _span(self):
        """The side of the patches, in input positions."""
        return (self.kernel_size - 1) * self.dilation_rate + 1

    def call(self, inputs, training=False):
        """Convolve the input with the quantized kernel."""
        product = fast_ops.sign_conv2d if training and self.multiplies_signs else self.product
        return product(inputs, self.quantized_kernel(training))

    def product(self, inputs, kernel):
        """Apply the layer's linear map with the given kernel instead of its own."""
        padding = self.padding
        if self.pad_values:
            borders = [(0, 0), *map(self._border, inputs.shape[1:3]), (0, 0)]
            inputs, padding = ops.pad(inputs, borders, constant_values=self.pad_values), "valid"
        return fast_ops.conv2d(inputs, kernel, self.strides, padding, self.dilation_rate)

    def _border(self, side):
        """How many positions the padding "same" adds before and after a side."""
        rest = (
            1 if self.strides == 1 else (side - 1) % self.strides + 1
        )  # of inputs at the last output position
        missing = max(self._span - rest, 0)
        return missing // 2, missing - missing // 2

    def compute_output_shape(self, input_shape):
        """Return (batch, height, width, filters)."""
        batch, *sides, _ = input_shape
        less = self._span - 1 if self.padding == "valid" else 0
        return (batch, *(side and -(-(side - less) // self.strides) for side in sides), self.filters)

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "sign_inputs": self.sign_inputs,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "pad_values": self.pad_values,
        }


@keras.saving.register_keras_serializable("bnn")
class QuantDepthwiseConv2D(QuantConv2D):
    """Depthwise convolution with a quantized kernel and no bias: every channel has filters of its own.

    Input (batch, height, width, channels), output (..., channels x depth_multiplier), those of a channel side by side,
    kernel (kernel_size, kernel_size, 1, channels x depth_multiplier), fan-in d = kernel_size^2. It is a `QuantConv2D`
    with as many groups as channels.

    Args:
        kernel_size: int, side of the square kernel.
        kernel_quantizer: as for `QuantConv2D`.
        depth_multiplier: int, number of filters of each channel.
        **kwargs: other arguments of `QuantConv2D`, but for `filters` and `groups`.

    Raises:
        ValueError: as for `QuantConv2D`.
    """

    def __init__(self, kernel_size, kernel_quantizer=None, depth_multiplier=1, **kwargs):
        self.depth_multiplier = positive("depth_multiplier", depth_multiplier)
        super().__init__(depth_multiplier, kernel_size, kernel_quantizer, **kwargs)
        self.multiplies_signs, self.supports_jit = False, True

    def build(self, input_shape):
        """Create the latent kernel."""
        self.groups = input_shape[-1]
        self.filters = self.groups * self.depth_multiplier
        super().build(input_shape)

    def compute_output_shape(self, input_shape):
        """Return (batch, height, width, channels x depth_multiplier)."""
        return (*super().compute_output_shape(input_shape)[:-1], input_shape[-1] * self.depth_multiplier)

    def get_config(self):
        """Return the arguments of the constructor."""
        config = super().get_config() | {"depth_multiplier": self.depth_multiplier}
        return {name: value for name, value in config.items() if name not in ("filters", "groups")}


@keras.saving.register_keras_serializable("bnn")
class QuantActivation(Quantizing):
    """Quantize activations. The shape and the dtype do not change.

    Args:
        quantizer: function from pre-activations to quantized activations, or the name of a quantizer, see
            `bnn.geometry.estimators.get`. None means hard tanh, clip(x, -1, 1). Its derivative is the straight-through
            gradient, so a continuous network corresponds to a quantized one.

    Raises:
        ValueError: there is no quantizer of this name, or the argument is neither a name nor callable.
    """

    def __init__(self, quantizer=None, **kwargs):
        super().__init__(**kwargs)
        self.quantizer = quantizers.get(quantizer, "quantizer")
        self.seed_generator = getattr(self.quantizer, "seed_generator", None)

    def before(self, inputs):
        """Return the values that are quantized, of the inputs' shape: here the inputs."""
        return inputs

    def call(self, inputs, training=False):
        """Return the quantized activations."""
        if self.quantizer is None:
            return ops.clip(inputs, -1, 1)
        return self._apply(self.quantizer, inputs, inputs.dtype, training)

    def compute_output_shape(self, input_shape):
        """Return the input's shape."""
        return input_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        saved = None if self.quantizer is None else keras.saving.serialize_keras_object(self.quantizer)
        return super().get_config() | {"quantizer": saved}


@keras.saving.register_keras_serializable("bnn")
class MaxPool2x2(keras.layers.MaxPooling2D):
    """Keras's MaxPooling2D with 2x2 windows that do not overlap, and a faster gradient on JAX.

    Raises:
        ValueError: other windows, strides, padding or order of axes are asked for.
    """

    def __init__(self, pool_size=2, strides=2, padding="valid", data_format="channels_last", **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)
        given = (*self.pool_size, *self.strides, self.padding, self.data_format)
        if given != (2, 2, 2, 2, "valid", "channels_last"):
            raise ValueError(f"MaxPool2x2: expected its defaults, received {given}")

    def call(self, inputs):
        """Return the largest value of each window."""
        return fast_ops.max_pool2d(inputs)
