"""Functions that quantize tensors, with the estimators of their gradients, on `keras.ops`.

A quantizer maps real values to a few levels. Its derivative is 0 almost everywhere, so training replaces the
derivative. By default the straight-through estimator passes the gradient unchanged where |x| <= 1 and stops it
elsewhere [1]_. `quantizers` has the class of each function, which layers save.

References:
    .. [1] Courbariaux, Hubara, Soudry, El-Yaniv & Bengio, "Binarized Neural Networks", 2016, arXiv:1602.02830.
    .. [2] Liu, Wu, Luo, Yang, Liu & Cheng, "Bi-Real Net", 2018, arXiv:1808.00278.
    .. [3] Darabi, Belbahri, Courbariaux & Nia, "BNN+: Improved Binary Network Training", 2018, arXiv:1812.11800.
    .. [4] Bengio, Leonard & Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for
       Conditional Computation", 2013, arXiv:1308.3432.
    .. [5] Li, Zhang & Liu, "Ternary Weight Networks", 2016, arXiv:1605.04711.
    .. [6] Ma et al., "The Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits", 2024, arXiv:2402.17764.
    .. [7] Wang et al., "BitNet: Scaling 1-bit Transformers for Large Language Models", 2023, arXiv:2310.11453.
"""

import math

import keras
from keras import ops

from bnn.layers.gradients import straight_through, with_gradient

# Thresholds in units of the standard deviation of Gaussian values.
BEST_RATIO = 0.6120031809624809  # `geometry.best_ternary_threshold()`, without SciPy
ABSMEAN_RATIO = 1 / math.sqrt(2 * math.pi)  # half the mean of |x|
TINY = 1e-5  # the smallest largest value of a token, as in the training code of [6]_
# Layers with a registered function can be loaded.
registered = keras.saving.register_keras_serializable("bnn")


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


@registered
def ste_sign(x):
    """`sign` forward, straight-through backward."""
    return straight_through(sign)(x)


def ste_ternary(x, threshold):
    """`ternary` forward, straight-through backward."""
    return straight_through(lambda values: ternary(values, threshold))(x)


@registered
def approx_sign(x):
    """`sign` with the derivative of a piecewise quadratic, 2 - 2|x| where |x| <= 1, else 0 ([2]_)."""
    return with_gradient(sign, lambda x, upstream: upstream * ops.relu(2 - 2 * ops.abs(x)))(x)


@registered
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


@registered
def identity_sign(x):
    """`sign` with derivative 1 everywhere: the straight-through estimator as first proposed ([4]_)."""
    return with_gradient(sign, lambda x, upstream: upstream)(x)


@registered
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


@registered
def optimal_ternary(x):
    """`ste_ternary` with the threshold `BEST_RATIO` times sigma, the standard deviation of all values of x.

    This threshold gives the smallest angle between Gaussian values and their ternary values, 25.85 degrees. It is also
    the optimum of ternary weight networks, which approximate it by 0.7 times the mean of |x| ([5]_).
    """
    return straight_through(lambda values: ternary(values, BEST_RATIO * ops.std(values)))(x)


@registered
def absmean_ternary(x):
    """Round x / m to -1, 0 or +1, times m, the mean of |x| over all values: 0 where |x| <= m / 2, else +m or -m ([6]_).

    The derivative is 1 everywhere. For Gaussian values the angle is 27.5 degrees, and 31 % of the values become 0.
    """

    def quantize(values):
        scale = ops.mean(ops.abs(values))
        return scale * ternary(values, scale / 2)

    return with_gradient(quantize, lambda x, upstream: upstream)(x)


@registered
def centered_sign(x):
    """The sign of x - mu times m, where mu is the mean of x and m that of |x|, both over all values ([7]_).

    The derivative is 1 everywhere.
    """
    return with_gradient(
        lambda x: ops.mean(ops.abs(x)) * sign(x - ops.mean(x)), lambda x, upstream: upstream
    )(x)


def absmax_integers(x, bits):
    """Round to whole multiples of a unit, the largest |x| along the last axis over 2^(bits - 1) - 1 ([6]_, [7]_).

    The derivative is 1 everywhere.

    Args:
        x: float tensor (..., features); each token, a vector of features, has a unit of its own.
        bits: int from 2 to 16.
    """

    def quantize(x):
        unit = ops.maximum(ops.max(ops.abs(x), axis=-1, keepdims=True), TINY) / (2 ** (bits - 1) - 1)
        return unit * ops.round(x / unit)

    return with_gradient(quantize, lambda x, upstream: upstream)(x)


def lloyd_max(x, thresholds, values, relative=True):
    """Map x to values[i] where thresholds[i - 1] <= x / unit < thresholds[i]; straight-through backward.

    Args:
        x: float tensor of any shape.
        thresholds: (k - 1,) increasing floats.
        values: (k,) increasing floats.
        relative: bool, whether the unit is the standard deviation of all values of x; else it is 1.
    """

    def quantize(x):
        # If all values are 0, a tiny unit keeps the thresholds apart.
        unit = ops.maximum(ops.std(x), 1e-30) if relative else 1.0
        found = ops.full_like(x, values[0])
        for threshold, low, high in zip(thresholds, values, values[1:], strict=False):
            found = found + (high - low) * ops.cast(x >= threshold * unit, x.dtype)
        return found

    return straight_through(quantize)(x)
