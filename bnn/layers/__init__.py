"""What networks are made of. Importing this package registers its classes with Keras, so that saved networks load.

Quantizers with the estimators of their gradients, quantized layers, batch norm, a fixed rotation, and the operations
that decide the speed. `with_gradient` and `straight_through` make quantizers of one's own.
"""

import bnn.optimizers  # noqa: F401, what saved networks were trained with
from bnn.layers.gradients import pointwise_gradient, straight_through, with_gradient
from bnn.layers.norm import BatchNorm
from bnn.layers.quantized import MaxPool2x2, QuantActivation, QuantConv2D, QuantDense, WeightClip
from bnn.layers.quantizers import (
    ApproxSign,
    IdentitySign,
    MagnitudeAwareSign,
    OptimalTernary,
    Quantizer,
    Sign,
    StochasticSign,
    SwishSign,
    Ternary,
    sign,
    ste_sign,
    ste_ternary,
    ternary,
)
from bnn.layers.rotation import Rotation

__all__ = [
    "ApproxSign",
    "BatchNorm",
    "IdentitySign",
    "MagnitudeAwareSign",
    "MaxPool2x2",
    "OptimalTernary",
    "QuantActivation",
    "QuantConv2D",
    "QuantDense",
    "Quantizer",
    "Rotation",
    "Sign",
    "StochasticSign",
    "SwishSign",
    "Ternary",
    "WeightClip",
    "pointwise_gradient",
    "sign",
    "ste_sign",
    "ste_ternary",
    "straight_through",
    "ternary",
    "with_gradient",
]
