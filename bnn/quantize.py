"""Quantizers and their straight-through estimators, on `keras.ops`.

A quantizer maps real values to a few levels. Its derivative is zero almost everywhere, so training replaces it
by a straight-through estimator: the gradient passes unchanged where |x| <= 1 and is 0 elsewhere [1]_.

References:
    .. [1] Courbariaux, Hubara, Soudry, El-Yaniv & Bengio, "Binarized Neural Networks", 2016, arXiv:1602.02830.
"""

import keras
from keras import ops


def sign(x):
    """Binarize: +1 where x >= 0, else -1. The sign of 0 is +1, for a binary network has no third level.

    TensorFlow takes numbers below 1e-38 for 0, so that the sign of a negative one of these is +1 there.

    Args:
        x: float tensor of any shape.

    Returns:
        Tensor of x's shape and dtype, with values in {-1, +1}.
    """
    return 2 * ops.cast(x >= 0, x.dtype) - 1


def ternary(x, threshold):
    """Ternarize: sign(x) where |x| > threshold, else 0 (paper, final version, ternary section).

    Args:
        x: float tensor of any shape.
        threshold: float in [0, 1).

    Returns:
        Tensor of x's shape and dtype, with values in {-1, 0, +1}.
    """
    return ops.cast(x > threshold, x.dtype) - ops.cast(x < -threshold, x.dtype)


def straight_through(quantize):
    """Give `quantize` the straight-through gradient: 1 where |x| <= 1, else 0 (paper, section 2; [1]_, eq. 4).

    Args:
        quantize: function from a tensor to a tensor of the same shape and dtype.

    Returns:
        The same function, with the estimator's gradient.
    """

    @ops.custom_gradient
    def estimator(x):
        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            return ops.where(ops.abs(x) <= 1, upstream, ops.zeros_like(upstream))

        return quantize(x), gradient

    # The cast reads a variable: TensorFlow's custom gradients take nothing but tensors.
    return lambda x: estimator(ops.cast(x, x.dtype))


ste_sign = straight_through(sign)


def ste_ternary(x, threshold):
    """`ternary` forward, straight-through backward."""
    return straight_through(lambda values: ternary(values, threshold))(x)


class Quantizer:
    """What layers quantize with: a map with the gradient of its estimator, saved by its constructor's arguments.

    Attributes:
        levels: number of output values.
        threshold: values of at most this size become 0; 0 for binary.
    """

    threshold = 0.0

    def get_config(self):
        """Arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config):
        """The quantizer that `get_config` described."""
        return cls(**config)


@keras.saving.register_keras_serializable("bnn")
class Sign(Quantizer):
    """Binary quantizer of layers: `ste_sign`."""

    levels = 2

    def __call__(self, x):
        """Quantize a float tensor; shape and dtype stay."""
        return ste_sign(x)


@keras.saving.register_keras_serializable("bnn")
class Ternary(Quantizer):
    """Ternary quantizer of layers: `ste_ternary`.

    Args:
        threshold: float in [0, 1).

    Raises:
        ValueError: the threshold is outside [0, 1).
    """

    levels = 3

    def __init__(self, threshold):
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold: expected a value in [0, 1), received {threshold!r}")
        self.threshold = threshold

    def __call__(self, x):
        """Quantize a float tensor; shape and dtype stay."""
        return ste_ternary(x, self.threshold)

    def get_config(self):
        """Arguments of the constructor."""
        return {"threshold": self.threshold}


def get(identifier):
    """The quantizer that a layer's argument means.

    Args:
        identifier: None, a callable, or the config of a saved quantizer.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if identifier is not None and not callable(identifier):
        raise ValueError(f"quantizer: expected None or a callable, received {identifier!r}")
    return identifier
