"""What a run is made of: the config of the network, both configs from the settings given, and their JSON form."""

import dataclasses
import math
from dataclasses import dataclass

from bnn.estimators import ESTIMATORS, as_setting, meanings
from bnn.fields import ConfigError, check_fields, expect, one_of, setting
from bnn.presets import DATA_SET_CHOICES, DATA_SETS, NETWORKS, PRESETS
from bnn.spelling import argument, option
from bnn.suggestions import did_you_mean
from bnn.train_config import MAX_SIZE, TrainConfig

FIRST_LAYERS = ("quantized", "real", "rotated", "whitening")
LAST_LAYERS = ("quantized", "real")
TERNARY_THRESHOLD = 0.02  # the paper's
FLOAT32 = 2**-23  # the relative distance of numbers that training tells apart
GLOROT = "glorot"  # the clip that depends on the layer
QUANTIZERS = ("kernel_quantizer", "activation_quantizer")  # settings
ARGUMENTS = (
    "run_dir",
    "data",
    "overwrite",
    "init_from",
    "data_dir",
    "tensorboard",
    "callbacks",
)  # of training.train
MAX_LAYERS = 1000  # convolutions; likewise hidden dense layers
MAX_WEIGHTS = 2**30  # of all kernels: 4 GiB, and Adam needs three times as much
# Settings that runs of earlier versions lack; they get the default.
LATER = {
    "image_size",
    "image_range",
    "log_geometry",
    "first_layer",
    "last_layer",
    "clip",
    "schedule",
    "warmup",
    "augment",
    "optimizer",
    "bop_gamma",
    "bop_threshold",
    "label_smoothing",
    "estimator",
    "bn_epsilon",
    "bn_scale",
    "clip_gradients",
    *QUANTIZERS,
}


@dataclass(frozen=True)
class ModelConfig:
    """The network. The defaults are the paper's CIFAR-10 network.

    Raises:
        ConfigError: a value is out of range, lists disagree in length, or the poolings outgrow the image.
    """

    input_shape: tuple[int, int, int] = (32, 32, 3)
    input_range: tuple[float, float] = (-1.0, 1.0)
    classes: int = 10
    conv: tuple[int, ...] = setting(
        (128, 128, 256, 256, 512, 512), "channels of each convolution; no value: no convolutions"
    )
    max_pool: tuple[int, ...] = setting(
        (0, 1, 0, 1, 0, 1),
        "for each convolution, 1 if 2x2 max-pooling follows it, else 0; required with another number of convolutions",
    )
    filter_size: int = setting(3, "side of the convolution kernels")
    fc: tuple[int, ...] = setting(
        (1024, 1024), "units of each hidden dense layer; no value: no hidden dense layers"
    )
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
        f"quantizers of the network, and the gradient that training uses instead of theirs:\n{meanings()}\n",
        choices=tuple(ESTIMATORS),
    )
    # The name of another estimator or a function or class registered with Keras, instead of the estimator's quantizer.
    kernel_quantizer: str | None = None
    activation_quantizer: str | None = None
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
    bn_epsilon: float = setting(1e-3, "batch norm: added to the variance")
    bn_scale: bool = setting(False, "batch norm: also train a factor per channel")
    bn_decay: float = setting(0.999, "decay of batch norm's moving averages; in [0, 1)")

    def __post_init__(self):
        for name in QUANTIZERS:
            object.__setattr__(self, name, as_setting(getattr(self, name)))
        check_fields(self)
        expect(
            all(0 < n <= MAX_SIZE for n in self.input_shape),
            "input_shape",
            f"sizes from 1 to {MAX_SIZE}",
            list(self.input_shape),
        )
        expect(0 < self.classes <= MAX_SIZE, "classes", f"1 to {MAX_SIZE}", self.classes)
        expect(self.input_range[0] < self.input_range[1], "input_range", "low < high", self.input_range)
        for name in ("conv", "fc"):
            sizes = getattr(self, name)
            expect(all(0 < n <= MAX_SIZE for n in sizes), name, f"sizes from 1 to {MAX_SIZE}", list(sizes))
            expect(len(sizes) <= MAX_LAYERS, name, f"at most {MAX_LAYERS} layers", len(sizes))
        expect(
            len(self.max_pool) == len(self.conv),
            "max_pool",
            f"one entry for each of the {len(self.conv)} in conv",
            list(self.max_pool),
        )
        expect(set(self.max_pool) <= {0, 1}, "max_pool", "entries 0 or 1", list(self.max_pool))
        self._check_poolings()
        expect(1 <= self.filter_size <= 31, "filter_size", "1 to 31", self.filter_size)
        expect(self.weights <= MAX_WEIGHTS, "conv, fc", f"at most {MAX_WEIGHTS} weights in all", self.weights)
        expect(0 <= self.threshold < 1, "threshold", "a value in [0, 1)", self.threshold)
        expect(self.threshold == 0 or self.levels == 3, "threshold", "0 unless levels is 3", self.threshold)
        self._check_clip()
        self._check_quantizers()
        expect(0 <= self.bn_decay < 1, "bn_decay", "a value in [0, 1)", self.bn_decay)
        expect(self.bn_epsilon > 0, "bn_epsilon", "a positive number", self.bn_epsilon)

    def _check_poolings(self):
        height, width, _ = self.input_shape
        most = int(math.log2(min(height, width)))
        if sum(self.max_pool) > most:
            first = [i for i, pool in enumerate(self.max_pool, 1) if pool][most]
            raise ConfigError(
                f"max_pool: expected at most {most} poolings for images of {height}x{width}, received "
                f"{sum(self.max_pool)}; the pooling after conv_{first} would get {height >> most}x{width >> most}"
            )

    def _check_clip(self):
        if isinstance(self.clip, str):
            expect(self.clip == GLOROT, "clip", f"a positive number or {GLOROT}", self.clip)
            none = "a number in a continuous net, whose kernels are not quantized"
            expect(not self.continuous, "clip", none, self.clip)
            fixed = f"a number with the threshold {self.threshold:g}, which has the units of the weights"
            expect(self.threshold == 0, "clip", fixed, self.clip)
        else:
            expect(self.clip > 0, "clip", f"a positive number or {GLOROT}", self.clip)

    def _check_quantizers(self):
        own = f"{one_of(ESTIMATORS)}, or a registered function such as Custom>my_sign"
        for name in QUANTIZERS:
            value = getattr(self, name)
            expect(value is None or value in ESTIMATORS or ">" in value, name, own, value)
        for name in ("levels", "first_layer", "last_layer", "estimator", *QUANTIZERS):
            value, default = getattr(self, name), getattr(ModelConfig, name)
            wanted = f"{default}, the default, in a continuous net, which has no quantizer"
            expect(value == default or not self.continuous, name, wanted, value)
        for name in (self.estimator, self.kernel_quantizer, self.activation_quantizer):
            levels = ESTIMATORS[name].levels if name in ESTIMATORS else (self.levels,)
            expect(self.levels in levels, "levels", f"{levels[0]} with the estimator {name}", self.levels)
        none = f"none with the estimator {self.estimator}, which sets its own"
        takes = ESTIMATORS[self.estimator].takes_threshold
        expect(takes or self.threshold == 0, "threshold", none, self.threshold)

    @property
    def weights(self):
        """The number of latent weights, those of all kernels together."""
        height, width, features = self.input_shape
        total = 0
        for filters, pool in zip(self.conv, self.max_pool, strict=True):
            total += self.filter_size**2 * features * filters
            height, width, features = height >> pool, width >> pool, filters
        features *= height * width
        for units in (*self.fc, self.classes):
            total += features * units
            features = units
        return total

    @property
    def is_binary_in_effect(self):
        """Whether the network is ternary with a threshold of 0, which hardly any weight meets."""
        own = self.kernel_quantizer or self.activation_quantizer
        takes = ESTIMATORS[self.estimator].takes_threshold
        return self.levels == 3 and takes and self.threshold == 0 and not own

    @property
    def kind(self):
        """The common name: "binary", "ternary" or "continuous"; "quantized" with custom quantizers."""
        if not {self.kernel_quantizer, self.activation_quantizer} <= {None, *ESTIMATORS}:
            return "quantized"
        return "continuous" if self.continuous else {2: "binary", 3: "ternary"}[self.levels]


def settings_for(given, preset=None):
    """The two configs for the settings given by hand: their data set's preset, overridden by them.

    Args:
        given: dict from field name to value, from any mixture of both configs; see `complete`.
        preset: dict, the settings that are not given. None: the data set's entry of `PRESETS`.

    Returns:
        (ModelConfig, TrainConfig)

    Raises:
        ConfigError: there is no such setting, a value is out of range, or the optimizer does not fit the network.
    """
    typed, given = given, complete(given)
    expect_names(given, ModelConfig, TrainConfig)
    data_set = given.get("data_set", TrainConfig.data_set)
    expect(data_set in DATA_SET_CHOICES, "data_set", one_of(DATA_SET_CHOICES), data_set, DATA_SETS)
    preset = PRESETS.get(data_set, {}) if preset is None else preset
    debug = {"epochs": 2} if given.get("debug") else {}
    merged = with_what_follows(preset | debug | given, typed)
    model, training = (
        kind(**{f.name: merged[f.name] for f in dataclasses.fields(kind) if f.name in merged})
        for kind in (ModelConfig, TrainConfig)
    )
    if training.optimizer == "bop":
        _expect_signs(model)
    return model, training


def with_what_follows(settings, typed):
    """Add the settings of the network that follow from others, unless they are given.

    An estimator of three levels only has them without `levels`. A ternary network has the paper's threshold: with a
    threshold of 0, hardly any weight would become 0.

    Args:
        settings: dict, as `complete` returns them, perhaps with those of a preset.
        typed: dict of the settings that were given by hand.

    Returns:
        dict

    Raises:
        ConfigError: the threshold or the poolings are missing, and do not follow; or the clip leaves no weight above
            the threshold.
    """
    _expect_poolings(settings, typed)
    if typed.get("threshold") and "levels" not in settings | typed:
        hint = f"; {option('levels', 3)} makes the network ternary"
        raise ConfigError(f"threshold: expected 0 in a binary network, received {typed['threshold']!r}{hint}")
    if settings.get("continuous"):
        return settings
    estimator = settings.get("estimator", ModelConfig.estimator)
    names = [estimator, *(settings.get(name) or estimator for name in QUANTIZERS)]
    used = [ESTIMATORS[name] for name in names if isinstance(name, str) and name in ESTIMATORS]
    if any(entry.levels == (3,) for entry in used):
        settings = {"levels": 3} | settings
    takes = used and used[0].takes_threshold and any(entry.takes_threshold for entry in used[1:])
    if settings.get("levels") != 3 or not takes or "threshold" in settings:
        return _with_reachable_threshold(settings, names[1])
    if settings.get("clip") == GLOROT:
        own = " or ".join(name for name, entry in ESTIMATORS.items() if entry.levels == (3,))
        wanted = f"{own}, whose thresholds follow the weights, with 3 levels and clip {GLOROT}"
        raise ConfigError(f"estimator: expected {wanted}, received {estimator}")
    return _with_reachable_threshold(settings | {"threshold": TERNARY_THRESHOLD}, names[1])


def _with_reachable_threshold(settings, quantizer):
    """Return the settings; raise a `ConfigError` if clipped kernels, of this quantizer, cannot exceed the threshold.

    Not a check of `ModelConfig`, so that runs of earlier versions still load.
    """
    clip, threshold = (settings.get(name, getattr(ModelConfig, name)) for name in ("clip", "threshold"))
    numbers = all(isinstance(value, int | float) for value in (clip, threshold))
    takes = quantizer in ESTIMATORS and ESTIMATORS[quantizer].takes_threshold
    if numbers and takes and threshold < 1 and 0 < clip <= threshold * (1 + FLOAT32):
        raise ConfigError(
            f"clip: expected more than the threshold, {threshold!r}, up to which weights become 0, received {clip!r}; "
            f"raise {argument('clip')} or lower {argument('threshold')}: every kernel would be 0"
        )
    return settings


def _expect_poolings(settings, typed):
    """Raise a `ConfigError` for poolings that nobody typed and that do not fit the number of convolutions."""
    conv, pool = (settings.get(name, getattr(ModelConfig, name)) for name in ("conv", "max_pool"))
    if not (isinstance(conv, tuple) and isinstance(pool, tuple)) or len(conv) == len(pool):
        return
    if "max_pool" not in typed:
        example = (*[0] * (len(conv) - 1), 1)
        raise ConfigError(
            f"max_pool: expected one entry for each of the {len(conv)} in conv, such as {option('max_pool', example)}, "
            f"received none; the default, {_spelled(pool)}, is for {len(pool)}"
        )
    if "conv" not in typed:
        raise ConfigError(
            f"max_pool: expected one entry for each of the {len(conv)} in conv, by default {_spelled(conv)}, received "
            f"{_spelled(pool)}; {argument('conv')} sets other convolutions"
        )


def expect_names(given, *kinds, error=ConfigError):
    """Raise an error of a class if a setting belongs to none of the configs of these classes."""
    names = {f.name for kind in kinds for f in dataclasses.fields(kind)}
    others = {"network", *(ARGUMENTS if TrainConfig in kinds else ())}
    for name, value in given.items():
        if name not in names:
            hint = did_you_mean(name, names | others)
            hint = "; bnn.training.resume(run_dir) continues a run" if name == "resume" else hint
            raise error(f"{name}: expected no setting of this name, received {value!r}{hint}")


def _expect_signs(model):
    """Raise a `ConfigError` if a network cannot do without latent weights."""
    expect(
        model.kind == "binary", "optimizer", f"adam, because the network is {model.kind}, not binary", "bop"
    )
    expect(
        model.kernel_quantizer is None,
        "kernel_quantizer",
        "none with the optimizer bop",
        model.kernel_quantizer,
    )
    clip = f"{ModelConfig.clip}, the default, with the optimizer bop, whose kernels are signs"
    expect(model.clip == ModelConfig.clip, "clip", clip, model.clip)


def complete(given, *kinds):
    """Convert settings for the configs.

    Lists and arrays become tuples, NumPy's numbers Python's. An empty `conv` has no poolings unless they are given. The
    name `network` becomes the settings of its entry of `NETWORKS`, as far as they are not given.

    Args:
        given: dict from field name to value.
        *kinds: the classes of configs whose fields `network` stands for. None: both.

    Returns:
        dict

    Raises:
        ConfigError: there is no such network.
    """
    kinds = kinds or (ModelConfig, TrainConfig)
    given = {name: _plain(value) for name, value in given.items()}
    given = given if given.get("conv", True) else {"max_pool": ()} | given
    if "network" not in given:
        return given
    name = given.pop("network")
    expect(name in [*NETWORKS], "network", one_of(NETWORKS), name, NETWORKS)
    named = {f.name for kind in kinds for f in dataclasses.fields(kind)}
    named -= {"epochs"} if given.get("debug") else set()  # a smoke test stays short
    return {setting: value for setting, value in NETWORKS[name].items() if setting in named} | given


def _spelled(values):
    return " ".join(map(str, values)) or "none"


def _plain(value):
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def to_json(config):
    """A config as a dict that JSON can hold."""
    return dataclasses.asdict(config)


def from_json(kind, values):
    """The config of class `kind` from the dict that `to_json` made.

    Raises:
        ConfigError: unknown or missing keys, wrong types, or values out of range.
    """
    expect(isinstance(values, dict), kind.__name__, "an object", values)
    names = [f.name for f in dataclasses.fields(kind)]
    for name, value in values.items():
        expect(name in names, name, f"no such key in {kind.__name__}", value)
    for name in names:
        expect(name in values or name in LATER, name, f"a value in {kind.__name__}", sorted(values))
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
