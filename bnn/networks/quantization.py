"""How a network quantizes: its levels, its quantizers with their estimators, and which layers stay real."""

from collections.abc import Callable
from dataclasses import dataclass

from bnn.console.errors import ConfigError, check_fields, expect, one_of, setting
from bnn.console.spelling import argument, option
from bnn.geometry import estimators
from bnn.geometry.estimators import ESTIMATORS, as_setting, meanings

FIRST_LAYERS = ("quantized", "real", "rotated", "whitening")
LAST_LAYERS = ("quantized", "real")
TERNARY_THRESHOLD = 0.02  # the paper's
FLOAT32 = 2**-23  # the relative distance of numbers that training tells apart
GLOROT = "glorot"  # the clip that depends on the layer
QUANTIZERS = ("kernel_quantizer", "activation_quantizer")  # settings


@dataclass(frozen=True)
class Quantization:
    """The quantizers of kernels and activations, and the range of the latent weights. The defaults are the paper's.

    Raises:
        ConfigError: a value is out of range, or values contradict each other.
    """

    levels: int = setting(
        2,
        "2: binary weights and activations; 3: ternary, see --threshold",
        shown="2, or 3 with an estimator that has no other",
        choices=(2, 3),
    )
    threshold: float = setting(
        0.0,
        "ternary: values from -X to X become 0; X in [0, 1)",
        shown=f"{TERNARY_THRESHOLD}, the paper's, with 3 levels and the estimator ste",
    )
    estimator: str = setting(
        "ste",
        f"quantizers of the network, and the gradient that training uses instead of theirs:\n{meanings()}\n"
        "sign: ste with 2 levels\nternary: optimal_ternary\nternary:T: ste with 3 levels and the threshold T\n"
        "lloyd-max:K: the K levels with the least squared error for Gaussian values, gradient as ste\n",
        choices=tuple(ESTIMATORS),
    )
    kernel_quantizer: str | None = setting(
        None,
        "quantizer of the kernels in place of the estimator's: a name as for --estimator, or one that --use FILE.py "
        "registers",
    )
    activation_quantizer: str | None = setting(None, "the same for activations")
    continuous: bool = setting(False, "train the same network without quantizers; hard tanh instead of sign")
    first_layer: str = setting(
        "quantized",
        "real: its kernel is not quantized; rotated: it is quantized after a fixed random rotation of its inputs; "
        "whitening: it is real, after a fixed whitening of its inputs",
        choices=FIRST_LAYERS,
    )
    last_layer: str = setting(
        "quantized", "real: the kernel of the output layer is not quantized", choices=LAST_LAYERS
    )
    clip: float | str = setting(
        1.0,
        "clip latent weights to [-X, X] after every step; glorot: X = sqrt(1.5 / (fan-in + fan-out)) of each layer, "
        "whose weights begin uniform in that range",
    )

    def __post_init__(self):
        for name in QUANTIZERS:
            object.__setattr__(self, name, as_setting(getattr(self, name)))
        check_fields(self)
        expect(0 <= self.threshold < 1, "threshold", "a value in [0, 1)", self.threshold)
        expect(self.threshold == 0 or self.levels == 3, "threshold", "0 unless levels is 3", self.threshold)
        self._check_clip()
        self._check_quantizers()

    def _check_clip(self):
        if isinstance(self.clip, str):
            expect(self.clip == GLOROT, "clip", f"a positive number or {GLOROT}", self.clip)
            none = "a number in a continuous net, whose kernels are not quantized"
            expect(not self.continuous, "clip", none, self.clip)
            threshold = self.threshold or self._own_threshold("kernel_quantizer")
            fixed = f"a number with the threshold {threshold:g}, which has the units of the weights"
            expect(threshold == 0, "clip", fixed, self.clip)
        else:
            expect(self.clip > 0, "clip", f"a positive number or {GLOROT}", self.clip)

    def _check_quantizers(self):
        own = f"{one_of(ESTIMATORS)}, {estimators.NAMES}, or a registered function such as Custom>my_sign"
        for name in QUANTIZERS:
            value = getattr(self, name)
            known = value is None or estimators.find(value) or ">" in value
            expect(known, name, own, value, (*ESTIMATORS, *estimators.SHORT))
            expect(self._own_threshold(name) < 1, name, "a threshold in [0, 1)", value)
        for name in ("levels", "first_layer", "last_layer", "estimator", *QUANTIZERS):
            value, default = getattr(self, name), getattr(Quantization, name)
            wanted = f"{default}, the default, in a continuous net, which has no quantizer"
            expect(value == default or not self.continuous, name, wanted, value)
        for name in (self.estimator, self.kernel_quantizer, self.activation_quantizer):
            found = estimators.find(name)
            levels = found.levels if found else ()
            # With more levels, or as a registered function, a quantizer says nothing about `levels`.
            fits = self.levels in levels or not {2, 3}.intersection(levels)
            expect(fits, "levels", f"{[*levels, 0][0]} with the estimator {name}", self.levels)
        none = f"none with the estimator {self.estimator}, which sets its own"
        takes = ESTIMATORS[self.estimator].takes_threshold
        expect(takes or self.threshold == 0, "threshold", none, self.threshold)

    def _own_threshold(self, name):
        """The threshold in the quantizer "ternary:T" of a setting, or 0."""
        found = estimators.find(getattr(self, name))
        return (found and found.own_threshold) or 0

    @classmethod
    def implied(cls, settings, given):
        """Return the settings that follow from others, see `Network.implied`.

        An estimator that has only three levels sets `levels`. A ternary network has the paper's threshold: with a
        threshold of 0, almost no weight would become 0.
        """
        if given.get("threshold") and "levels" not in settings:
            hint = f"; {option('levels', 3)} makes the network ternary"
            raise ConfigError(
                f"threshold: expected 0 in a binary network, received {given['threshold']!r}{hint}"
            )
        if settings.get("continuous"):
            return {}
        estimator = settings.get("estimator", cls.estimator)
        named = [estimator, *(settings.get(name) or estimator for name in QUANTIZERS)]
        used = [found for found in map(estimators.find, named) if found]
        implied = {"levels": 3} if any(one.levels == (3,) for one in used) else {}
        settings = implied | settings
        takes = used and used[0].takes_threshold and any(one.takes_threshold for one in used[1:])
        if settings.get("levels") == 3 and takes and "threshold" not in settings:
            cls._expect_units(settings, estimator)
            implied["threshold"] = TERNARY_THRESHOLD
        cls._expect_reachable(implied | settings, named[1])
        return {name: value for name, value in implied.items() if name not in given}

    @classmethod
    def _expect_reachable(cls, settings, quantizer):
        """Raise `ConfigError` if clipped kernels, of this quantizer, cannot exceed the threshold.

        Only for new networks: runs of earlier versions still load.
        """
        clip, threshold = (settings.get(name, getattr(cls, name)) for name in ("clip", "threshold"))
        numbers = all(isinstance(value, int | float) for value in (clip, threshold))
        found = estimators.find(quantizer)
        takes = found and found.takes_threshold
        if found and found.own_threshold is not None:
            takes, threshold = True, found.own_threshold
        if numbers and takes and threshold < 1 and 0 < clip <= threshold * (1 + FLOAT32):
            raise ConfigError(
                f"clip: expected more than the threshold, {threshold!r}, up to which weights become 0, received "
                f"{clip!r}; raise {argument('clip')} or lower {argument('threshold')}: every kernel would be 0"
            )

    @staticmethod
    def _expect_units(settings, estimator):
        """Raise `ConfigError` if the paper's threshold, which has the units of a clip of 1, does not fit the clip."""
        if settings.get("clip") == GLOROT:
            own = " or ".join(name for name, one in ESTIMATORS.items() if one.levels == (3,))
            wanted = f"{own}, whose thresholds follow the weights, with 3 levels and clip {GLOROT}"
            raise ConfigError(f"estimator: expected {wanted}, received {estimator}")

    @property
    def is_binary_in_effect(self):
        """Whether the network is ternary with a threshold of 0, which almost no weight meets."""
        own = self.kernel_quantizer or self.activation_quantizer
        takes = ESTIMATORS[self.estimator].takes_threshold
        return self.levels == 3 and takes and self.threshold == 0 and not own

    @property
    def kind(self):
        """The common name: "binary", "ternary" or "continuous"; "quantized" with custom quantizers or more levels."""
        own = [estimators.find(getattr(self, name)) for name in QUANTIZERS if getattr(self, name) is not None]
        if not all(found and {2, 3}.intersection(found.levels) for found in own):
            return "quantized"
        return "continuous" if self.continuous else {2: "binary", 3: "ternary"}[self.levels]

    def expect_signs(self):
        """Raise `ConfigError` if a network cannot do without latent weights, as Bop does."""
        kind, none = f"adam, because the network is {self.kind}, not binary", "none with the optimizer bop"
        expect(self.kind == "binary", "optimizer", kind, "bop")
        expect(self.kernel_quantizer is None, "kernel_quantizer", none, self.kernel_quantizer)
        clip = f"{Quantization.clip}, the default, with the optimizer bop, whose kernels are signs"
        expect(self.clip == Quantization.clip, "clip", clip, self.clip)

    def makers(self, own=None):
        """Return functions that make the quantizers of a network's layers.

        Each layer gets its own quantizer, because a stochastic quantizer has its own random numbers.

        Args:
            own: dict from the name of a setting to the function to take in place of the setting's; None: {}.

        Returns:
            (kernel, activation): functions without arguments that return a quantizer, or None for a continuous network.

        Raises:
            ConfigError: a quantizer is not registered with Keras.
        """
        return tuple((own or {}).get(name) or self._maker(name) for name in QUANTIZERS)

    def _maker(self, setting):
        if self.continuous:
            return lambda: None
        name = getattr(self, setting) or self.estimator
        found = estimators.find(name)
        return self._of_estimator(setting, found) if found else registered(setting, name)

    def _of_estimator(self, setting, estimator) -> Callable:
        from bnn.layers import quantizers

        kernels = setting == "kernel_quantizer"
        if kernels and estimator.leaves_kernels and self.kernel_quantizer is None:
            estimator = ESTIMATORS["ste"]
        if estimator.takes_threshold and self.levels == 3:
            return lambda: quantizers.Ternary(self.threshold)
        return lambda: quantizers.make(estimator, setting)


def registered(setting, value):
    """Return the function that makes quantizers from what is registered with Keras under a name; see `as_setting`."""
    from bnn.layers import quantizers

    try:
        make = quantizers.registered(value)
    except ValueError as error:
        raise ConfigError(
            f"{setting}: expected NAME or NAME{{...}} in JSON, received {value!r} ({error})"
        ) from None
    if make is None:
        name = value.partition("{")[0]
        raise ConfigError(
            f"{setting}: expected a function that is registered with Keras as {name}, received none; "
            "first import the module that defines it, in a program by --use FILE.py"
        )
    return make


def spelled_out(settings):
    """Return settings in which `estimator` is an entry of `ESTIMATORS`, from those with any name of a quantizer.

    "sign" is `ste` with 2 levels, "ternary" `optimal_ternary`, "ternary:T" `ste` with 3 levels and the threshold T, and
    "lloyd-max:K" that quantizer for kernels and activations.

    Raises:
        ConfigError: there is no such name, or a setting contradicts it.
    """
    name = settings.get("estimator")
    if not isinstance(name, str) or name in ESTIMATORS:
        return settings
    found = estimators.get(name, "estimator")
    if name == "ternary":
        means = {"estimator": "optimal_ternary"}
    elif name.startswith("lloyd-max"):
        means = {"estimator": "ste"} | dict.fromkeys(QUANTIZERS, name)
    else:
        means = {"estimator": "ste", "levels": found.levels[0]}
        means |= {} if found.number is None else {"threshold": found.number}
    for key, value in means.items():
        given = settings.get(key)
        expect(key == "estimator" or given in (value, None), key, f"{value} with the estimator {name}", given)
    return settings | means
