"""The data set of a training, and the Config that follows from it.

User data are arrays, a file or a folder. The shape of their images chooses the preset.
"""

import dataclasses
import os

import numpy as np

from bnn import console, datasets
from bnn.console.arguments import expanded
from bnn.console.spelling import argument
from bnn.datasets import DataSet
from bnn.datasets.catalog import ARRAYS, USER_READERS, is_own
from bnn.geometry.estimators import as_setting
from bnn.networks.quantization import QUANTIZERS
from bnn.settings import presets
from bnn.settings.config import ConfigError, TrainConfig, plain, resolve

CUT = {"train": 500, "validation": 100}  # images that --debug leaves


def of_call(data, settings):
    """Settings whose `data_set` is made of the arrays in the argument `data` of `training.train`."""
    if data is None:
        return settings
    if "data_set" in settings:
        raise ConfigError("data: expected data or data_set, received both")
    return settings | {"data_set": of_arrays(data, _checked(settings | {"data_set": ARRAYS}))}


def of_arrays(data, config, stratified=True):
    """The DataSet of the argument `data` of `training.train`, for a TrainConfig."""
    options = {"seed": config.seed, "image_range": config.image_range, "stratified": stratified}
    if isinstance(data, dict):
        return datasets.from_arrays(**data, **options)
    if not isinstance(data, list | tuple) or len(data) not in (4, 6):
        raise ConfigError(
            "data: expected (x_train, y_train, x_test, y_test), perhaps with x_val, y_val, or a dict of "
            f"these, received {type(data).__name__}"
        )
    return datasets.from_arrays(*data, **options)


def name_of(data_set):
    """The name of a setting `data_set`: that of a DataSet, the full path of a file or folder, or as it is.

    Raises:
        ConfigError: it is none of these, such as arrays.
    """
    if isinstance(data_set, DataSet):
        return data_set.name
    if not isinstance(data_set, str | os.PathLike):
        raise ConfigError(
            f"data_set: expected a name, a path or a DataSet, received a {type(data_set).__name__}; "
            "arrays are the argument data"
        )
    if isinstance(data_set, os.PathLike) or (is_own(data_set) and data_set not in (ARRAYS, *USER_READERS)):
        return str(expanded(data_set).absolute())
    return data_set


def resolved(settings, data_dir=None):
    """Return the Config for the arguments of `train`, and the DataSet if one was given or had to be read for it.

    Prints the settings that the shape of user data chose. Raises `UserError` as `training.train` does.
    """
    given, data_set = split(settings)
    config, data_set = _resolved(given, data_set, data_dir)
    if is_own(config.training.data_set):
        console.say(presets.text(config))
    return config, data_set


def _resolved(given, data_set=None, data_dir=None):
    """Return the Config for settings, and the user data that were read for it: their shape chooses the preset.

    Args:
        given: dict from setting to value, as typed; `data_set` is a name or a path.
        data_set: DataSet to take; None: the one that `given` names.
        data_dir: str, Path or None, as for `training.train`.

    Returns:
        (Config, DataSet): the second is None for a named data set, which is not read yet.

    Raises:
        UserError: as `training.train` does.
    """
    if not is_own(given.get("data_set", "")):
        return resolve(given), data_set
    if data_set is None:
        checked = _checked(given)
        data_set = datasets.load(
            checked.data_set, data_dir, **checked.data_options, progress=console.progress
        )
    shape, classes = data_set.train.images.shape[1:], len(data_set.class_names)
    return resolve(given, presets.for_images(shape, classes, len(data_set.train))), data_set


def _checked(given):
    """A TrainConfig of the settings that concern user data, so that a wrong one is named before they are read."""
    concerned = ("data_set", "seed", "image_size", "image_range")
    return TrainConfig(**{name: value for name, value in plain(given).items() if name in concerned})


def split(settings):
    """Settings with names for data set and quantizers, and the DataSet that stood there or None.

    Raises:
        ConfigError: the data set is no name, path or DataSet.
    """
    settings = settings | {name: as_setting(settings[name]) for name in QUANTIZERS if name in settings}
    data_set = settings.get("data_set")
    if data_set is not None:
        settings = settings | {"data_set": name_of(data_set)}
    return settings, data_set if isinstance(data_set, DataSet) else None


def load_data(config, data_set=None, data_dir=None, options=None):
    """The data set of a TrainConfig, cut down for --debug.

    Args:
        config: TrainConfig.
        data_set: DataSet to take; None: the one that `config` names.
        data_dir: str, Path or None, as for `train`.
        options: dict of the options of `datasets.load`, see `Config.data_options`; None: those of the TrainConfig.

    Raises:
        DataError: it is not there.
        ConfigError: a batch has one image, or an epoch more than the data set has to train on.
    """
    options = config.data_options if options is None else options
    if config.batch_size < 2 and "context" not in options:
        raise ConfigError(
            f"{argument('batch_size')}: expected at least 2 images, for batch norm, received {config.batch_size}"
        )
    data_set = data_set or datasets.load(config.data_set, data_dir, **options)
    if config.debug:
        # Own data may be sorted by class, and sequences of a text overlap. Earlier versions took the first images.
        spread = (is_own(data_set.name) and data_set.stratified) or data_set.train.unit == "sequence"
        cut = {name: _cut(getattr(data_set, name), count, spread) for name, count in CUT.items()}
        data_set = dataclasses.replace(data_set, **cut)
    count, unit = len(data_set.train), data_set.train.unit
    if config.batch_size > count:
        most = f"at most the {count} training {unit}s"
        raise ConfigError(f"{argument('batch_size')}: expected {most}, received {config.batch_size}")
    if config.steps(count) * config.batch_size > count:
        most = f"at most {count // config.batch_size}, the batches of {config.batch_size} in {count:,} training {unit}s"
        raise ConfigError(f"{argument('steps_per_epoch')}: expected {most}, received {config.steps(count)}")
    return data_set


def _cut(part, count, spread):
    """The first images of a Split, or as many in equal distances."""
    return part[np.arange(count) * len(part) // count] if spread and count < len(part) else part[:count]
