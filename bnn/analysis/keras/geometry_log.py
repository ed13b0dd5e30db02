"""The geometry of a network during training: a callback for any `fit`, and the file geometry.csv of a run."""

import csv
import math
from functools import cached_property

import keras
import numpy as np
from keras import ops

from bnn import geometry
from bnn.analysis.core.statistics import defined_mean, logged
from bnn.analysis.keras import capture, kernels
from bnn.analysis.keras.batch_moments import BatchProducts
from bnn.console.arguments import expanded
from bnn.files import write_csv
from bnn.layers import latent_kernels
from bnn.models import traversal
from bnn.models.inputs import mapped, plain
from bnn.runs import RunError

BATCH = 50  # images per batch
STATISTICS = ("angle_mean_deg", "r_weights", "r_within", "gain", "zeros")
COLUMNS = {"epoch": int, "layer": str, **dict.fromkeys((*STATISTICS, "flip_ratio"), float)}
LATER = {"r_within", "gain", "zeros", "flip_ratio"}  # columns that earlier runs do not have


def measure(model, images):
    """Measure the most informative statistics, in a fraction of the time of `report.analyze`.

    Args:
        model: keras.Model.
        images: (n, ...) array, or a list or dict of arrays: the inputs of the model.

    Returns:
        List of dicts, one per layer, with the keys "layer", "angle_mean_deg", "r_weights", "r_within", "gain" and
        "zeros". The values are those of `LayerReport`.
    """
    images = plain(images)
    if not model.built:
        model(mapped(lambda array: array[:BATCH], images))  # creates the weights
    layers = [KernelLog(product) for product in kernels.find(model)]
    for _, values in capture.stream(
        model, [layer.product for layer in layers], images, BATCH, on_device=True
    ):
        for layer, calls in zip(layers, values, strict=True):
            layer.update(calls or ())
    return [layer.row() for layer in layers]


class KernelLog:
    """The logged statistics of one kernel, accumulated over batches."""

    def __init__(self, product):
        """Start without data; `product` is a Product."""
        self.product, self.per_unit = product, BatchProducts(product)

    def update(self, calls):
        """Add one batch: a list of capture.Call, one for each call of the layer."""
        for call, (inputs, *_) in enumerate(calls):
            self.per_unit.update_on_device(call, inputs, self.both)

    @cached_property
    def both(self):
        """The quantized and the latent kernel side by side, copied to the device once per log."""
        return ops.convert_to_tensor(np.concatenate(self.product.kernels, axis=-1))

    @property
    def name(self):
        """The layer's name, as in a LayerReport."""
        return self.product.name

    @property
    def kernels(self):
        """Kernels, each (d, units) float32: `.quantized` and `.latent`."""
        return self.product.columns

    @property
    def angles(self):
        """(units,) float64 array, angles in radians between quantized and latent kernel."""
        return geometry.angle(*self.kernels, axis=0)

    @cached_property
    def gains(self):
        """geometry.Gains of the units, after all batches."""
        return self.per_unit.gains()

    def row(self):
        """Return a dict of "layer", the logged `STATISTICS`, and the registered statistics that are logged."""
        return {
            "layer": self.name,
            "angle_mean_deg": math.degrees(defined_mean(self.angles)),
            "r_weights": float(self.per_unit.moments.pooled().r[0]),
            "r_within": defined_mean(self.gains.r),
            "gain": defined_mean(self.gains.gain),
            "zeros": float(np.mean(self.kernels.quantized == 0)),
            **{statistic.key: statistic.compute(self) for statistic in logged()},
        }


def quantized_kernels(model):
    """Return the signs of all quantized kernels, a dict from the name in the report to an int8 array of -1, 0 and 1."""
    found = {}
    for name, layer in traversal.walk(model):
        several = len(latent_kernels(layer)) > 1
        for kernel in latent_kernels(layer):
            if kernel.quantizer is not None:
                found[f"{name}/{kernel.name}" if several else name] = _signs(kernel)
    return found


def _signs(kernel):
    return ops.convert_to_numpy(
        ops.cast(ops.sign(kernel.quantized()), "int8")
    )  # a quarter of the bytes to copy


def flips(before, after):
    """Count the weights of each layer that differ between two results of `quantized_kernels`; a dict of ints."""
    return {name: np.count_nonzero(after[name] != kernel) for name, kernel in before.items()}


class GeometryLogger(keras.callbacks.Callback):
    """Logs the geometry of a network while it trains: `model.fit(..., callbacks=[GeometryLogger(x[:50], "g.csv")])`.

    The callback writes one row per layer that `report.analyze` supports, at the start and after every K epochs. The
    columns are the number of finished epochs, the layer, and, as in the table of the report, the mean angle in degrees,
    r, r within units, the gain and the fraction of zeros. The last column is the flip ratio: the fraction of the
    layer's quantized weights that changed in the last epoch. It is empty at the start and for layers with real weights.
    The file is complete after every epoch.

    A training that starts at the first epoch replaces the file. A training that continues (`initial_epoch` of `fit`)
    keeps the rows up to that epoch and drops later ones.

    Args:
        images: (n, ...) array, or a list or dict of arrays: the inputs of the model. With 50 images, the gain of a unit
            has a standard error of 8 %; runs use 500.
        path: path of the CSV file.
        every: int, K.
        tensorboard: folder for TensorBoard events, one chart per layer and column. None: no events.

    Raises:
        ValueError: `every` is not a positive integer.
    """

    def __init__(self, images, path, every=1, tensorboard=None):
        super().__init__()
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"every: expected a positive whole number, received {every!r}")
        self.images, self.path, self.every = images, expanded(path), every
        self.writer, self.rows = _writer(tensorboard and expanded(tensorboard)), None

    def on_train_begin(self, logs=None):
        """Forget the rows, and create the folder; a folder that is deleted later is not created again."""
        self.rows = None
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def on_epoch_begin(self, epoch, logs=None):
        """Log the initial network, and store its quantized kernels."""
        if self.rows is None and self.starts_anew(epoch):
            self.rows = []
            self._log(epoch, {})
        elif self.rows is None:
            self.rows = [row for row in read(self.path) if row["epoch"] <= epoch]
        if (epoch + 1) % self.every == 0:
            self.kernels = self.kernels_at_start()

    def on_epoch_end(self, epoch, logs=None):
        """Log every K epochs."""
        if (epoch + 1) % self.every == 0:
            now = quantized_kernels(self.model)
            changed = flips(self.kernels, now)
            self._log(epoch + 1, {name: changed[name] / now[name].size for name in now})

    def starts_anew(self, epoch):
        """Return whether the training starts with this epoch."""
        return epoch == 0

    def kernels_at_start(self):
        """Return the quantized kernels at the start of the current epoch."""
        return quantized_kernels(self.model)

    def _log(self, epoch, flip_ratios):
        rows = [
            {"epoch": epoch, **row, "flip_ratio": flip_ratios.get(row["layer"])}
            for row in measure(self.measured(), self.images)
        ]
        self.rows += rows
        self._write()
        if self.writer is not None:
            self._write_events(rows)

    def measured(self):
        """Return the network to measure."""
        return self.model

    def _write(self):
        write_csv(self.path, _columns(), self.rows)

    def _write_events(self, rows):
        for row in rows:
            for name in (*STATISTICS, "flip_ratio", *(statistic.key for statistic in logged())):
                if row[name] is not None:
                    self.writer.add_scalar(f"{name}/{row['layer']}", row[name], step=row["epoch"])
        self.writer.flush()


def _writer(folder):
    """Return the event writer of TensorBoard, which does not need TensorFlow."""
    if folder is None:
        return None
    from tensorboard.summary import Writer

    return Writer(str(folder))


def read(path):
    """Read the rows that a training logged.

    Args:
        path: path of the file, or of the run directory that contains geometry.csv.

    Returns:
        List of dicts with the keys `COLUMNS`, empty if there is no file. Values that were not logged are None.

    Raises:
        RunError: the file has other content.
    """
    path = expanded(path)
    path = path / "geometry.csv" if path.is_dir() else path
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            return [{name: _value(row, name) for name in _columns()} for row in csv.DictReader(file)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path}: expected the columns {', '.join(COLUMNS)}, received {error!r}") from None


def _columns():
    """The names of the columns, with those of registered statistics at the end."""
    return [*COLUMNS, *(statistic.key for statistic in logged())]


def _value(row, name):
    if (name in LATER or name not in COLUMNS) and not row.get(name):
        return None
    return COLUMNS.get(name, float)(row[name])
