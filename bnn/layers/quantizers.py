"""Quantizers and the estimators of their gradients, on `keras.ops`.

A quantizer maps real values to a few levels. Its derivative is 0 almost everywhere, so training replaces the
derivative. By default the straight-through estimator passes the gradient unchanged where |x| <= 1 and stops it
elsewhere [1]_. The functions quantize tensors. The class of the same name holds the function and its arguments, in the
form that layers save. `bnn.estimators` lists the quantizers that a network can be trained with by name.

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
    """Binarize: +1 where x >= 0, else -1. The sign of 0 is +1 because a binary network has no third level.

    TensorFlow treats subnormal numbers (below 1e-38) as 0. Therefore the sign of a negative subnormal number is +1.

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
    r"""`sign` with the derivative of SS(x) = 2 s (1 + b x (1 - s)) - 1, where s = sigmoid(b x) ([3]_).

    SS'(x) = b (2 - b x tanh(b x / 2)) / (1 + cosh(b x)). It is b at 0, and negative where |b x| > 2.3994.

    Args:
        x: float tensor of any shape.
        beta: float > 0, b. A larger b brings SS closer to the sign.
    """

    def backward(x, upstream):
        bx = ops.clip(beta * x, -100, 100)  # avoids overflow; beyond 100 the derivative is 0 in float32
        slope = 2 * ops.sigmoid(bx) * ops.sigmoid(-bx)  # 1 / (1 + cosh)
        return upstream * beta * slope * (2 - bx * ops.tanh(bx / 2))

    return with_gradient(sign, backward)(x)


def identity_sign(x):
    """`sign` with derivative 1 everywhere: the straight-through estimator as first proposed ([4]_)."""
    return with_gradient(sign, lambda x, upstream: upstream)(x)


def magnitude_aware_sign(x):
    """`sign` times m, the mean of |x| over all axes but the last: one scale per unit of a kernel ([2]_).

    The derivative is m where |x| <= 1, else 0. It treats m as a constant.
    """
    scale = ops.mean(ops.abs(x), axis=tuple(range(len(x.shape) - 1)))
    return ops.stop_gradient(scale) * ste_sign(x)


def stochastic_sign(x, seed):
    """Return +1 with probability clip((x + 1) / 2, 0, 1), else -1; straight-through backward ([1]_, eq. 2).

    Args:
        x: float tensor of any shape.
        seed: keras.random.SeedGenerator, or an int, which gives the same random numbers in every call.
    """
    uniform = keras.random.uniform(ops.shape(x), dtype="float32", seed=seed)

    def draw(values):
        return 2 * ops.cast(uniform < (ops.cast(values, "float32") + 1) / 2, values.dtype) - 1

    return straight_through(draw)(x)


def optimal_ternary(x):
    """`ste_ternary` with the threshold `BEST_RATIO` times sigma, the standard deviation of all values of x.

    This threshold gives the smallest angle between Gaussian values and their ternary values, 25.85 degrees. It is also
    the optimum of ternary weight networks, which approximate it by 0.7 times the mean of |x| ([5]_).
    """
    return straight_through(lambda values: ternary(values, BEST_RATIO * ops.std(values)))(x)


class Quantizer:
    """Base class of quantizers for layers: a map with the gradient of its estimator. Its arguments are saved.

    A subclass sets `estimator`, a function of a tensor and the constructor's arguments, or it defines `__call__`.
    Register the subclass with `keras.saving.register_keras_serializable`.

    Attributes:
        levels: 2 if the map is the sign, 3 if it is the ternary map, both up to positive factors; the number of values
            of any other map. None (the default) means that the number is unknown and that theory predicts no angle.
        threshold: for 2 and 3 levels, values of at most this magnitude become 0. None means that the threshold is the
            best one for the standard deviation of the values.
    """

    levels = None

    def __call__(self, x):
        """Quantize a float tensor. The shape and the dtype do not change."""
        return self.estimator(x, **self.get_config())

    def get_config(self):
        """Return the arguments of the constructor and of `estimator`."""
        return {}

    @classmethod
    def from_config(cls, config):
        """Create the quantizer that `get_config` described."""
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
        """Return the arguments of the constructor."""
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
        """Return the arguments of the constructor."""
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
        seed: int that fixes the random numbers. None means that they depend on Keras's global seed.

    Attributes:
        seed_generator: keras.random.SeedGenerator, which layers save with their weights.
    """

    def __init__(self, seed=None):
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def __call__(self, x):
        """Quantize a float tensor by its sign. The shape and the dtype do not change."""
        return ste_sign(x)

    def draw(self, x):
        """Quantize a float tensor at random. The shape and the dtype do not change."""
        return stochastic_sign(x, self.seed_generator)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {"seed": self.seed}


@keras.saving.register_keras_serializable("bnn")
class OptimalTernary(Quantizer):
    """Ternary quantizer of kernels: `optimal_ternary`."""

    levels = 3
    threshold = None
    estimator = staticmethod(optimal_ternary)


def unit_ternary():
    """Create the `Ternary` whose threshold is best for values of standard deviation 1: `BEST_RATIO`.

    Batch norm without a scale gives activations a standard deviation of 1. If the threshold used their measured
    deviation, as in `OptimalTernary`, the output for an image would depend on the rest of its batch.
    """
    return Ternary(BEST_RATIO)


def for_training(quantizer):
    """Return the function that quantizes in training: `draw` of a stochastic quantizer, else the quantizer itself."""
    return getattr(quantizer, "draw", quantizer)


def get(identifier):
    """Return the quantizer that an argument of a layer stands for.

    Args:
        identifier: None, a callable, or the config of a saved quantizer.

    Raises:
        ValueError: the identifier is none of these.
    """
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if identifier is not None and not callable(identifier):
        raise ValueError(f"quantizer: expected None or a callable, received {identifier!r}")
    return identifier
