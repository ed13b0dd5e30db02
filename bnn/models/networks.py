"""Networks with the paper's layout, built from a `ModelConfig`, or from its fields and custom quantizers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras

from bnn.backend import standard_settings
from bnn.config import GLOROT, ConfigError, ModelConfig, complete, expect_names, with_what_follows
from bnn.estimators import ESTIMATORS
from bnn.fields import expect, one_of
from bnn.layers import (
    BatchNorm,
    MaxPool2x2,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    Rotation,
    Whitening,
    quantizers,
)


def build(*, kernel_quantizer=None, activation_quantizer=None, precision="float32", **settings):
    """Build a network from the fields of `bnn.config.ModelConfig`. The network is not compiled.

    Args:
        kernel_quantizer: quantizer of the kernels: the name of an estimator in `bnn.estimators.ESTIMATORS`, or a
            function from a float tensor to a tensor of the same shape and dtype. A class is called without arguments,
            once per layer. None means the quantizer of the setting `estimator`.
        activation_quantizer: quantizer of the activations, in the same form.
        precision: "float32" or "bfloat16", the arithmetic of the layers. Variables and outputs are float32.
        **settings: fields of `ModelConfig`, such as input_shape=(28, 28, 1), conv=(32, 64), max_pool=(1, 1),
            fc=(128,), levels=3. Lists are allowed instead of tuples. The threshold of a ternary network is the paper's,
            0.02, unless it is given. network="vgg-small" gives the settings of a network from the literature, without
            those of its training.

    Returns:
        keras.Model, see `build_model`. It can be saved like any other model. Before you load it, register your own
        functions with `keras.saving.register_keras_serializable`, or pass them as `custom_objects`.

    Raises:
        ConfigError: a setting is out of range.
        TypeError: a setting is unknown.
    """
    given = {"kernel_quantizer": kernel_quantizer, "activation_quantizer": activation_quantizer}
    own = {name: quantizer for name, quantizer in given.items() if callable(quantizer)}
    named = {name: f"Custom>{getattr(q, '__name__', type(q).__name__)}" for name, q in own.items()}
    typed, settings = settings, complete(settings, ModelConfig)
    expect_names(settings, ModelConfig, error=TypeError)
    config = ModelConfig(**with_what_follows(settings | given | named, typed))
    makers = [_maker(config, name, own.get(name)) for name in given]
    return _Network(config, precision, *makers).model()


def build_model(config, precision="float32"):
    """Build the network of a `ModelConfig`.

    For each entry of `conv`, the network has a convolution, pooling, batch norm and a quantizer. For each entry of
    `fc`, it has a dense layer, batch norm and a quantizer. The layers are named conv_1, conv_2, ... and dense_1, ....
    The layers after each of them have its name and a suffix (conv_2_pool, conv_2_norm, conv_2_activation). The last
    dense layer and its batch norm compute the scores. A rotated first layer comes after a `Rotation`, conv_1_rotation
    or dense_1_rotation. Likewise, the layer after `Whitening` comes after conv_1_whitening or dense_1_whitening, which
    `whiten` measures.

    With `clip="glorot"`, the latent weights of each quantized kernel stay in [-L, L] and begin uniform in it, where

        L = sqrt(1.5 / (fan_in + fan_out)),  fan_in = size^2 channels,  fan_out = size^2 filters,

    or features and units of a dense layer. L is half the limit of Keras's `glorot_uniform`, and 1 / L is `W_LR_scale`
    of the first authors' code [1]_: there, weights begin uniform in [-1, 1] and stay in it, and every step of Adam is
    multiplied by W_LR_scale. Both are the same training in other units, since neither the signs nor their
    straight-through gradient depend on the unit. Real kernels begin with `glorot_uniform` and are clipped to [-1, 1].

    Args:
        config: ModelConfig.
        precision: "float32" or "bfloat16", the arithmetic of the layers. Variables and outputs are float32.

    Returns:
        keras.Model from (batch, height, width, channels) uint8 images to (batch, classes) float32 scores.

    Raises:
        ConfigError: a quantizer of `config` is not registered with Keras.

    References:
        .. [1] Courbariaux, Hubara, Soudry, El-Yaniv & Bengio, "Binarized Neural Networks", 2016, arXiv:1602.02830;
           https://github.com/MatthieuCourbariaux/BinaryNet, Train-time/binary_net.py and cifar10.py.
    """
    return _Network(config, precision, *quantizer_makers(config)).model()


def quantizer_makers(config):
    """Return functions that make the quantizers of a network's layers.

    Each layer gets its own quantizer, because a stochastic quantizer has its own random numbers.

    Args:
        config: ModelConfig.

    Returns:
        (kernel, activation): functions without arguments that return a quantizer, or None for a continuous network.

    Raises:
        ConfigError: a quantizer of `config` is not registered with Keras.
    """
    return _maker(config, "kernel_quantizer"), _maker(config, "activation_quantizer")


def _maker(config, setting, own=None):
    """Return the function that makes quantizers for a setting, from the custom quantizer `own` if it is given."""
    if config.continuous:
        return lambda: None
    name = getattr(config, setting) or config.estimator
    if own is None and name not in ESTIMATORS:
        own = keras.saving.get_registered_object(name)
        if own is None:
            raise ConfigError(
                f"{setting}: expected a function that is registered with Keras as {name}, received none; "
                "first import the module that defines it, in Python: a program cannot do that"
            )
    if own is not None:
        return own if isinstance(own, type) else lambda: own
    return _maker_of_estimator(config, setting, ESTIMATORS[name])


def _maker_of_estimator(config, setting, estimator):
    kernels = setting == "kernel_quantizer"
    if kernels and estimator.leaves_kernels and config.kernel_quantizer is None:
        estimator = ESTIMATORS["ste"]
    names = estimator.kernel if kernels else estimator.activation
    make = getattr(quantizers, names[config.levels])
    takes_threshold = estimator.takes_threshold and config.levels == 3
    return (lambda: make(config.threshold)) if takes_threshold else make


DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # of layers, for each precision
TRANSFORMS = {"rotated": Rotation, "whitening": Whitening}  # before a first layer of that kind


@dataclass(frozen=True)
class _Network:
    """A builder of a network, from its settings and from functions that make quantizers."""

    config: ModelConfig
    precision: str
    kernel_quantizer: Callable
    activation_quantizer: Callable

    def __post_init__(self):
        expect(self.precision in DTYPES, "precision", one_of(DTYPES), self.precision)

    @standard_settings()
    def model(self):
        config = self.config
        inputs = keras.Input(config.input_shape, dtype="uint8", name="images")
        low, high = config.input_range
        # float32, because bfloat16 cannot distinguish neighboring shades near +-1.
        x = keras.layers.Rescaling((high - low) / 255, low, dtype="float32", name="scale")(inputs)
        signs = False  # whether x holds only -1 and +1
        for i, (filters, pool) in enumerate(zip(config.conv, config.max_pool, strict=True), 1):
            name = f"conv_{i}"
            x = self.convolution(x, filters, name, signs)
            if pool:
                x = MaxPool2x2(name=f"{name}_pool", dtype=self.dtype)(x)
            x, signs = self.norm_and_quantize(x, name)
        x = keras.layers.Flatten("channels_last", name="flatten", dtype=self.dtype)(x)
        for i, units in enumerate(config.fc, 1):
            x = self.dense(x, units, f"dense_{i}")
            x, _ = self.norm_and_quantize(x, f"dense_{i}")
        name = f"dense_{len(config.fc) + 1}"
        x = self.dense(x, config.classes, name)
        scores = self.norm(x, name, "float32")
        return keras.Model(inputs, scores, name=config.kind)

    @property
    def dtype(self):
        return DTYPES[self.precision]

    def convolution(self, x, filters, name, signs):
        size = self.config.filter_size
        fans = size**2 * (x.shape[-1] + filters)
        options = self.options(name, fans)
        if self.first(name) in TRANSFORMS:
            if "kernel_initializer" not in options:
                # The Glorot limit without the transform. For a 1x1 convolution, Glorot would count fewer outputs.
                options["kernel_initializer"] = _uniform(math.sqrt(6 / fans))
            x, size = self.transformed(x, size, name), 1
        return QuantConv2D(filters, size, sign_inputs=signs, **options)(x)

    def dense(self, x, units, name):
        if self.first(name) in TRANSFORMS:
            x = self.transformed(x, 1, name)
        return QuantDense(units, **self.options(name, x.shape[-1] + units))(x)

    def transformed(self, x, size, name):
        """Return the tensor after the fixed transform of a first layer."""
        transform = TRANSFORMS[self.config.first_layer]
        return transform(size, name=f"{name}_{transform.__name__.lower()}", dtype="float32")(x)

    def norm_and_quantize(self, x, name):
        """Return the quantized tensor, and whether it holds only -1 and +1."""
        x = self.norm(x, name, self.dtype)
        quantizer = self.activation_quantizer()
        activation = QuantActivation(quantizer, name=f"{name}_activation", dtype=self.dtype)
        return activation(x), quantizers.is_sign(quantizer)

    def norm(self, x, name, dtype):
        config = self.config
        name = f"{name}_norm"
        return BatchNorm(config.bn_decay, config.bn_epsilon, config.bn_scale, name=name, dtype=dtype)(x)

    def options(self, name, fans):
        """Return the arguments that all quantized layers share; `fans` is the sum of fan-in and fan-out."""
        real = self.first(name) in ("real", "whitening") or self.last(name) == "real"
        options = {"kernel_quantizer": None if real else self.kernel_quantizer(), "clip": self.config.clip}
        if self.config.clip == GLOROT:
            limit = math.sqrt(1.5 / fans)
            options |= {"clip": 1.0} if real else {"clip": limit, "kernel_initializer": _uniform(limit)}
        return options | {"name": name, "dtype": self.dtype}

    def first(self, name):
        """Return the setting `first_layer` if this is the first layer, else None."""
        return self.config.first_layer if name == ("conv_1" if self.config.conv else "dense_1") else None

    def last(self, name):
        """Return the setting `last_layer` if this is the output layer, else None."""
        return self.config.last_layer if name == f"dense_{len(self.config.fc) + 1}" else None


def _uniform(limit):
    return keras.initializers.RandomUniform(-limit, limit)
