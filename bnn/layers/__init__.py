"""The building blocks of networks.

The package contains quantizers with the estimators of their gradients, quantized layers, batch norm, a fixed rotation,
a fixed whitening, and the operations that decide the speed. Use `with_gradient` and `straight_through` to make your own
quantizers.
Importing the package registers its classes with Keras, so that saved networks load.
"""

import bnn.layers.optimizers  # noqa: F401, registers the optimizers of saved networks
from bnn.layers.attention import CausalAttention, TokenAndPositionEmbedding
from bnn.layers.bit_linear import BitLinear
from bnn.layers.gradients import pointwise_gradient, straight_through, with_gradient
from bnn.layers.latent import LatentKernel, latent_kernels
from bnn.layers.norm import BatchNorm, BatchSizeError
from bnn.layers.quantized import (
    MaxPool2x2,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    QuantDepthwiseConv2D,
    WeightClip,
)
from bnn.layers.quantizer_functions import sign, ste_sign, ste_ternary, ternary
from bnn.layers.quantizers import (
    AbsmaxIntegers,
    AbsmeanTernary,
    ApproxSign,
    CenteredSign,
    IdentitySign,
    LloydMax,
    MagnitudeAwareSign,
    OptimalTernary,
    Quantizer,
    Sign,
    StochasticSign,
    SwishSign,
    Ternary,
)
from bnn.layers.recurrent import QuantGRU, QuantGRUCell, QuantLSTM, QuantLSTMCell
from bnn.layers.shifts import RPReLU, RSign
from bnn.layers.transforms import PatchTransform, Rotation, Whitening

__all__ = [
    "AbsmaxIntegers",
    "AbsmeanTernary",
    "ApproxSign",
    "BatchNorm",
    "BatchSizeError",
    "BitLinear",
    "CausalAttention",
    "CenteredSign",
    "IdentitySign",
    "LatentKernel",
    "LloydMax",
    "MagnitudeAwareSign",
    "MaxPool2x2",
    "OptimalTernary",
    "PatchTransform",
    "QuantActivation",
    "QuantConv2D",
    "QuantDense",
    "QuantDepthwiseConv2D",
    "QuantGRU",
    "QuantGRUCell",
    "QuantLSTM",
    "QuantLSTMCell",
    "Quantizer",
    "RPReLU",
    "RSign",
    "Rotation",
    "Sign",
    "StochasticSign",
    "SwishSign",
    "Ternary",
    "TokenAndPositionEmbedding",
    "WeightClip",
    "Whitening",
    "latent_kernels",
    "pointwise_gradient",
    "sign",
    "ste_sign",
    "ste_ternary",
    "straight_through",
    "ternary",
    "with_gradient",
]
