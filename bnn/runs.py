"""A run directory: everything about one training, written so that a kill at any moment loses nothing.

config.json     model, training, data set and digest, command, versions, commit
log.csv         a row an epoch
geometry.csv    with --log_geometry: angle and r of every layer
last.keras      the network with its optimizer, for --resume
best.keras      the network with the best validation accuracy, for everything else
partial-N.npz   what an epoch that was interrupted at step N had gathered
metrics.json    what analyze.py found
"""

import csv
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from bnn.config import ConfigError, ModelConfig, TrainConfig, expect, from_json, to_json

LOG_COLUMNS = (
    "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "flip_ratio", "seconds",
)  # fmt: skip
DATA_KEYS = ("name", "digest", "official")


class RunError(RuntimeError):
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
        """Replace a checkpoint in one step.

        Raises:
            RunError: the disk is full or the folder cannot be written; an earlier checkpoint stays as it was.
        """
        temporary = self.folder / f".{name}.keras"
        try:
            model.save(temporary)
            replace(temporary, self.checkpoint(name))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunError(f"{self.checkpoint(name)}: expected to write it, received "
                           f"{error.strerror or error}; what was there before is kept") from None  # fmt: skip

    def load_model(self, name="best", compiled=False):
        """The network of a checkpoint.

        Raises:
            RunError: there is no such checkpoint, or it cannot be read.
        """
        import keras

        import bnn.layers  # noqa: F401, so that Keras knows the layers

        path = self.checkpoint(name)
        if not path.is_file():
            raise RunError(f"{self.folder}: expected a checkpoint {path.name}, received a run that has none yet; "
                           f"go on with python train.py --resume {self.folder}")  # fmt: skip
        try:
            with warnings.catch_warnings():
                # Keras only warns of weights that it does not find, and leaves them as they began.
                warnings.simplefilter("error", UserWarning)
                return keras.saving.load_model(path, compile=compiled)
        except Exception as error:  # whichever of Keras, h5py, zipfile, zlib and json meets the damage first
            reason = (str(error).splitlines() or [type(error).__name__])[-1]
            raise RunError(f"{path}: expected a saved network, received one that Keras cannot read "
                           f"({reason[:200]})") from None  # fmt: skip

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

    def log(self):
        """The rows of log.csv, a list of dicts from column to float (the epoch an int)."""
        path = self.folder / "log.csv"
        if not path.is_file():
            return []
        try:
            with path.open(newline="") as file:
                reader = csv.DictReader(file)
                rows = [row for row in reader if None not in row.values() and None not in row]
            if rows and tuple(reader.fieldnames) != LOG_COLUMNS:
                raise ValueError(f"the columns {', '.join(reader.fieldnames)}")
            return [{k: int(v) if k == "epoch" else float(v) for k, v in row.items()} for row in rows]
        except (ValueError, csv.Error) as error:
            raise RunError(
                f"{path}: expected numbers in the columns {', '.join(LOG_COLUMNS)}, received {error}"
            ) from None

    def write_log(self, rows):
        """Replace log.csv."""
        write_csv(self.folder / "log.csv", LOG_COLUMNS, rows)


def create(folder, model_config, train_config, data_set, command, overwrite=False):
    """Make a run directory and its config.json.

    Args:
        folder: Path that must not hold a run yet.
        model_config: ModelConfig.
        train_config: TrainConfig.
        data_set: DataSet.
        command: list of str, the command line.
        overwrite: replace a run that is there.

    Returns:
        Run

    Raises:
        RunError: the folder holds a run or anything else.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / "config.json").is_file():
            raise RunError(f"{folder}: expected a new or empty run directory, received one with other files")
        if not overwrite:
            raise RunError(f"{folder}: expected a new run directory, received one that holds a run; "
                           f"go on with --resume {folder}, or give --overwrite or another --run_dir")  # fmt: skip
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = {name: getattr(data_set, name) for name in DATA_KEYS}
    write_json(folder / "config.json", {
        "model": to_json(model_config), "training": to_json(train_config), "data": data,
        "command": command, "versions": _versions(), "git_commit": _git_commit(),
    })  # fmt: skip
    return Run(folder, model_config, train_config, data)


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
        data = config["data"]
        expect(set(data) == set(DATA_KEYS), "data", f"an object with {', '.join(DATA_KEYS)}", data)
        model, training = from_json(ModelConfig, config["model"]), from_json(TrainConfig, config["training"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = str(error) if isinstance(error, ConfigError) else "a damaged or foreign file"
        raise RunError(f"{path}: expected the config of a run, received {what}") from None
    return Run(folder, model, training, data)


def default_name(model, training):
    """A readable name: mnist-5k-binary-conv32-32-64-64-fc256-30epochs-seed0."""
    sizes = [
        f"{name}{'-'.join(map(str, values))}"
        for name, values in (("conv", model.conv), ("fc", model.fc))
        if values
    ]
    kind = model.kind if model.estimator == "ste" else model.estimator
    kind += str(model.threshold) if kind == "ternary" else ""
    parts = [training.data_set, kind, *sizes, f"{training.epochs}epochs", f"seed{training.seed}"]
    return "-".join(parts + ["debug"] * training.debug)


def write_json(path, value):
    """Write JSON atomically; NaN becomes null, for JSON has no NaN."""
    write_atomic(path, (json.dumps(_without_nan(value), indent=1, allow_nan=False) + "\n").encode())


def write_csv(path, columns, rows):
    """Write rows, dicts from column to value, under a header, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def write_atomic(path, content):
    """Write bytes so that `path` holds either the old content or the new, whatever happens."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    replace(temporary, path)


def replace(temporary, path):
    """Sync a finished file to disk and give it its name."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _without_nan(value):
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _versions():
    import keras

    backend = keras.backend.backend()
    packages = {name: metadata.version(name) for name in ("keras", "numpy", backend)}
    return {
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
        **packages,
    }


def _git_commit():
    """The code's commit, with "+changes" where files differ from it; None outside a git checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"],
                                cwd=here, capture_output=True, text=True, check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip()
