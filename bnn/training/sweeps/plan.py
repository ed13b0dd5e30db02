"""The points of a sweep: every combination of the values of its settings, with the name of its run directory."""

import functools
import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path

from bnn import console
from bnn.console.errors import ConfigError, expect
from bnn.console.spelling import argument, words
from bnn.console.suggestions import did_you_mean
from bnn.networks.base import Inputs
from bnn.networks.quantization import Quantization
from bnn.networks.table import DEFAULT, NETWORKS
from bnn.settings.config import Config, TrainConfig, names, plain
from bnn.training.data import resolved

# Settings that only some values of others allow: a point that cannot have one is trained without it.
CONDITIONAL = ("threshold", "bop_gamma", "bop_threshold", "label_smoothing", "weight_decay")
MOST_LETTERS = 150  # of the name of a point


@dataclass(frozen=True)
class Point:
    """One training of a sweep.

    Attributes:
        name: str, its run directory within the folder of the sweep, such as "levels3-threshold0.02/seed0".
        settings: dict from each varied setting that the point has to its value; "variant" is the name of its variant.
        config: Config, all settings.
    """

    name: str
    settings: dict
    config: Config

    @property
    def label(self):
        """The varied settings but the seed, a str; "" if there are none."""
        shown = {name: value for name, value in self.settings.items() if name != "seed"}
        return ", ".join(
            str(value) if name == "variant" else f"{name} {words(value)}" for name, value in shown.items()
        )


def axes(settings):
    """Return the settings with several values, a dict from name to the list of different values.

    A list is several values. Of a setting that is a list itself, such as `conv`, a list of lists is.

    Raises:
        ConfigError: there is no such setting, or a list without values.
    """
    many = {}
    for name, value in plain(settings).items():
        expect_known(name, value)
        if not isinstance(value, tuple) or (name in _lists() and not _holds_lists(value)):
            continue
        expect(len(value) > 0, argument(name), "at least one value", list(value))
        if len(different := list(dict.fromkeys(value))) > 1:
            many[name] = different
    return many


def single(settings):
    """Return the settings with one value, a dict from name to value; [x] is x."""
    many, found = axes(settings), {}
    for name, value in plain(settings).items():
        if name not in many:
            several = isinstance(value, tuple) and (name not in _lists() or _holds_lists(value))
            found[name] = value[0] if several else value
    return found


def points(settings, variants=None, data_dir=None):
    """Return the points of a sweep: every variant with every combination of the values of the settings.

    A setting that some points cannot have, such as `threshold` with two levels, is left out there; points that are then
    equal are one.

    Args:
        settings: dict from setting to value or values, see `axes`.
        variants: dict from the name of a variant to a dict of its settings, or None.
        data_dir: Path of the data sets, or None.

    Returns:
        List of Point, in the order of the values; the seeds vary fastest.

    Raises:
        ConfigError: there is no such setting, a value is out of range, or a setting has no value.
        DataError: the user's data, whose shape chooses the network, cannot be read.
    """
    many, common = axes(settings), single(settings)
    order = sorted(many, key=lambda name: name == "seed")
    chosen = [
        dict(zip(order, values, strict=True)) for values in itertools.product(*(many[name] for name in order))
    ]
    variants = _checked(variants, many)
    resolver = _Resolver(data_dir, many)
    found = {}
    for variant, changes in variants.items():
        for values in chosen:
            given, config = resolver.fit(common | changes | values)
            varied = {"variant": variant} if variant is not None else {}
            varied |= {name: values[name] for name in order if name in given}
            key = json.dumps([variant, config.to_json()])
            if key not in found or len(varied) < len(found[key][0]):
                found[key] = (varied, config)
    resolver.expect_used()
    return _named([*found.values()])


def expect_known(name, value=None):
    """Raise `ConfigError` unless there is a setting of this name."""
    if name not in _known():
        hint = did_you_mean(name, {*_known(), *ARGUMENTS})
        raise ConfigError(f"{name}: expected no setting of this name, received {value!r}{hint}")


# What a sweep has besides settings.
ARGUMENTS = ("sweep_dir", "cluster", "jobs", "gpus", "data_dir", "use", "variants", "slurm")


@functools.cache
def _architectures():
    return {found.architecture for found in NETWORKS.values()}


def _fields():
    for kind in (Quantization, Inputs, TrainConfig, *_architectures()):
        yield from kind.__dataclass_fields__.values()


def _known():
    return {"network", *(f.name for f in _fields())}


def _lists():
    return {f.name for f in _fields() if isinstance(f.default, tuple)}


def _holds_lists(value):
    return bool(value) and all(isinstance(one, tuple) for one in value)


def _checked(variants, many):
    """Return the variants with one value for each setting; {None: {}} if there are none."""
    if variants is None:
        return {None: {}}
    expect(isinstance(variants, dict), "variants", "a table of names with settings", variants)
    expect(variants, "variants", "at least one", variants)
    checked = {}
    for name, changes in variants.items():
        expect(isinstance(changes, dict), f"variants.{name}", "a table of settings", changes)
        expect(name.strip(), "variants", "names with letters or digits", name)
        several = [*axes(changes), *(key for key in changes if key in many)]
        if several:
            raise ConfigError(
                f"variants.{name}: expected one value of {several[0]}, received several; vary it for all variants, or "
                "give each value a variant"
            )
        checked[name] = single(changes)
    return checked


class _Resolver:
    """Makes the Config of each point, without the settings that it cannot have."""

    def __init__(self, data_dir, many):
        self.data_dir, self.many = data_dir, many
        self.data = {}  # of the user, read once
        self.left_out = {}  # (setting, value) -> error
        self.used = set()

    def fit(self, settings):
        """Return (the settings that a point has, its Config)."""
        conditional = [name for name in settings if name in CONDITIONAL]
        if "network" in self.many:
            own = names(NETWORKS.get(settings["network"], NETWORKS[DEFAULT]).architecture)
            others = {name for kind in _architectures() for name in names(kind)} - {*own}
            conditional += [name for name in settings if name in others]
        error = None
        for count in range(len(conditional) + 1):
            for without in itertools.combinations(conditional, count):
                given = {name: value for name, value in settings.items() if name not in without}
                try:
                    config = self._resolve(given)
                except ConfigError as failed:
                    error = error or failed
                    continue
                self.used |= {(name, str(value)) for name, value in given.items()}
                for name in without:
                    self.left_out.setdefault((name, str(settings[name])), error)
                return given, config
        raise error

    def expect_used(self):
        """Raise the error of the first value that no point could have."""
        for key, error in self.left_out.items():
            if key not in self.used:
                raise error

    def _resolve(self, given):
        source = json.dumps([given.get(name) for name in ("data_set", "image_size", "image_range")])
        if source in self.data:
            given = given | {"data_set": self.data[source]}
        with console.shown(False):
            config, data = resolved(given, self.data_dir)
        if data is not None:
            self.data[source] = data
        return config


def _named(found):
    """Return a Point for each (varied settings, Config), with names that differ."""
    meanings = {}  # of each folder: the settings, without the seed, that it would stand for
    for varied, _ in found:
        meanings.setdefault(_folder(varied), set()).add(_without_seed(varied))
    made = []
    for varied, config in found:
        folder = _folder(varied)
        if len(meanings[folder]) > 1 or len(folder) > MOST_LETTERS:
            digest = hashlib.sha256(_without_seed(varied).encode()).hexdigest()
            folder = f"{folder[:MOST_LETTERS]}-{digest[:8]}"
        made.append(Point(f"{folder}/seed{config.training.seed}".removeprefix("/"), varied, config))
    return made


def _without_seed(varied):
    return json.dumps({name: value for name, value in varied.items() if name != "seed"}, default=str)


def _folder(varied):
    return "-".join(_word(name, value) for name, value in varied.items() if name != "seed")


def _word(name, value):
    """A setting in the name of a folder: "levels3", "conv16-32", "bn_scale", "no-bn_scale", "optimizer-bop"."""
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    if isinstance(value, int | float):
        return f"{name}{value}"
    if isinstance(value, tuple):
        return f"{name}{'-'.join(map(str, value)) or '-none'}"
    if name == "data_set":
        value = Path(value).name.removesuffix(".npz")
    text = (
        re.sub(r"[^\w.+]+", "-", str(value).rpartition(">")[2]).strip("-.").replace("None", "none") or "none"
    )
    return text if name == "variant" else f"{name}-{text}"
