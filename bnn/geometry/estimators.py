"""Quantizers by name: how a network quantizes, and which gradient its training uses instead of the derivative.

The derivative of a quantizer is 0 almost everywhere. Settings, their help, networks and docs/training.md are all made
from the table `ESTIMATORS`, without Keras. `get` reads every name of a quantizer: of a setting, an argument of a layer,
and of `analyze`. A new estimator needs one entry here, a quantizer in `bnn.layers.quantizers`, and the same map of
arrays in `bnn.geometry.named_quantizers`.
"""

import json
import math
import sys
from dataclasses import dataclass, replace

from bnn.console.errors import ConfigError
from bnn.console.spelling import argument
from bnn.console.suggestions import did_you_mean

NAMES = "sign, ternary, ternary:THRESHOLD or lloyd-max:LEVELS"
MOST_LEVELS = 256


QuantizerError = ConfigError  # its name in earlier versions


@dataclass(frozen=True)
class Estimator:
    """One entry of the table.

    Attributes:
        name: str, the value of the setting. If Larq has the estimator, the name is the one in Larq.
        kernel: dict from the possible numbers of levels to the name, in `bnn.layers.quantizers`, of the function or
            class that makes a quantizer of kernels.
        activation: the same for activations.
        forward: what the quantizers compute, in Markdown.
        gradient: what training uses instead of their derivative, in Markdown.
        reference: the publication that proposed it, in Markdown.
        leaves_kernels: whether the setting `estimator` changes activations only, and `ste` quantizes the kernels.
            Latent weights are clipped to [-1, 1]. With a gradient of 0 at 1, a weight that reaches 1 would stay there.
        takes_threshold: whether the setting `threshold` applies to the ternary quantizers.
        number: float or int, the threshold of `ternary:THRESHOLD` or the levels of `lloyd-max:LEVELS`, the argument of
            the class; None: no argument.
    """

    name: str
    kernel: dict
    activation: dict
    forward: str
    gradient: str
    reference: str
    leaves_kernels: bool = False
    takes_threshold: bool = False
    number: float | None = None

    @property
    def levels(self):
        """Tuple of ints: the possible numbers of levels of a network with this estimator."""
        return tuple(self.kernel)

    @property
    def own_threshold(self):
        """The threshold in the name `ternary:THRESHOLD`; None: the name has none."""
        return self.number if self.kernel.get(3) == "Ternary" else None


def _paper(authors, number):
    return f"[{authors}](https://arxiv.org/abs/{number})"


_BNN = _paper("Courbariaux et al. 2016", "1602.02830")
_BI_REAL = _paper("Bi-Real net, Liu et al. 2018", "1808.00278")

ESTIMATORS = {
    estimator.name: estimator
    for estimator in (
        Estimator(
            "ste", {2: "Sign", 3: "Ternary"}, {2: "Sign", 3: "Ternary"},
            forward="sign, with 3 levels 0 where |x| <= threshold",
            gradient="straight through: 1 where |x| <= 1, else 0",
            reference=_BNN, takes_threshold=True,
        ),
        Estimator(
            "approx_sign", {2: "ApproxSign"}, {2: "ApproxSign"}, leaves_kernels=True,
            forward="sign", gradient="2 - 2|x| where |x| <= 1, else 0", reference=_BI_REAL,
        ),
        Estimator(
            "swish_sign", {2: "SwishSign"}, {2: "SwishSign"}, leaves_kernels=True,
            forward="sign", gradient="of the sign swish, beta = 5",
            reference=_paper("BNN+, Darabi et al. 2018", "1812.11800"),
        ),
        Estimator(
            "identity_sign", {2: "IdentitySign"}, {2: "IdentitySign"}, leaves_kernels=True,
            forward="sign", gradient="1 everywhere", reference=_paper("Bengio et al. 2013", "1308.3432"),
        ),
        Estimator(
            "stochastic_sign", {2: "StochasticSign"}, {2: "StochasticSign"}, leaves_kernels=True,
            forward="in training +1 with probability clip((x + 1) / 2, 0, 1), in inference sign",
            gradient="as ste", reference=_BNN,
        ),
        Estimator(
            "magnitude_aware_sign", {2: "MagnitudeAwareSign"}, {2: "Sign"},
            forward="sign, in kernels times the mean of |x| of each unit",
            gradient="as ste, times that mean", reference=_BI_REAL,
        ),
        Estimator(
            "optimal_ternary", {3: "OptimalTernary"}, {3: "unit_ternary"},
            forward="with 3 levels 0 where |x| <= 0.6120 sigma, at the smallest angle to Gaussian values",
            gradient="as ste", reference=_paper("Ternary weight networks, Li et al. 2016", "1605.04711"),
        ),
        Estimator(
            "absmean", {3: "AbsmeanTernary"}, {3: "unit_absmean"},
            forward="with 3 levels 0 where |x| <= m / 2, else +m or -m, with m the mean of |x| in a kernel; "
            "in activations 0 where |x| <= 0.3989, else the sign",
            gradient="1 everywhere, in activations as ste",
            reference=_paper("BitNet b1.58, Ma et al. 2024", "2402.17764"),
        ),
        Estimator(
            "centered_sign", {2: "CenteredSign"}, {2: "IdentitySign"},
            forward="sign, in kernels of x - mean of x, times m, the mean of |x|, both of a kernel",
            gradient="1 everywhere", reference=_paper("BitNet, Wang et al. 2023", "2310.11453"),
        ),
    )
}  # fmt: skip


# Other names of entries.
SHORT = {
    "sign": replace(
        ESTIMATORS["ste"],
        name="sign", kernel={2: "Sign"}, activation={2: "Sign"}, forward="sign", takes_threshold=False,
    ),
    "ternary": replace(ESTIMATORS["optimal_ternary"], name="ternary"),
}  # fmt: skip


def get(name, place="quantizer"):
    """Return what the name of a quantizer stands for.

    Args:
        name: str, an entry of `ESTIMATORS`, where `ste` without levels means the sign; "sign"; "ternary", with the best
            threshold for the standard deviation of the values, as `optimal_ternary`; "ternary:T" with T >= 0; or
            "lloyd-max:K" with K from 2 to 256, the least squared error for Gaussian values of that deviation.
        place: str, the argument that has this value, for the error message.

    Returns:
        Estimator

    Raises:
        ConfigError: there is no such name; the message names a similar one.
    """
    kind, colon, number = name.partition(":")
    try:
        if not colon and kind in SHORT | ESTIMATORS:
            return (SHORT | ESTIMATORS)[kind]
        if kind == "ternary" and 0 <= float(number) < math.inf:
            return _with_number(name, 3, "Ternary", "Ternary", float(number))
        if kind == "lloyd-max" and 2 <= int(number) <= MOST_LEVELS:
            return _with_number(name, int(number), "LloydMax", "unit_lloyd_max", int(number))
    except ValueError:
        pass
    hint = "" if colon else did_you_mean(name, [*SHORT, *ESTIMATORS, "lloyd-max:4"])
    raise ConfigError(
        f"{argument(place)}: expected {NAMES} (threshold >= 0, 2 to {MOST_LEVELS} levels), or one of "
        f"{', '.join(ESTIMATORS)}, received {name!r}{hint}"
    )


def _with_number(name, levels, kernel, activation, number):
    forward = f"the values of {name}"
    return Estimator(name, {levels: kernel}, {levels: activation}, forward, "as ste", "", number=number)


def find(value):
    """Return what a value stands for, an Estimator; None if it is no name of a quantizer, see `get`."""
    try:
        return get(value) if isinstance(value, str) else None
    except ConfigError:
        return None


def meanings():
    """Return a short description of every estimator for the help of a flag, one line each: "ste: sign, ..."."""
    return "\n".join(f"{e.name}: {e.forward}, gradient {e.gradient}" for e in ESTIMATORS.values())


def as_setting(quantizer):
    """Return the value that a setting stores for a quantizer.

    Args:
        quantizer: a function or class decorated with `@keras.saving.register_keras_serializable()`, an object of such
            a class that has `get_config` and `from_config`, or anything else.

    Returns:
        The name under which the function or class is registered with Keras, such as "Custom>my_sign"; for an object the
        name of its class and its config as JSON, such as 'Custom>TanhSign{"beta": 2.0}'. Any other argument is returned
        unchanged.
    """
    keras = sys.modules.get("keras")
    if keras is None or not callable(quantizer):
        return quantizer
    kind = quantizer if hasattr(quantizer, "__name__") else type(quantizer)
    name = keras.saving.get_registered_name(kind)
    if keras.saving.get_registered_object(name) is not kind:
        return quantizer
    if kind is quantizer:
        return name
    if not hasattr(kind, "from_config"):
        return quantizer
    try:
        config = quantizer.get_config()
        return name + (json.dumps(config, sort_keys=True) if config else "")
    except (AttributeError, TypeError, NotImplementedError):
        return quantizer


def from_setting(value):
    """Return (name, config) of a setting with a registered name; the config is {} for a function or class.

    Raises:
        ValueError: what follows the name is no object in JSON.
    """
    name, brace, rest = value.partition("{")
    config = json.loads(brace + rest) if brace else {}
    return name, config
