"""The linear layer of 1-bit language models."""

import keras

from bnn.layers.quantized import QuantActivation, QuantDense, positive
from bnn.layers.quantizers import AbsmaxIntegers, AbsmeanTernary, CenteredSign

KERNELS = {2: CenteredSign, 3: AbsmeanTernary, None: lambda: None}
NO_CLIP = float("inf")


@keras.saving.register_keras_serializable("bnn")
class BitLinear(keras.Layer):
    """Norm, 8-bit activations and a binary or ternary kernel, as in BitNet [1]_ and BitNet b1.58 [2]_.

    The layer consists of three: `norm`, a keras.layers.RMSNormalization with a trained scale; `activation`, a
    QuantActivation with `AbsmaxIntegers`, one unit per token; and `dense`, a QuantDense without a bias whose latent
    weights are not clipped. All quantizers pass gradients unchanged. Input (..., features), output (..., units).

    Args:
        units: int, number of output features.
        levels: 2: the sign of each weight minus the mean weight, times the mean absolute weight (`CenteredSign`); 3:
            -1, 0 or 1 times the mean absolute weight (`AbsmeanTernary`); None: the latent kernel itself.
        activation_bits: int from 2 to 16, or None: the activations are not quantized.
        kernel_initializer: of the latent kernel, see `keras.initializers.get`.

    Raises:
        ValueError: units is not a positive whole number, or levels or activation_bits has none of its values.

    References:
        .. [1] Wang et al., "BitNet: Scaling 1-bit Transformers for Large Language Models", 2023, arXiv:2310.11453.
        .. [2] Ma et al., "The Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits", 2024, arXiv:2402.17764.
    """

    def __init__(self, units, levels=3, activation_bits=8, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = positive("units", units)
        if levels not in KERNELS:
            raise ValueError(f"levels: expected 2, 3 or None, received {levels!r}")
        self.levels, self.activation_bits = levels, activation_bits
        self.norm = keras.layers.RMSNormalization(name="norm", dtype=self.dtype_policy)
        quantizer = keras.activations.linear if activation_bits is None else AbsmaxIntegers(activation_bits)
        self.activation = QuantActivation(quantizer, name="activation", dtype=self.dtype_policy)
        self.dense = QuantDense(
            units,
            KERNELS[levels](),
            kernel_initializer=kernel_initializer,
            clip=NO_CLIP,
            name="dense",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        """Create the scale of the norm and the latent kernel."""
        for part in (self.norm, self.activation, self.dense):
            part.build(input_shape)

    def call(self, inputs, training=False):
        """Return the products of the normalized and quantized inputs with the quantized kernel."""
        return self.dense(self.activation(self.norm(inputs), training=training), training=training)

    def compute_output_shape(self, input_shape):
        """Return (..., units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {
            "units": self.units,
            "levels": self.levels,
            "activation_bits": self.activation_bits,
            "kernel_initializer": keras.initializers.serialize(self.dense.kernel_initializer),
        }
