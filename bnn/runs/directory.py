"""A run directory: everything about one training run, written so that a kill at any time loses nothing.

config.json     network, quantization, inputs, training, data set and digest, command, versions, commit
log.csv         one row per epoch
geometry.csv    with --log_geometry: angle, r, r within units, gain, zeros and flip ratio of every layer
last.keras      the network with its optimizer, for --resume
best.keras      the network with the best validation accuracy, for everything else
partial-N.npz   the intermediate results of an epoch that was interrupted at step N
metrics.json    the results of analyze.py
.lock           the process that writes here; see bnn.files.lock
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from bnn import backend
from bnn.console import typed
from bnn.console.arguments import expanded
from bnn.console.errors import RunError
from bnn.console.spelling import argument, either, option
from bnn.datasets.catalog import is_own
from bnn.files import atomic, lock
from bnn.files.atomic import write_csv, write_json
from bnn.runs import folders, formats, provenance, stored_data, summary
from bnn.runs.log import LOG_COLUMNS, log_rows, rank
from bnn.runs.naming import default_name
from bnn.settings.config import Config, ConfigError, config_from_json, expect, flat_model

CLASSES = 10  # of every data set of the catalog


@dataclass(frozen=True)
class Run:
    """A run directory and the content of its config.json.

    Attributes:
        folder: Path.
        config: Config, the settings.
        data: dict with the data set's "name", "digest" and "official".
    """

    folder: Path
    config: Config
    data: dict

    @property
    def training(self):
        """The settings of the training, a TrainConfig."""
        return self.config.training

    @property
    def kind(self):
        """The common name of the network, such as "binary"; see `Quantization.kind`."""
        return self.config.quantization.kind

    @property
    def model(self):
        """The other settings in one object, and `kind`: the form of earlier versions; see `config`."""
        return flat_model(self.config)

    def _repr_html_(self):  # IPython's hook
        return summary.html(self)

    def checkpoint(self, name):
        """Return the path of the checkpoint "last" or "best"."""
        return self.folder / f"{name}.keras"

    def save_model(self, model, name):
        """Replace a checkpoint; raises the same errors as `atomic.replacing`."""
        with atomic.replacing(self.checkpoint(name)) as temporary:
            model.save(temporary)

    def load_model(self, name="best", compiled=False):
        """Load the network of a checkpoint.

        Args:
            name: "last" or "best".
            compiled: bool, whether to load the optimizer and the loss too, to continue training.

        Raises:
            RunError: the checkpoint does not exist, cannot be read, or contains another network than config.json.
            ConfigError: a quantizer of the run is not registered with Keras.
        """
        backend.load()
        from bnn.models import loading

        path = self.checkpoint(name)
        if not path.is_file():
            raise RunError(
                f"{self.folder}: expected a checkpoint {path.name}, received a run that has none yet; "
                f"continue with {either(typed('train', '--resume', self.folder), _call_of_resume(self.folder))}"
            )
        # Raises an error with the name of an unregistered quantizer, which Keras does not give.
        self.config.quantization.makers()
        try:
            with backend.standard_settings():
                model = loading.load_model(path, compiled)
        except loading.ModelError as error:
            raise RunError(str(error)) from None
        self._expect_network(model, path)
        if compiled and not model.compiled:
            raise RunError(f"{path}: expected a network with its optimizer, received one without")
        return model

    def load_in_float32(self):
        """Load the best network as every program computes it: in float32, whatever it was trained in.

        So all programs, on all machines, find the same classes, which are those of the packed network, up to the
        rounding of sums of real numbers. Errors as in `load_model`.
        """
        model = self.load_model()
        from bnn.models import in_float32

        return in_float32(model)

    @property
    def arithmetic(self):
        """One line about the arithmetic of `load_in_float32` if the run was trained in another one, else ""."""
        trained = self.training.precision
        if trained == "float32":
            return ""
        return f"computed in float32; trained in {trained}, in which some images are in another class"

    def _expect_network(self, model, path):
        built = self.config.build(self.training.precision)
        expected, received = ({layer.name: _described(layer) for layer in m.layers} for m in (built, model))
        for name in [*expected, *received]:
            if expected.get(name) != received.get(name):
                raise RunError(
                    f"{path}: expected the {self.kind} network that config.json describes, "
                    f"received another one (first difference: layer {name})"
                )

    def copy_weights(self, model):
        """Copy the best weights of this run into another network with the same shapes.

        Raises:
            RunError: the networks have different shapes.
        """
        weights = self.load_model().get_weights()
        received, expected = ([w.shape for w in ws] for ws in (weights, model.get_weights()))
        if received != expected:
            raise RunError(
                f"{self.folder}: expected weights of the network to be trained, received those of "
                f"{default_name(self.config)}"
            )
        model.set_weights(weights)

    def expect_data(self, data_set):
        """Raise `RunError` unless a DataSet is the training data of this run and fits the network."""
        if difference := stored_data.difference(self, data_set):
            raise RunError(f"{self.folder}: {difference}")
        self.expect_fit(data_set)

    def reads_alike(self, data_set):
        """Whether a DataSet has the order of classes and the kind of split with which this run was begun."""
        return data_set.class_names == self.class_names and data_set.stratified == self.stratified

    @property
    def stratified(self):
        """Whether images of user data were set aside by class; earlier versions drew them without regard to it."""
        return self.data.get("stratified", not is_own(self.training.data_set))

    def origin(self, data_set):
        """Describe the training data of the network, and say whether the given DataSet is the same."""
        return stored_data.origin(self, data_set)

    def load_data(self, data_dir=None):
        """Read the data set; errors as for `datasets.load`."""
        return stored_data.load(self, data_dir)

    @property
    def class_names(self):
        """The names of the classes in the order of the scores, a tuple of str."""
        return stored_data.class_names(self)

    def expect_fit(self, data_set):
        """Raise `RunError` unless the network accepts the images of a DataSet and has its classes."""
        shape, classes = data_set.train.images.shape[1:], len(data_set.class_names)
        inputs, unit = self.config.inputs, data_set.train.unit
        if (shape, classes) != (inputs.input_shape, inputs.classes):
            raise RunError(
                f"{self.folder}: expected a network from {unit}s of shape {shape} to {classes} classes, "
                f"received one from {inputs.input_shape} to {inputs.classes}"
            )

    def log(self):
        """Read the rows of log.csv, a list of dicts from column to float (the epoch is an int)."""
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
        """Return the row of `log()` with the best validation accuracy; raise `RunError` if there is no row.

        Of rows with the same accuracy it is the one with the lowest validation loss, of these the first.
        """
        rows = self.log()
        if not rows:
            raise RunError(f"{self.folder}: expected log.csv with one row per epoch, received none")
        return max(rows, key=rank)

    def write_log(self, rows):
        """Replace log.csv."""
        write_csv(self.folder / "log.csv", LOG_COLUMNS, rows)


def create(folder, config, data_set, command, overwrite=False, initial=None):
    """Create a run directory and its config.json.

    Args:
        folder: Path, which must not hold a run yet.
        config: Config.
        data_set: DataSet.
        command: list of str, the command line.
        overwrite: bool, whether to replace an existing run.
        initial: keras.Model to start from, which is saved as the checkpoint "last". None means that the seed determines
            the initial weights.

    Returns:
        Run

    Raises:
        RunError: the folder holds a run or other files.
        RunError: another process writes into the folder, or it is not writable.
    """
    folder = expanded(folder)
    expect_free(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    lock.hold(folder)
    expect_free(folder, overwrite)  # again, because another process may have started a run before the lock
    folders.clear(folder)
    run = Run(folder, config, stored_data.record(data_set))
    if initial is not None:
        run.save_model(initial, "last")
    settings = config.to_json()
    content = {
        "format": formats.CURRENT,
        **settings,
        "data": run.data,
        "settings_sha256": provenance.settings_sha256(*settings.values()),
        "command": command,
        "versions": provenance.versions(),
        "git_commit": provenance.git_commit(),
    }
    write_json(folder / "config.json", content)
    return run


def expect_free(folder, overwrite=False):
    """Raise `RunError` unless a new run may start in a folder.

    The folder must not exist or must be empty. With `overwrite`, it may also hold a run.
    """
    if reason := folders.why_unwritable(folder):
        raise RunError(f"{folder}: expected a run directory that can be made and written, received {reason}")
    if not folder.exists() or folders.is_unused(folder):
        return
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder}: expected a new or empty run directory, received one with other files")
    if not overwrite:
        resume = either(option("resume", folder), _call_of_resume(folder))
        raise RunError(
            f"{folder}: expected a new run directory, received one that holds a run; continue it with {resume}, "
            f"or use {option('overwrite')} or another {argument('run_dir')}"
        )
    open_run(folder)  # raises for the folder of another program that also has a config.json


def reopen(folder):
    """Lock and open the run in a directory to continue it; raises the same errors as `open_run` and `lock.hold`."""
    open_run(folder)  # raises before a lock file is created in a folder without a run
    lock.hold(expanded(folder))
    return open_run(folder)  # again, because another process may have changed the run before the lock


def open_run(folder):
    """Open the run in a directory.

    Raises:
        RunError: the directory holds no run, or its config.json is damaged or comes from another program.
    """
    folder = expanded(folder)
    path = folder / "config.json"
    if not path.is_file():
        if (folder / "saved_model.pb").is_file():
            raise RunError(
                f"{folder}: expected a run directory with config.json, received a SavedModel of TensorFlow; "
                "load it in Python and save it with model.save('MODEL.keras')"
            )
        kind = (
            "a folder without one" if folder.is_dir() else "a file" if folder.is_file() else "no such folder"
        )
        found = f"{kind}{folders.nearby(folder)}"
        raise RunError(f"{folder}: expected a run directory with config.json, received {found}")
    try:
        written = json.loads(path.read_text())
        content = formats.upgraded(written)
        config = config_from_json(content)
        _expect_data(content, config.training)
        formats.expect_unchanged(written)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = str(error) if isinstance(error, ConfigError) else "a damaged file or one of another program"
        raise RunError(f"{path}: expected the config of a run, received {what}") from None
    return Run(folder, config, content["data"])


def _call_of_resume(folder):
    return f"bnn.resume({str(folder)!r})"


def _described(layer):
    """Return class, config and shapes, without what earlier versions of this package did otherwise.

    They used Keras's pooling layer, their convolutions had no `sign_inputs`, and Flatten had the order of keras.json.
    """
    import keras

    pooling = keras.layers.MaxPooling2D
    kind = pooling if isinstance(layer, pooling) else type(layer)
    ignored = "data_format" if isinstance(layer, keras.layers.Flatten) else "sign_inputs"
    config = {key: value for key, value in layer.get_config().items() if key != ignored}
    return kind, config, [w.shape for w in layer.weights]


def _expect_data(content, training):
    """Raise `ConfigError` for a data set that the settings do not name, and for a precision that is not resolved."""
    stored_data.check(content["data"], training.data_set)
    precision = training.precision
    expect(
        precision != "auto", "precision", "the precision that auto meant at the start of the run", precision
    )
