"""Own data as a setting: arrays, a file or a folder, with a preset for the shape of its images."""

import os

from bnn import datasets
from bnn.console import progress
from bnn.datasets import DataSet
from bnn.datasets.catalog import ARRAYS, USER_READERS, is_own
from bnn.files.paths import expanded
from bnn.settings import presets
from bnn.settings.config import ConfigError, TrainConfig, plain, resolve


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


def resolved(given, data_set=None, data_dir=None):
    """Return the Config for settings, and the user data that were read for it: their shape chooses the preset.

    Args:
        given: dict from setting to value, those given by hand; `data_set` is a name or a path.
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
        data_set = datasets.load(checked.data_set, data_dir, **checked.data_options, progress=progress)
    shape, classes = data_set.train.images.shape[1:], len(data_set.class_names)
    return resolve(given, presets.for_images(shape, classes, len(data_set.train))), data_set


def _checked(given):
    """A TrainConfig of the settings that concern user data, so that a wrong one is named before they are read."""
    concerned = ("data_set", "seed", "image_size", "image_range")
    return TrainConfig(**{name: value for name, value in plain(given).items() if name in concerned})
