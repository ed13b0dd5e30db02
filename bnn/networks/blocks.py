"""The layers of networks, made by name with the quantizers, the arithmetic and the initial weights of the settings."""

import math

import keras

from bnn.console.errors import expect, one_of
from bnn.layers import (
    AbsmaxIntegers,
    BatchNorm,
    CausalAttention,
    MaxPool2x2,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    QuantGRU,
    QuantLSTM,
    Rotation,
    RPReLU,
    RSign,
    TokenAndPositionEmbedding,
    Whitening,
    quantizers,
)
from bnn.networks.quantization import GLOROT

DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # of layers, for each precision
RECURRENT = {"lstm": QuantLSTM, "gru": QuantGRU}
TRANSFORMS = {"rotated": Rotation, "whitening": Whitening}  # before a first layer of that kind


class Blocks:
    """Makes the layers of one network and applies them. Each method takes a KerasTensor and returns one.

    Args:
        network: Network, whose batch norm settings hold for all layers.
        quantization: Quantization.
        inputs: Inputs.
        precision: "float32" or "bfloat16", the arithmetic of the layers. Variables and scores are float32.
        makers: (kernel, activation), functions that make quantizers; None: those of `quantization`.

    Raises:
        ConfigError: a quantizer is not registered with Keras, or there is no such precision.
    """

    def __init__(self, network, quantization, inputs, precision="float32", makers=None):
        expect(precision in DTYPES, "precision", one_of(DTYPES), precision)
        self.network, self.quantization, self.inputs = network, quantization, inputs
        self.dtype = DTYPES[precision]
        self.kernel_quantizer, self.activation_quantizer = makers or quantization.makers()

    def scaled(self, x):
        """Map pixels from 0 to 255 to the input range. In float32: bfloat16 cannot distinguish shades near +-1."""
        low, high = self.inputs.input_range
        return keras.layers.Rescaling((high - low) / 255, low, dtype="float32", name="scale")(x)

    def conv(self, x, filters, size, name, first=False, strides=1, real=False):
        """Convolve with a quantized kernel; to the first layer the setting `first_layer` applies.

        With `real`, the kernel is not quantized, as in shortcuts.
        """
        signs = _are_signs(x)
        fans = size**2 * (x.shape[-1] + filters)
        options = self._options(name, fans, first, real=real)
        if first and self.quantization.first_layer in TRANSFORMS:
            if "kernel_initializer" not in options:
                # The Glorot limit without the transform. For a 1x1 convolution, Glorot would count fewer outputs.
                options["kernel_initializer"] = _uniform(math.sqrt(6 / fans))
            x, size = self._transformed(x, size, name), 1
        return QuantConv2D(filters, size, sign_inputs=signs, strides=strides, **options)(x)

    def dense(self, x, units, name, first=False, last=False):
        """Multiply the last axis by a quantized kernel; `last` is for the output layer, see `scores`."""
        if first and self.quantization.first_layer in TRANSFORMS:
            x = self._transformed(x, 1, name)
        return QuantDense(units, **self._options(name, x.shape[-1] + units, first, last))(x)

    def rows(self, x):
        """Make a sequence of each image: its rows are the time steps, (batch, height, width x channels)."""
        _, height, width, channels = x.shape
        return keras.layers.Reshape((height, width * channels), name="rows", dtype=self.dtype)(x)

    def recurrent(self, x, units, cell, name, sequences=False, first=False, real_state=False):
        """Step through sequences with a cell, "lstm" or "gru": the output of each step, or of the last one only.

        With `real_state`, the recurrent kernel multiplies the state as it is.

        Raises:
            ConfigError: the quantization has a transform of the inputs, or a clip that depends on the layer.
        """
        of = self.quantization
        known = ("quantized", "real")
        expect(
            not first or of.first_layer in known, "first_layer", f"{one_of(known)} in {name}", of.first_layer
        )
        expect(of.clip != GLOROT, "clip", f"a number in {name}", of.clip)
        real = first and of.first_layer == "real"
        layer = RECURRENT[cell](
            units,
            None if real else self.kernel_quantizer(),
            self.kernel_quantizer(),
            None if real_state else self.activation_quantizer(),
            clip=of.clip,
            scaled=not of.continuous,
            return_sequences=sequences,
            name=name,
            dtype=self.dtype,
        )
        return layer(x)

    def norm(self, x, name, dtype=None):
        """Batch norm, named NAME_norm."""
        of = self.network
        layer = BatchNorm(
            of.bn_decay, of.bn_epsilon, of.bn_scale, name=f"{name}_norm", dtype=dtype or self.dtype
        )
        return layer(x)

    def quantize(self, x, name):
        """Quantize activations, in a layer named NAME_activation."""
        return QuantActivation(self.activation_quantizer(), name=f"{name}_activation", dtype=self.dtype)(x)

    def shift_and_quantize(self, x, name):
        """Quantize activations after a learned shift per channel, in a layer named NAME_activation."""
        return RSign(self.activation_quantizer(), name=f"{name}_activation", dtype=self.dtype)(x)

    def shifted_prelu(self, x, name):
        """PReLU between learned shifts, in a layer named NAME_rprelu."""
        return RPReLU(name=f"{name}_rprelu", dtype=self.dtype)(x)

    def norm_and_quantize(self, x, name):
        """Batch norm, then the quantizer of activations."""
        return self.quantize(self.norm(x, name), name)

    def max_pool(self, x, name):
        """Take the largest value of windows of 2 x 2."""
        return MaxPool2x2(name=name, dtype=self.dtype)(x)

    def average_pool(self, x, name):
        """Take the mean of windows of 2 x 2, named NAME_pool; sides are halved and rounded up."""
        return keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_pool", dtype=self.dtype)(x)

    def average(self, x):
        """Take the mean over all positions."""
        return keras.layers.GlobalAveragePooling2D(name="average", dtype=self.dtype)(x)

    def add(self, x, y, name):
        """Add two tensors of the same shape, in a layer named NAME_sum."""
        return keras.layers.Add(name=f"{name}_sum", dtype=self.dtype)([x, y])

    def flatten(self, x):
        """Make one vector of each image, pixel by pixel."""
        return keras.layers.Flatten("channels_last", name="flatten", dtype=self.dtype)(x)

    def scores(self, x, name, first=False):
        """The output layer, to which the setting `last_layer` applies, and its batch norm in float32."""
        return self.norm(self.dense(x, self.inputs.classes, name, first, last=True), name, "float32")

    def embedding(self, x, width, name):
        """Look up the learned vectors of tokens and of their positions, and add them."""
        return TokenAndPositionEmbedding(self.inputs.classes, width, name=name, dtype=self.dtype)(x)

    def bit_linear(self, x, units, name):
        """Apply the three parts of `bnn.layers.BitLinear`, layers NAME_norm, NAME_activation and NAME.

        In a continuous network, there is no NAME_activation.
        """
        x = self.rms_norm(x, name)
        if not self.quantization.continuous:
            x = QuantActivation(AbsmaxIntegers(), name=f"{name}_activation", dtype=self.dtype)(x)
        return self.dense(x, units, name)

    def rms_norm(self, x, name):
        """Divide each position by its root mean square, and multiply by a learned scale; a layer named NAME_norm."""
        return keras.layers.RMSNormalization(name=f"{name}_norm", dtype=self.dtype)(x)

    def attention(self, query, key, value, heads, name):
        """Attend to earlier positions, in a layer named NAME_attention."""
        return CausalAttention(heads, name=f"{name}_attention", dtype=self.dtype)(query, key, value)

    def gelu(self, x, name):
        """GELU, in a layer named NAME_gelu."""
        return keras.layers.Activation("gelu", name=f"{name}_gelu", dtype=self.dtype)(x)

    def scores_of_steps(self, x, name):
        """Give the scores of each position: a norm, and an output layer that `last_layer` concerns, in float32."""
        options = self._options(name, 0, last=True) | {"dtype": "float32"}
        return QuantDense(self.inputs.classes, **options)(self.rms_norm(x, name))

    def _transformed(self, x, size, name):
        """Apply the fixed transform of a first layer."""
        transform = TRANSFORMS[self.quantization.first_layer]
        return transform(size, name=f"{name}_{transform.__name__.lower()}", dtype="float32")(x)

    def _options(self, name, fans, first=False, last=False, real=False):
        """Return the arguments that all quantized layers share; `fans` is the sum of fan-in and fan-out."""
        of = self.quantization
        real |= (first and of.first_layer in ("real", "whitening")) or (last and of.last_layer == "real")
        options = {"kernel_quantizer": None if real else self.kernel_quantizer(), "clip": of.clip}
        if of.clip == GLOROT:
            limit = math.sqrt(1.5 / fans)
            options |= {"clip": 1.0} if real else {"clip": limit, "kernel_initializer": _uniform(limit)}
        return options | {"name": name, "dtype": self.dtype}


def _are_signs(x):
    """Whether a tensor holds only -1 and +1."""
    layer = x._keras_history.operation
    return isinstance(layer, QuantActivation) and quantizers.is_sign(layer.quantizer)


def _uniform(limit):
    return keras.initializers.RandomUniform(-limit, limit)
