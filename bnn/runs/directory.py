"""A run directory: everything about one training, written so that a kill at any moment loses nothing.

config.json     model, training, data set and digest, command, versions, commit
log.csv         a row an epoch
geometry.csv    with --log_geometry: angle, r, zeros and flips of every layer
last.keras      the network with its optimizer, for --resume
best.keras      the network with the best validation accuracy, for everything else
partial-N.npz   what an epoch that was interrupted at step N had gathered
metrics.json    what analyze.py found
.lock           which process writes here; see bnn.files.lock
"""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from bnn.config import ConfigError, ModelConfig, TrainConfig, expect, from_json, to_json
from bnn.datasets.catalog import ENTRIES
from bnn.errors import UserError
from bnn.files import atomic, lock
from bnn.files.records import write_csv, write_json
from bnn.runs import provenance
from bnn.runs.log import LOG_COLUMNS, log_rows

CLASSES = 10  # of every data set
DATA_KEYS = ("name", "digest", "official")
CONFIG_KEYS = {"model", "training", "data", "settings_sha256", "command", "versions", "git_commit"}


class RunError(UserError, RuntimeError):
    """A run directory that is missing, unfinished or foreign; the message is one line for the user."""


@dataclass(frozen=True)
class Run:
    """A run directory and what its config.json says.

    Attributes:
        folder: Path.
        model: ModelConfig.
        training: TrainConfig.
        data: dict with the data set's "name", "digest" and "official".
    """

    folder: Path
    model: ModelConfig
    training: TrainConfig
    data: dict

    def checkpoint(self, name):
        """Path of the checkpoint "last" or "best"."""
        return self.folder / f"{name}.keras"

    def save_model(self, model, name):
        """Replace a checkpoint; raises as `atomic.replacing` does."""
        with atomic.replacing(self.checkpoint(name)) as temporary:
            model.save(temporary)

    def load_model(self, name="best", compiled=False):
        """The network of a checkpoint.

        Raises:
            RunError: there is no such checkpoint, it cannot be read, or it is not of the network in config.json.
            ConfigError: a quantizer of the run is not registered with Keras.
        """
        from bnn.models import loading
        from bnn.models.networks import quantizer_makers

        path = self.checkpoint(name)
        if not path.is_file():
            raise RunError(f"{self.folder}: expected a checkpoint {path.name}, received a run that has none yet; "
                           f"go on with python train.py --resume {self.folder}")  # fmt: skip
        quantizer_makers(self.model)  # Keras does not say by which name a missing function is registered.
        try:
            model = loading.load_model(path, compiled)
        except loading.ModelFileError as error:
            raise RunError(str(error)) from None
        self._expect_network(model, path)
        if compiled and not model.compiled:
            raise RunError(f"{path}: expected a network with its optimizer, received one without")
        return model

    def _expect_network(self, model, path):
        from bnn.models import build_model

        expected, received = (
            {
                layer.name: (_kind(layer), layer.get_config(), [w.shape for w in layer.weights])
                for layer in m.layers
            }
            for m in (build_model(self.model, self.training.precision), model)
        )
        for name in [*expected, *received]:
            if expected.get(name) != received.get(name):
                raise RunError(f"{path}: expected the {self.model.kind} network that config.json describes, "
                               f"received another one (first difference: layer {name})")  # fmt: skip

    def copy_weights(self, model):
        """Start another network of the same shape from this run's best weights.

        Raises:
            RunError: the networks differ.
        """
        weights = self.load_model().get_weights()
        received, expected = ([w.shape for w in ws] for ws in (weights, model.get_weights()))
        if received != expected:
            raise RunError(
                f"{self.folder}: expected weights of the network to be trained, received another network's"
            )
        model.set_weights(weights)

    def expect_data(self, data_set):
        """Raise `RunError` unless a DataSet is the one of this training, and fits the network."""
        if not data_set.is_known_as(self.data["digest"]):
            raise RunError(
                f"{self.folder}: expected data of SHA-256 {self.data['digest']}, received {data_set.digest}"
            )
        self.expect_fit(data_set)

    def origin(self, data_set):
        """In words, which data the network was trained on, and whether a DataSet that it meets now is the same."""
        digest = self.data["digest"]
        if data_set.is_known_as(digest):
            return f"trained on {data_set.label}"
        what = ENTRIES[data_set.name].variants.get(digest) if data_set.name in ENTRIES else None
        known = f"{data_set.name} ({what})" if what else data_set.name
        return f"trained on {known} of SHA-256 {digest[:8]}, not on this {data_set.label}"

    def expect_fit(self, data_set):
        """Raise `RunError` unless the network takes a DataSet's images and has its classes."""
        shape = data_set.train.images.shape[1:]
        if (shape, CLASSES) != (self.model.input_shape, self.model.classes):
            raise RunError(f"{self.folder}: expected a network from images of {shape} to {CLASSES} classes, "
                           f"received one from {self.model.input_shape} to {self.model.classes}")  # fmt: skip

    def log(self):
        """The rows of log.csv, a list of dicts from column to float (the epoch an int)."""
        path = self.folder / "log.csv"
        if not path.is_file():
            return []
        try:
            with path.open(newline="") as file:
                reader = csv.DictReader(file)
                return log_rows(list(reader), tuple(reader.fieldnames or ()))
        except (ValueError, csv.Error) as error:
            raise RunError(
                f"{path}: expected numbers in the columns {', '.join(LOG_COLUMNS)}, received {error}"
            ) from None

    def best_epoch(self):
        """The first row of `log()` with the best validation accuracy, a dict; a `RunError` if there is no row."""
        rows = self.log()
        if not rows:
            raise RunError(f"{self.folder}: expected log.csv with a row an epoch, received none")
        return max(rows, key=lambda row: row["val_accuracy"])

    def write_log(self, rows):
        """Replace log.csv."""
        write_csv(self.folder / "log.csv", LOG_COLUMNS, rows)


def create(folder, model_config, train_config, data_set, command, overwrite=False, initial=None):
    """Make a run directory and its config.json.

    Args:
        folder: Path that must not hold a run yet.
        model_config: ModelConfig.
        train_config: TrainConfig.
        data_set: DataSet.
        command: list of str, the command line.
        overwrite: replace a run that is there.
        initial: keras.Model to begin from, which becomes the checkpoint "last"; None: the one that the seed gives.

    Returns:
        Run

    Raises:
        RunError: the folder holds a run or anything else.
        LockError: another process writes into it, or nobody can.
    """
    folder = Path(folder)
    expect_free(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    lock.hold(folder)
    expect_free(folder, overwrite)  # still, now that nobody else can begin a run there
    _clear(folder)
    run = Run(folder, model_config, train_config, {name: getattr(data_set, name) for name in DATA_KEYS})
    if initial is not None:
        run.save_model(initial, "last")
    write_json(folder / "config.json", {
        "model": to_json(model_config), "training": to_json(train_config), "data": run.data,
        "settings_sha256": provenance.settings_sha256(to_json(model_config), to_json(train_config)),
        "command": command, "versions": provenance.versions(), "git_commit": provenance.git_commit(),
    })  # fmt: skip
    return run


def expect_free(folder, overwrite=False):
    """Raise `RunError` unless a new run may begin in a folder: one that is not there, is empty, or, to be
    overwritten, holds a run.
    """  # noqa: D205
    if not folder.exists() or (folder.is_dir() and _is_unused(folder)):
        return
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder}: expected a new or empty run directory, received one with other files")
    if not overwrite:
        raise RunError(f"{folder}: expected a new run directory, received one that holds a run; "
                       f"go on with --resume {folder}, or give --overwrite or another --run_dir")  # fmt: skip
    open_run(folder)  # What is lost is a run, and no other program's folder with a config.json.


def _is_unused(folder):
    names = {path.name for path in folder.iterdir()}
    # What a kill leaves of a run that `create` had not finished counts for nothing.
    return not names or (
        lock.NAME in names and names <= {lock.NAME, "last.keras", ".last.keras", ".config.json"}
    )


def _clear(folder):
    """Empty a locked folder; config.json goes last, so that a kill leaves a run or nothing, but no foreign files."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "config.json"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != lock.NAME:
            path.unlink()


def reopen(folder):
    """The run in a directory, for this process to go on with; raises as `open_run` and `lock.hold` do."""
    open_run(folder)  # before a lock file is put where no run is
    lock.hold(Path(folder))
    return open_run(folder)  # as it is now that nobody else changes it


def open_run(folder):
    """The run in a directory.

    Raises:
        RunError: there is none, or its config.json is damaged or foreign.
    """
    folder = Path(folder)
    path = folder / "config.json"
    if not path.is_file():
        found = "a folder without one" if folder.is_dir() else "no such folder"
        raise RunError(f"{folder}: expected a run directory with config.json, received {found}")
    try:
        config = json.loads(path.read_text())
        model, training = from_json(ModelConfig, config["model"]), from_json(TrainConfig, config["training"])
        _expect_config(config, training)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = str(error) if isinstance(error, ConfigError) else "a damaged or foreign file"
        raise RunError(f"{path}: expected the config of a run, received {what}") from None
    return Run(folder, model, training, config["data"])


def _kind(layer):
    """The layer's class, but for pooling, which was Keras's own in earlier runs."""
    import keras

    return keras.layers.MaxPooling2D if isinstance(layer, keras.layers.MaxPooling2D) else type(layer)


def _expect_config(config, training):
    """Raise a `ConfigError` for anything around the settings, or a change to them after they were written."""
    for key, value in config.items():
        expect(key in CONFIG_KEYS, key, "no such key in config.json", value)
    data = config["data"]
    expect(set(data) == set(DATA_KEYS), "data", f"an object with {', '.join(DATA_KEYS)}", data)
    expect(data["name"] == training.data_set, "data.name", repr(training.data_set), data["name"])
    expect(isinstance(data["digest"], str), "data.digest", "a SHA-256", data["digest"])
    expect(isinstance(data["official"], bool), "data.official", "true or false", data["official"])
    expect(
        training.precision != "auto", "precision", "what auto meant when the run began", training.precision
    )
    digest = provenance.settings_sha256(config["model"], config["training"])
    # Earlier runs have none.
    expect(config.get("settings_sha256", digest) == digest, "settings_sha256",
           f"{digest}, of model and training as they stand there", config.get("settings_sha256"))  # fmt: skip


def default_name(model, training):
    """A readable name: mnist-5k-binary-conv32-32-64-64-fc256-30epochs-seed0."""
    sizes = [
        f"{name}{'-'.join(map(str, values))}"
        for name, values in (("conv", model.conv), ("fc", model.fc))
        if values
    ]
    kind = model.kind if model.estimator == "ste" else model.estimator
    kind += str(model.threshold) if kind == "ternary" else ""
    quantizers = {"kernel": model.kernel_quantizer, "activation": model.activation_quantizer}
    own = [f"{place}-{name.rpartition('>')[2]}" for place, name in quantizers.items() if name]
    parts = [training.data_set, kind, *own, *sizes, f"{training.epochs}epochs", f"seed{training.seed}"]
    return "-".join(parts + ["debug"] * training.debug)
