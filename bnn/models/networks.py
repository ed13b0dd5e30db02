"""The paper's networks, built from a `ModelConfig`."""

import math

import keras

from bnn.layers import (
    ApproxSign,
    BatchNorm,
    IdentitySign,
    MagnitudeAwareSign,
    MaxPool2x2,
    OptimalTernary,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    Rotation,
    Sign,
    StochasticSign,
    SwishSign,
    Ternary,
)
from bnn.layers.quantizers import BEST_RATIO

# What activations are binarized with, if not by `Sign`.
SIGNS = {
    "approx_sign": ApproxSign, "swish_sign": SwishSign, "identity_sign": IdentitySign,
    "stochastic_sign": StochasticSign,
}  # fmt: skip


def build_model(config, precision="float32"):
    """The network of `config`: convolution, pooling, batch norm, quantizer; then the same with dense layers.

    Layers are named conv_1, conv_2, ... and dense_1, ...; what follows one bears its name and a suffix
    (conv_2_pool, conv_2_norm, conv_2_activation). The last dense layer and its batch norm give the real outputs.
    A rotated first layer stands behind a `Rotation`, conv_1_rotation or dense_1_rotation.

    Args:
        config: ModelConfig.
        precision: "float32" or "bfloat16", the arithmetic of the layers; variables and outputs are float32.

    Returns:
        keras.Model from (batch, height, width, channels) uint8 images to (batch, classes) float32 scores.
    """
    dtype = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
    inputs = keras.Input(config.input_shape, dtype="uint8", name="images")
    low, high = config.input_range
    # float32, since bfloat16 cannot tell neighbouring shades apart near +-1.
    x = keras.layers.Rescaling((high - low) / 255, low, dtype="float32", name="scale")(inputs)
    for i, (filters, pool) in enumerate(zip(config.conv, config.max_pool, strict=True), 1):
        name = f"conv_{i}"
        x = _convolution(x, filters, config, name, dtype)
        if pool:
            x = MaxPool2x2(name=f"{name}_pool", dtype=dtype)(x)
        x = _norm_and_quantize(x, config, name, dtype)
    x = keras.layers.Flatten(name="flatten", dtype=dtype)(x)
    for i, units in enumerate(config.fc, 1):
        x = _dense(x, units, config, f"dense_{i}", dtype)
        x = _norm_and_quantize(x, config, f"dense_{i}", dtype)
    name = f"dense_{len(config.fc) + 1}"
    x = _dense(x, config.classes, config, name, dtype)
    scores = BatchNorm(config.bn_decay, name=f"{name}_norm", dtype="float32")(x)
    return keras.Model(inputs, scores, name=config.kind)


def kernel_quantizer(config):
    """A quantizer for one of `config`'s kernels, None for the continuous twin.

    Most estimators are about activations, and leave kernels to the straight-through one: of a latent kernel clipped
    to [-1, 1], weights that reach 1 could not leave it again by a derivative that is 0 there.
    """
    if config.continuous:
        return None
    if config.levels == 3:
        return OptimalTernary() if config.estimator == "optimal_ternary" else Ternary(config.threshold)
    return MagnitudeAwareSign() if config.estimator == "magnitude_aware_sign" else Sign()


def activation_quantizer(config):
    """A quantizer for one layer of `config`'s activations, None for the continuous twin.

    The best threshold for activations is a constant: batch norm without a scale gives them the deviation 1.
    """
    if config.continuous:
        return None
    if config.levels == 3:
        return Ternary(BEST_RATIO if config.estimator == "optimal_ternary" else config.threshold)
    return SIGNS.get(config.estimator, Sign)()


def _convolution(x, filters, config, name, dtype):
    size, options = config.filter_size, _options(config, name, dtype)
    if _first(config, name) == "rotated":
        # The kernel begins as large as without the rotation: in a 1x1 convolution Glorot counts fewer outputs.
        limit = math.sqrt(6 / (size**2 * (x.shape[-1] + filters)))
        options["kernel_initializer"] = keras.initializers.RandomUniform(-limit, limit)
        x, size = Rotation(size, name=f"{name}_rotation", dtype="float32")(x), 1
    return QuantConv2D(filters, size, **options)(x)


def _dense(x, units, config, name, dtype):
    if _first(config, name) == "rotated":
        x = Rotation(name=f"{name}_rotation", dtype="float32")(x)
    return QuantDense(units, **_options(config, name, dtype))(x)


def _options(config, name, dtype):
    """Arguments that the network's quantized layers share."""
    quantizer = None if _first(config, name) == "real" else kernel_quantizer(config)
    return {"kernel_quantizer": quantizer, "clip": config.clip, "name": name, "dtype": dtype}


def _first(config, name):
    """What `config` wants of its first layer; None for any other layer."""
    return config.first_layer if name == ("conv_1" if config.conv else "dense_1") else None


def _norm_and_quantize(x, config, name, dtype):
    x = BatchNorm(config.bn_decay, name=f"{name}_norm", dtype=dtype)(x)
    return QuantActivation(activation_quantizer(config), name=f"{name}_activation", dtype=dtype)(x)
