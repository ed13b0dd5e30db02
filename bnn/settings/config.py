"""What a run is made of: one Config, from settings by name or from JSON; and the flat form of earlier versions."""

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace

from bnn.console.errors import ConfigError, expect, one_of
from bnn.console.suggestions import did_you_mean
from bnn.datasets.catalog import is_own
from bnn.networks.base import Inputs, Network
from bnn.networks.quantization import QUANTIZERS, Quantization, spelled_out
from bnn.networks.table import DEFAULT, NETWORKS, entry
from bnn.networks.vgg import VGG
from bnn.settings.presets import BATCH, DATA_SET_CHOICES, PRESETS, for_images
from bnn.settings.training import TrainConfig

# The other arguments of `training.train`.
ARGUMENTS = ("run_dir", "data", "overwrite", "init_from", "data_dir", "tensorboard", "callbacks", "verbose")
# Settings that runs of earlier versions lack; they get the default.
LATER = {
    "image_size", "image_range", "log_geometry", "first_layer", "last_layer", "clip", "schedule", "warmup", "augment",
    "optimizer", "bop_gamma", "bop_threshold", "label_smoothing", "estimator", "bn_epsilon", "bn_scale",
    "clip_gradients", "plain", "real_state", "steps_per_epoch", "weight_decay", *QUANTIZERS,
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """What a run is made of.

    Attributes:
        network: Network, the sizes of the architecture.
        quantization: Quantization.
        inputs: Inputs.
        training: TrainConfig.

    Raises:
        ConfigError: the parts do not fit each other.
    """

    network: Network
    quantization: Quantization
    inputs: Inputs
    training: TrainConfig

    def __post_init__(self):
        self._check_kind()
        self.network.check_quantization(self.quantization)
        self.network.check(self.inputs)
        if self.training.optimizer == "bop":
            self.quantization.expect_signs()

    def _check_kind(self):
        """Raise `ConfigError` unless network and data are both of images or both of text."""
        name, text = self.network.name, self.inputs.are_tokens
        others = [other for other, found in NETWORKS.items() if found.architecture.takes_tokens == text]
        what = f"the {'text' if text else 'images'} of {self.training.data_set}"
        expect(self.network.takes_tokens == text, "network", f"{one_of(others)} for {what}", name)
        for setting, wanted in {"augment": "none", "optimizer": "adam"}.items() if text else ():
            received = getattr(self.training, setting)
            expect(received == wanted, setting, f"{wanted} for {what}", received)

    @property
    def data_options(self):
        """The options of `datasets.load` for the data set, a dict."""
        if self.inputs.are_tokens:
            return {"context": self.inputs.input_shape[0]}
        return self.training.data_options

    @property
    def parts(self):
        """The four parts by name, a dict."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def flat(self):
        """Return every setting by its name, a dict; `network` is the name of the architecture."""
        settings = {"network": self.network.name}
        for part in self.parts.values():
            settings |= vars(part)
        return settings

    def to_json(self):
        """Return a dict from the name of each part to its settings, as JSON can hold them; the network has a "name"."""
        parts = {name: to_json(part) for name, part in self.parts.items()}
        return parts | {"network": {"name": self.network.name} | parts["network"]}

    def preset(self):
        """Return the Config that the same architecture has on the same data if no setting is given."""
        data_set, inputs = self.training.data_set, self.inputs
        own = for_images(inputs.input_shape, inputs.classes, BATCH) if is_own(data_set) else None
        return resolve({"data_set": data_set, "network": self.network.name}, own)

    def replace(self, **settings):
        """Return a Config with other values of some settings, which nothing else follows; errors as for `resolve`."""
        settings, kinds = plain(settings), [type(part) for part in self.parts.values()]
        expect_names(settings, kinds)
        changed = [
            dataclasses.replace(
                part, **{name: settings[name] for name in names(type(part)) if name in settings}
            )
            for part in self.parts.values()
        ]
        return Config(*changed)

    def build(self, precision="float32"):
        """Build the network, a keras.Model; see `bnn.networks.build`."""
        from bnn.networks.building import build

        return build(self.network, self.quantization, self.inputs, precision)


def resolve(given, preset=None, error=ConfigError):
    """Make the Config for settings given as flags or keywords.

    In this order, each overriding what comes before it: the defaults; the preset of the data set; the settings of the
    named network; two epochs for `debug`; what is given.

    Args:
        given: dict from setting to value. `network` is a name of `bnn.networks.NETWORKS`, or a Network.
        preset: dict, the settings of the data set. None: its entry of `bnn.settings.presets.PRESETS`. It may name the
            network for the data set, which is taken unless one is given.
        error: class of the error for a setting that does not exist.

    Returns:
        Config

    Raises:
        ConfigError: there is no such setting, a value is out of range, or the parts do not fit each other.
    """
    given = spelled_out(plain(given))
    data_set = given.get("data_set", _usual_data(given))
    expect(data_set in DATA_SET_CHOICES, "data_set", one_of(DATA_SET_CHOICES), data_set, PRESETS)
    preset = PRESETS.get(data_set, {}) if preset is None else preset
    kind, named = network_of({"network": preset.get("network", DEFAULT)} | given)
    kinds = (kind, Quantization, Inputs, TrainConfig)
    expect_names(given, kinds, error)
    debug = {"epochs": 2, "warmup": 0, "steps_per_epoch": None} if given.get("debug") else {}
    merged = preset | named | debug | given | {"data_set": data_set}
    for one in (kind, Quantization):
        merged |= one.implied(merged, given)
    return Config(*(one(**{name: merged[name] for name in names(one) if name in merged}) for one in kinds))


def _usual_data(given):
    """The data set of a training for which none is given: that of its network."""
    network = given.get("network", DEFAULT)
    kind = type(network) if isinstance(network, Network) else entry(network).architecture
    return kind.usual_data


def network_of(given):
    """Return (class of the network, dict of the settings that it brings) for the settings that the user typed.

    A Network brings all of its own. A named one brings those of its publication, but for a smoke test not the epochs.
    """
    network = given.get("network", DEFAULT)
    if isinstance(network, Network):
        return type(network), vars(network)
    kind, named, _ = entry(network)
    return kind, {
        name: value for name, value in named.items() if not (name == "epochs" and given.get("debug"))
    }


def names(kind):
    """Return the names of the settings of a class, a list of str."""
    return [f.name for f in dataclasses.fields(kind)]


def expect_names(given, kinds, error=ConfigError):
    """Raise an error of a class if a setting, other than `network`, belongs to none of the classes of settings."""
    known = {name for kind in kinds for name in names(kind)}
    for name, value in given.items():
        if name not in known and name != "network":
            raise error(
                f"{name}: expected no setting of this name, received {value!r}{_hint(name, known, kinds)}"
            )


def _hint(name, known, kinds):
    if name == "resume":
        return "; bnn.resume(run_dir) continues a run"
    if others := [other for other, found in NETWORKS.items() if name in names(found.architecture)]:
        return f"; it belongs to the network {others[0]}"
    return did_you_mean(name, known | {"network", *(ARGUMENTS if TrainConfig in kinds else ())})


def plain(given):
    """Return settings with tuples for lists and arrays, and Python's numbers for NumPy's."""
    return {name: _plain(value) for name, value in given.items()}


def _plain(value):
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def to_json(part):
    """Return a part of a Config as a dict that JSON can hold."""
    return dataclasses.asdict(part)


def config_from_json(parts):
    """Return the Config of a dict with the parts that `Config.to_json` made.

    Raises:
        ConfigError: unknown or missing keys, wrong types, values out of range, or an unknown network.
    """
    network = parts["network"]
    expect(isinstance(network, dict), "network", "an object", network)
    kinds = {"quantization": Quantization, "inputs": Inputs, "training": TrainConfig}
    sizes = {key: value for key, value in network.items() if key != "name"}
    return Config(
        from_json(entry(network.get("name")).architecture, sizes),
        *(from_json(kind, parts[name]) for name, kind in kinds.items()),
    )


def from_json(kind, values):
    """Return the part of a Config of class `kind` from the dict that `to_json` made.

    Raises:
        ConfigError: unknown or missing keys, wrong types, or values out of range.
    """
    expect(isinstance(values, dict), kind.__name__, "an object", values)
    known = names(kind)
    for name, value in values.items():
        expect(name in known, name, f"no such key in {kind.__name__}", value)
    for name in known:
        expect(name in values or name in LATER, name, f"a value in {kind.__name__}", sorted(values))
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class ModelConfig(Quantization, VGG, Inputs):
    """The settings of the network `vgg` in one flat object, the form of earlier versions; see `Config`.

    Raises:
        ConfigError: as for `resolve`.
    """

    def __post_init__(self):
        Quantization.__post_init__(self)
        VGG(**self._of(VGG)).check(Inputs(**self._of(Inputs)))

    def _of(self, kind):
        return {name: getattr(self, name) for name in names(kind)}

    @property
    def weights(self):
        """The number of latent weights."""
        return VGG.weights(self, self)

    def with_training(self, training):
        """Return a Config of these settings and a TrainConfig."""
        parts = (kind(**self._of(kind)) for kind in (VGG, Quantization, Inputs))
        return Config(*parts, training)

    def build(self, precision="float32"):
        """Build the network, a keras.Model; see `bnn.networks.build`."""
        return self.with_training(TrainConfig()).build(precision)


def flat_model(config):
    """Return the settings of a Config without those of its training in one object, the form of earlier versions."""
    settings = {name: value for name, value in config.flat().items() if name not in names(TrainConfig)}
    if type(config.network) is VGG:
        del settings["network"]
        return ModelConfig(**settings)
    return SimpleNamespace(**settings, kind=config.quantization.kind)


def settings_for(given, preset=None):
    """Return (ModelConfig, TrainConfig) for settings, the form of earlier versions; see `resolve`."""
    config = resolve(given, preset)
    return flat_model(config), config.training
