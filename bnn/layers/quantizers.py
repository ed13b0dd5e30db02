"""Quantizers and the estimators of their gradients, on `keras.ops`.

A quantizer maps real values to a few levels. Its derivative is zero almost everywhere, so training puts another in
its place: by default the straight-through estimator, by which the gradient passes unchanged where |x| <= 1 and is 0
elsewhere [1]_. Names are Larq's where Larq has the estimator. Functions quantize tensors; the class of the same name
is the function as layers take it, saved with its arguments.

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

BEST_RATIO = 0.6120031809624809  # of threshold to sigma: `levels.best_ternary_threshold()`, which needs SciPy


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


def with_gradient(quantize, backward):
    """Give a function the gradient of an estimator in place of its own.

    Args:
        quantize: function from a tensor to a tensor of the same shape and dtype.
        backward: function from (x, upstream gradient) to the gradient with respect to x; all of x's shape and dtype.

    Returns:
        The function `quantize`, with that gradient.
    """

    @ops.custom_gradient
    def estimator(x):
        def gradient(*args, upstream=None):
            return backward(x, args[0] if upstream is None else upstream)

        return quantize(x), gradient

    # The cast reads a variable: TensorFlow's custom gradients take nothing but tensors.
    return lambda x: estimator(ops.cast(x, x.dtype))


def straight_through(quantize):
    """Give `quantize` the straight-through gradient: 1 where |x| <= 1, else 0 (paper, section 2; [1]_, eq. 4).

    Args:
        quantize: function from a tensor to a tensor of the same shape and dtype.

    Returns:
        The same function, with the estimator's gradient.
    """

    def backward(x, upstream):
        return ops.where(ops.abs(x) <= 1, upstream, ops.zeros_like(upstream))

    return with_gradient(quantize, backward)


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
    """`sign` with derivative 1 everywhere: the straight-through estimator as it was first proposed ([4]_)."""
    return with_gradient(sign, lambda x, upstream: upstream)(x)


def magnitude_aware_sign(x):
    """`sign` times m, the mean of |x| over all axes but the last: a scale for each unit of a kernel ([2]_).

    The derivative is m where |x| <= 1, else 0; m itself is taken for a constant.
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

    Of all thresholds this one turns Gaussian values the least, by 25.85 degrees. It is the optimum of ternary weight
    networks too, there approximated by 0.7 times the mean size ([5]_).
    """
    return straight_through(lambda values: ternary(values, BEST_RATIO * ops.std(values)))(x)


class Quantizer:
    """What layers quantize with: a map with the gradient of its estimator, saved by its constructor's arguments.

    Attributes:
        levels: number of output values.
        threshold: values of at most this size become 0; 0 for binary, None where it is the best for the values' spread.
    """

    levels = 2
    threshold = 0.0

    def __call__(self, x):
        """Quantize a float tensor; shape and dtype stay."""
        return self.estimator(x, **self.get_config())

    def get_config(self):
        """Arguments of the constructor, and of the function that is called."""
        return {}

    @classmethod
    def from_config(cls, config):
        """The quantizer that `get_config` described."""
        return cls(**config)


@keras.saving.register_keras_serializable("bnn")
class Sign(Quantizer):
    """Binary quantizer of layers: `ste_sign`."""

    estimator = staticmethod(ste_sign)


@keras.saving.register_keras_serializable("bnn")
class Ternary(Quantizer):
    """Ternary quantizer of layers: `ste_ternary`.

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
class ApproxSign(Quantizer):
    """Binary quantizer of layers: `approx_sign`."""

    estimator = staticmethod(approx_sign)


@keras.saving.register_keras_serializable("bnn")
class SwishSign(Quantizer):
    """Binary quantizer of layers: `swish_sign`.

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
class IdentitySign(Quantizer):
    """Binary quantizer of layers: `identity_sign`."""

    estimator = staticmethod(identity_sign)


@keras.saving.register_keras_serializable("bnn")
class MagnitudeAwareSign(Quantizer):
    """Binary quantizer of kernels: `magnitude_aware_sign`."""

    estimator = staticmethod(magnitude_aware_sign)


@keras.saving.register_keras_serializable("bnn")
class StochasticSign(Sign):
    """Binary quantizer of layers: in training `stochastic_sign`, in inference `ste_sign`.

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


def for_training(quantizer):
    """The map that takes a quantizer's place in training: a stochastic one's random draws, any other itself."""
    return getattr(quantizer, "draw", quantizer)


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
