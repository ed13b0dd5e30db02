"""Estimators by name: how a network quantizes, and the gradient that its training puts in place of a quantizer's own.

The derivative of a quantizer is 0 almost everywhere. `ESTIMATORS` is the one table: settings, their help, networks and
docs/training.md are made from it, without Keras. A new estimator is an entry here and a quantizer in
`bnn.layers.quantizers`.
"""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimator:
    """One entry of the table.

    Attributes:
        name: str, the value of the setting. Names are Larq's where Larq has the estimator.
        kernel: dict from each number of levels that a network may have to the name, in `bnn.layers.quantizers`, of
            the function or class that makes a quantizer of kernels.
        activation: the same for activations.
        forward: what the quantizers compute, in Markdown.
        gradient: what takes the place of their derivative, in Markdown.
        reference: where it was proposed, in Markdown.
        leaves_kernels: whether the setting `estimator` changes activations only, and `ste` quantizes the kernels.
            Of a latent kernel clipped to [-1, 1], weights that reach 1 could not leave it again by a derivative that
            is 0 there.
        takes_threshold: whether ternary quantizers have the threshold that is set.
    """

    name: str
    kernel: dict
    activation: dict
    forward: str
    gradient: str
    reference: str
    leaves_kernels: bool = False
    takes_threshold: bool = False

    @property
    def levels(self):
        """Numbers of levels that a network with this estimator may have, a tuple of ints."""
        return tuple(self.kernel)


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
    )
}  # fmt: skip


def meanings():
    """Every estimator in a few words, for the help of a flag: "ste: sign, ...; approx_sign: ..."."""
    return "; ".join(f"{e.name}: {e.forward}, gradient {e.gradient}" for e in ESTIMATORS.values())


def as_setting(quantizer):
    """What a setting keeps of a quantizer.

    Args:
        quantizer: a function or class below `@keras.saving.register_keras_serializable()`, or anything else.

    Returns:
        The name under which Keras knows the function or class, such as "Custom>my_sign"; anything else as it is.
    """
    keras = sys.modules.get("keras")
    if keras is None or not callable(quantizer) or not hasattr(quantizer, "__name__"):
        return quantizer
    name = keras.saving.get_registered_name(quantizer)
    return name if keras.saving.get_registered_object(name) is quantizer else quantizer
