"""Quantizers for layers: the functions of `quantizer_functions` with their arguments, in the form that layers save.

`bnn.geometry.estimators` lists the quantizers by name; `get` makes the quantizer of a name.
"""

import math

import keras

from bnn.geometry import estimators
from bnn.layers.quantizer_functions import (
    ABSMEAN_RATIO,
    BEST_RATIO,
    absmax_integers,
    absmean_ternary,
    approx_sign,
    centered_sign,
    identity_sign,
    lloyd_max,
    magnitude_aware_sign,
    optimal_ternary,
    ste_sign,
    ste_ternary,
    stochastic_sign,
    swish_sign,
)


class Quantizer:
    """Base class of quantizers for layers: a map with the gradient of its estimator. Its arguments are saved.

    A subclass sets `estimator`, a function of a tensor and the constructor's arguments, or it defines `__call__`.
    Register the subclass with `keras.saving.register_keras_serializable`.

    Attributes:
        levels: 2 if the map is the sign, 3 if it is the ternary map, both up to positive factors; the number of values
            of any other map. None (the default) means that the number is unknown and that theory predicts no angle.
        threshold: for 2 and 3 levels, values of at most this magnitude become 0. None means the best threshold for
            Gaussian values.
        relative: bool, whether the threshold has a unit that follows the values, and that is their standard deviation
            if they are Gaussian.
    """

    levels = None
    relative = False

    def unit(self, values):
        """Return the unit of a relative threshold for the values in an array: by default their standard deviation."""
        return values.std()

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
    threshold, relative = BEST_RATIO, True
    estimator = staticmethod(optimal_ternary)


@keras.saving.register_keras_serializable("bnn")
class AbsmeanTernary(Quantizer):
    """Ternary quantizer of kernels: `absmean_ternary`."""

    levels = 3
    threshold, relative = ABSMEAN_RATIO, True
    estimator = staticmethod(absmean_ternary)

    def unit(self, values):
        """Return the deviation of Gaussian values with the same mean absolute value."""
        return abs(values).mean() * math.sqrt(math.pi / 2)


@keras.saving.register_keras_serializable("bnn")
class CenteredSign(Quantizer):
    """Binary quantizer of kernels in 1-bit language models: `centered_sign`."""

    levels = 2
    estimator = staticmethod(centered_sign)


@keras.saving.register_keras_serializable("bnn")
class AbsmaxIntegers(Quantizer):
    """Quantizer of activations in 1-bit language models: `absmax_integers`, with one unit per token.

    Args:
        bits: int from 2 to 16.

    Raises:
        ValueError: there are fewer or more bits.
    """

    estimator = staticmethod(absmax_integers)

    def __init__(self, bits=8):
        if not isinstance(bits, int) or not 2 <= bits <= 16:
            raise ValueError(f"bits: expected a whole number from 2 to 16, received {bits!r}")
        self.bits = bits

    def get_config(self):
        """Return the arguments of the constructor."""
        return {"bits": self.bits}


@keras.saving.register_keras_serializable("bnn")
class LloydMax(Quantizer):
    """Quantizer to the levels with the least squared error for Gaussian values: `lloyd_max`.

    Args:
        levels: int from 2 to 256.
        relative: bool, whether the thresholds have the standard deviation of all values as their unit; without it,
            which is meant for activations, the unit is 1.

    Raises:
        ValueError: there are fewer or more levels.
    """

    def __init__(self, levels, relative=True):
        if not isinstance(levels, int) or not 2 <= levels <= estimators.MOST_LEVELS:
            raise ValueError(
                f"levels: expected a whole number from 2 to {estimators.MOST_LEVELS}, received {levels!r}"
            )
        from bnn.geometry import levels as theory  # SciPy takes its time to load

        self.levels, self.relative = levels, relative
        self.thresholds, self.values = (part.tolist() for part in theory.lloyd_max(levels)[:2])

    def __call__(self, x):
        """Quantize a float tensor. The shape and the dtype do not change."""
        return lloyd_max(x, self.thresholds, self.values, self.relative)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {"levels": self.levels, "relative": self.relative}


def unit_ternary():
    """Create the `Ternary` whose threshold is best for values of standard deviation 1: `BEST_RATIO`.

    Batch norm without a scale gives activations a standard deviation of 1. If the threshold used their measured
    deviation, as in `OptimalTernary`, the output for an image would depend on the rest of its batch.
    """
    return Ternary(BEST_RATIO)


def unit_absmean():
    """Create the `Ternary` with the threshold of `AbsmeanTernary` for values of standard deviation 1."""
    return Ternary(ABSMEAN_RATIO)


def unit_lloyd_max(levels):
    """Create the `LloydMax` for values of standard deviation 1."""
    return LloydMax(levels, relative=False)


def is_sign(quantizer):
    """Return whether a quantizer is the sign with the straight-through gradient; a subclass may be something else."""
    return type(quantizer) in (Sign, StochasticSign)


def for_training(quantizer):
    """Return the function that quantizes in training: `draw` of a stochastic quantizer, else the quantizer itself."""
    return getattr(quantizer, "draw", quantizer)


def get(identifier, place="kernel_quantizer"):
    """Return the quantizer that an argument of a layer stands for.

    Args:
        identifier: None, a callable, the config of a saved quantizer, or a str: a name of `bnn.geometry.estimators`,
            or the name of a function or class that is registered with Keras, such as "Custom>my_sign".
        place: str, the argument. A kernel gets the quantizer of kernels of that name, any other that of activations.

    Raises:
        ValueError: the identifier is none of these, or a class instead of its object.
        ConfigError: there is no quantizer of this name; it is a ValueError.
    """
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if isinstance(identifier, str):
        own = registered(identifier) if ">" in identifier else None
        return make(estimators.get(identifier, place), place) if own is None else own()
    if isinstance(identifier, type):
        name = identifier.__name__
        raise ValueError(f"quantizer: expected an object such as {name}(), received the class {name}")
    if identifier is not None and not callable(identifier):
        raise ValueError(f"quantizer: expected None, a name or a callable, received {identifier!r}")
    return identifier


def make(estimator, place="kernel_quantizer", levels=None):
    """Make the quantizer of an Estimator for an argument of a layer; `levels`: see `Estimator.kernel`."""
    makers = estimator.kernel if place == "kernel_quantizer" else estimator.activation
    maker = globals()[makers[levels or estimator.levels[0]]]
    return maker() if estimator.number is None else maker(estimator.number)


def registered(value):
    """Return the function that makes the quantizers of a registered name, see `estimators.as_setting`, or None.

    Raises:
        ValueError: what follows the name is no object in JSON.
    """
    name, config = estimators.from_setting(value)
    own = keras.saving.get_registered_object(name)
    if own is None or not isinstance(own, type):
        return own and (lambda: own)
    if not config:
        return own
    return lambda: own.from_config(dict(config)) if hasattr(own, "from_config") else own(**config)
