"""Quantizers and the estimators of their gradients, on `keras.ops`.

A quantizer maps real values to a few levels. Its derivative is 0 almost everywhere, so training replaces it: by
default the straight-through estimator passes the gradient unchanged where |x| <= 1 and stops it elsewhere [1]_.
Functions quantize tensors; the class of the same name is the function in the form that layers save, with its
arguments. `bnn.estimators` lists what a network is trained with by name.

References:
    .. [1] Courbariaux, Hubara, Soudry, El-Yaniv & Bengio, "Binarized Neural Networks", 2016, arXiv:1602.02830.
    .. [2] Liu, Wu, Luo, Yang, Liu & Cheng, "Bi-Real Net", 2018, arXiv:1808.00278.
    .. [3] Darabi, Belbahri, Courbariaux & Nia, "BNN+: Improved Binary Network Training", 2018, arXiv:1812.11800.
    .. [4] Bengio, Leonard & Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for
       Conditional Computation", 2013, arXiv:1308.3432.
    .. [5] Li, Zhang & Liu, "Ternary Weight Networks", 2016, arXiv:1605.04711.
"""

import keras
from keras import ops

from bnn.layers.gradients import straight_through, with_gradient

BEST_RATIO = 0.6120031809624809  # threshold / sigma: `geometry.best_ternary_threshold()`, without SciPy


def sign(x):
    """Binarize: +1 where x >= 0, else -1. The sign of 0 is +1, since a binary network has no third level.

    TensorFlow treats subnormal numbers, those below 1e-38, as 0; there the sign of a negative one is +1.

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


ste_sign = straight_through(sign)


def ste_ternary(x, threshold):
    """`ternary` forward, straight-through backward."""
    return straight_through(lambda values: ternary(values, threshold))(x)


def approx_sign(x):
    """`sign` with the derivative of a piecewise quadratic, 2 - 2|x| where |x| <= 1, else 0 ([2]_)."""
    return with_gradient(sign, lambda x, upstream: upstream * ops.relu(2 - 2 * ops.abs(x)))(x)


def swish_sign(x, beta=5.0):
    r"""`sign` with the derivative of SS(x) = 2 s (1 + b x (1 - s)) - 1, s = sigmoid(b x) ([3]_).

    SS'(x) = b (2 - b x tanh(b x / 2)) / (1 + cosh(b x)): b at 0, and negative where |b x| > 2.3994.

    Args:
        x: float tensor of any shape.
        beta: b > 0; the larger, the closer SS is to the sign.
    """

    def backward(x, upstream):
        bx = ops.clip(beta * x, -100, 100)  # where the derivative is 0 in float32, and nothing overflows
        slope = 2 * ops.sigmoid(bx) * ops.sigmoid(-bx)  # 1 / (1 + cosh)
        return upstream * beta * slope * (2 - bx * ops.tanh(bx / 2))

    return with_gradient(sign, backward)(x)


def identity_sign(x):
    """`sign` with derivative 1 everywhere: the straight-through estimator as first proposed ([4]_)."""
    return with_gradient(sign, lambda x, upstream: upstream)(x)


def magnitude_aware_sign(x):
    """`sign` times m, the mean of |x| over all axes but the last: one scale per unit of a kernel ([2]_).

    The derivative is m where |x| <= 1, else 0; m itself is treated as a constant.
    """
    scale = ops.mean(ops.abs(x), axis=tuple(range(len(x.shape) - 1)))
    return ops.stop_gradient(scale) * ste_sign(x)


def stochastic_sign(x, seed):
    """+1 with probability p = clip((x + 1) / 2, 0, 1), else -1; straight-through backward ([1]_, eq. 2).

    Args:
        x: float tensor of any shape.
        seed: keras.random.SeedGenerator, or an int for the same numbers in every call.
    """
    uniform = keras.random.uniform(ops.shape(x), dtype="float32", seed=seed)

    def draw(values):
        return 2 * ops.cast(uniform < (ops.cast(values, "float32") + 1) / 2, values.dtype) - 1

    return straight_through(draw)(x)


def optimal_ternary(x):
    """`ste_ternary` with the threshold `BEST_RATIO` sigma, sigma the standard deviation of all values of x.

    Of all thresholds it gives the smallest angle between Gaussian values and their ternary ones, 25.85 degrees. It is
    also the optimum of ternary weight networks, which approximate it by 0.7 times the mean of |x| ([5]_).
    """
    return straight_through(lambda values: ternary(values, BEST_RATIO * ops.std(values)))(x)


class Quantizer:
    """Base class of quantizers for layers: a map with the gradient of its estimator, saved by its arguments.

    A subclass sets `estimator`, a function of a tensor and of the constructor's arguments, or defines `__call__`; it
    is registered with `keras.saving.register_keras_serializable`.

    Attributes:
        levels: 2 where the map is the sign, 3 where it is the ternary map, both up to positive factors; the number of
            values of any other map, or None, the default: unknown, and theory predicts no angle.
        threshold: for 2 and 3 levels the size up to which values become 0; None: the best one for the values' spread.
    """

    levels = None

    def __call__(self, x):
        """Quantize a float tensor; shape and dtype stay."""
        return self.estimator(x, **self.get_config())

    def get_config(self):
        """Arguments of the constructor, and of `estimator`."""
        return {}

    @classmethod
    def from_config(cls, config):
        """The quantizer that `get_config` described."""
        return cls(**config)


class _Binary(Quantizer):
    levels = 2
    threshold = 0.0


@keras.saving.register_keras_serializable("bnn")
class Sign(_Binary):
    """Binary quantizer: `ste_sign`."""

    estimator = staticmethod(ste_sign)


@keras.saving.register_keras_serializable("bnn")
class Ternary(Quantizer):
    """Ternary quantizer: `ste_ternary`.

    Args:
        threshold: float in [0, 1).

    Raises:
        ValueError: the threshold is outside [0, 1).
    """

    levels = 3
    estimator = staticmethod(ste_ternary)

    def __init__(self, threshold):
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold: expected a value in [0, 1), received {threshold!r}")
        self.threshold = threshold

    def get_config(self):
        """Arguments of the constructor."""
        return {"threshold": self.threshold}


@keras.saving.register_keras_serializable("bnn")
class ApproxSign(_Binary):
    """Binary quantizer: `approx_sign`."""

    estimator = staticmethod(approx_sign)


@keras.saving.register_keras_serializable("bnn")
class SwishSign(_Binary):
    """Binary quantizer: `swish_sign`.

    Args:
        beta: float > 0.

    Raises:
        ValueError: beta is not positive.
    """

    estimator = staticmethod(swish_sign)

    def __init__(self, beta=5.0):
        if not beta > 0:
            raise ValueError(f"beta: expected a positive number, received {beta!r}")
        self.beta = beta

    def get_config(self):
        """Arguments of the constructor."""
        return {"beta": self.beta}


@keras.saving.register_keras_serializable("bnn")
class IdentitySign(_Binary):
    """Binary quantizer: `identity_sign`."""

    estimator = staticmethod(identity_sign)


@keras.saving.register_keras_serializable("bnn")
class MagnitudeAwareSign(_Binary):
    """Binary quantizer of kernels: `magnitude_aware_sign`."""

    estimator = staticmethod(magnitude_aware_sign)


@keras.saving.register_keras_serializable("bnn")
class StochasticSign(Sign):
    """Binary quantizer: `stochastic_sign` in training, `ste_sign` in inference.

    Args:
        seed: int that fixes the random numbers; None: Keras's seed decides.

    Attributes:
        seed_generator: keras.random.SeedGenerator, which layers save with their weights.
    """

    def __init__(self, seed=None):
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def __call__(self, x):
        """Quantize a float tensor by its sign; shape and dtype stay."""
        return ste_sign(x)

    def draw(self, x):
        """Quantize a float tensor at random; shape and dtype stay."""
        return stochastic_sign(x, self.seed_generator)

    def get_config(self):
        """Arguments of the constructor."""
        return {"seed": self.seed}


@keras.saving.register_keras_serializable("bnn")
class OptimalTernary(Quantizer):
    """Ternary quantizer of kernels: `optimal_ternary`."""

    levels = 3
    threshold = None
    estimator = staticmethod(optimal_ternary)


def unit_ternary():
    """The `Ternary` whose threshold is best for values of standard deviation 1: `BEST_RATIO`.

    Batch norm without a scale gives activations that deviation. Their own, as in `OptimalTernary`, would make an image
    depend on the rest of its batch.
    """
    return Ternary(BEST_RATIO)


def for_training(quantizer):
    """What quantizes in training: the random draws of a stochastic quantizer; any other quantizer itself."""
    return getattr(quantizer, "draw", quantizer)


def get(identifier):
    """The quantizer that an argument of a layer stands for.

    Args:
        identifier: None, a callable, or the config of a saved quantizer.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if identifier is not None and not callable(identifier):
        raise ValueError(f"quantizer: expected None or a callable, received {identifier!r}")
    return identifier
