"""How a network's geometry evolves as it trains: `train.py --log_geometry K` and its geometry.csv."""

import csv

import keras
import numpy as np
from keras import ops

from bnn import capture, geometry, products
from bnn.runs import RunError, write_csv
from bnn.streaming import CorrelationStatistics

IMAGES = 50  # the first ones of the validation set: the statistics are over images and positions
COLUMNS = {"epoch": int, "layer": str, "angle_mean_deg": float, "r_weights": float}


def measure(model, images):
    """The two statistics that tell most, for a fraction of the time of `report.analyze`.

    Args:
        model: keras.Model with quantized layers.
        images: (n, height, width, channels) uint8 array, few enough to go through the network at once.

    Returns:
        list of dicts, one for each layer: "layer", and "angle_mean_deg" and "r_weights" as `LayerReport` has them.
    """
    found = products.find(model)
    ((_, values),) = capture.stream(model, found, images, len(images))
    rows = []
    for product, calls in zip(found, values, strict=True):
        statistics = CorrelationStatistics()
        for inputs, _ in calls:
            statistics.update(*(product.multiply(inputs, kernel) for kernel in product.kernels))
        angles = geometry.angle(*product.kernels, axis=0)
        angles = angles[~np.isnan(angles)]
        mean = float(np.degrees(angles.mean())) if len(angles) else float("nan")
        rows.append({"layer": product.name, "angle_mean_deg": mean, "r_weights": float(statistics.r)})
    return rows


class GeometryLog(keras.callbacks.Callback):
    """Writes geometry.csv into a run directory: a row for every layer, at the start and after every K epochs.

    Place it before what writes checkpoints: rows of epochs after the checkpoint, of work that a kill threw away,
    are dropped when the training goes on.

    Args:
        folder: Path of the run.
        images: uint8 array of validation images, of which the first `IMAGES` are used.
        every: int, K.
        epoch: int, the epochs that the network has behind it.
    """

    def __init__(self, folder, images, every, epoch):
        super().__init__()
        self.folder, self.images, self.every, self.epoch = folder, images[:IMAGES], every, epoch
        self.rows = [row for row in read(folder) if row["epoch"] <= epoch]

    def on_train_begin(self, logs=None):
        """Log the untrained network."""
        fresh = int(ops.convert_to_numpy(self.model.optimizer.iterations)) == 0
        if fresh and not self.rows:
            self._log(0)

    def on_epoch_end(self, epoch, logs=None):
        """Log every K epochs."""
        if (epoch + 1) % self.every == 0:
            self._log(epoch + 1)

    def _log(self, epoch):
        self.rows += [{"epoch": epoch, **row} for row in measure(self.model, self.images)]
        write_csv(self.folder / "geometry.csv", COLUMNS, self.rows)


def read(folder):
    """The rows of a run's geometry.csv, a list of dicts of its `COLUMNS`; empty if the run logged none.

    Raises:
        RunError: the file holds something else.
    """
    path = folder / "geometry.csv"
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            return [{name: kind(row[name]) for name, kind in COLUMNS.items()} for row in csv.DictReader(file)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path}: expected the columns {', '.join(COLUMNS)}, received {error!r}") from None
