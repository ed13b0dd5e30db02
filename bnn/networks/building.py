"""From sizes to a Keras model."""

import keras

from bnn.backend import standard_settings
from bnn.networks.blocks import Blocks


@standard_settings()
def build(network, quantization, inputs, precision="float32", makers=None):
    """Build a network; it is not compiled.

    With `clip="glorot"`, the latent weights of each quantized kernel stay in [-L, L] and begin uniform in it, where

        L = sqrt(1.5 / (fan_in + fan_out)),  fan_in = size^2 channels,  fan_out = size^2 filters,

    or features and units of a dense layer. L is half the limit of Keras's `glorot_uniform`, and 1 / L is `W_LR_scale`
    of the first authors' code [1]_: there, weights begin uniform in [-1, 1] and stay in it, and every step of Adam is
    multiplied by W_LR_scale. Both are the same training in other units, since neither the signs nor their
    straight-through gradient depend on the unit. Real kernels begin with `glorot_uniform` and are clipped to [-1, 1].

    A rotated first layer comes after a `Rotation`, conv_1_rotation or dense_1_rotation. Likewise, the layer after
    `Whitening` comes after conv_1_whitening or dense_1_whitening, which `bnn.models.whiten` measures.

    Args:
        network: Network.
        quantization: Quantization.
        inputs: Inputs.
        precision: "float32" or "bfloat16", the arithmetic of the layers. Variables and outputs are float32.
        makers: (kernel, activation), functions that make quantizers in place of those of `quantization`; None: these.

    Returns:
        keras.Model from (batch, height, width, channels) uint8 images to (batch, classes) float32 scores, or from
        (batch, steps) uint8 tokens to (batch, steps, classes). Its name is the kind of the quantization.

    Raises:
        ConfigError: a quantizer is not registered with Keras.

    References:
        .. [1] Courbariaux, Hubara, Soudry, El-Yaniv & Bengio, "Binarized Neural Networks", 2016, arXiv:1602.02830;
           https://github.com/MatthieuCourbariaux/BinaryNet, Train-time/binary_net.py and cifar10.py.
    """
    given = keras.Input(inputs.input_shape, dtype="uint8", name="tokens" if inputs.are_tokens else "images")
    scores = network.graph(given, Blocks(network, quantization, inputs, precision, makers))
    return keras.Model(given, scores, name=quantization.kind)
