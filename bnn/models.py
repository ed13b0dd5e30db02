"""The paper's networks, built from a `ModelConfig`."""

import keras

from bnn.layers import BatchNorm, QuantActivation, QuantConv2D, QuantDense
from bnn.quantize import Sign, Ternary


def build_model(config, precision="float32"):
    """The network of `config`: convolution, pooling, batch norm, quantizer; then the same with dense layers.

    Layers are named conv_1, conv_2, ... and dense_1, ...; what follows one bears its name and a suffix
    (conv_2_pool, conv_2_norm, conv_2_activation). The last dense layer and its batch norm give the real outputs.

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
        x = QuantConv2D(filters, config.filter_size, quantizer(config), name=name, dtype=dtype)(x)
        if pool:
            x = keras.layers.MaxPooling2D(name=f"{name}_pool", dtype=dtype)(x)
        x = _norm_and_quantize(x, config, name, dtype)
    x = keras.layers.Flatten(name="flatten", dtype=dtype)(x)
    for i, units in enumerate(config.fc, 1):
        x = QuantDense(units, quantizer(config), name=f"dense_{i}", dtype=dtype)(x)
        x = _norm_and_quantize(x, config, f"dense_{i}", dtype)
    name = f"dense_{len(config.fc) + 1}"
    x = QuantDense(config.classes, quantizer(config), name=name, dtype=dtype)(x)
    scores = BatchNorm(config.bn_decay, name=f"{name}_norm", dtype="float32")(x)
    return keras.Model(inputs, scores, name=config.kind)


def quantizer(config):
    """The quantizer of `config`'s kernels and activations, None for the continuous twin."""
    if config.continuous:
        return None
    return Sign() if config.levels == 2 else Ternary(config.threshold)


def _norm_and_quantize(x, config, name, dtype):
    x = BatchNorm(config.bn_decay, name=f"{name}_norm", dtype=dtype)(x)
    return QuantActivation(quantizer(config), name=f"{name}_activation", dtype=dtype)(x)
