"""The log of the experiment `gain`: gain, angle and r within units of every layer, after every epoch."""

import csv

import keras
import numpy as np

from bnn.analysis.core.product import of_arrays
from bnn.analysis.keras import capture, kernels
from bnn.analysis.keras.geometry_log import BATCH, KernelLog
from bnn.files import atomic
from bnn.geometry.named_quantizers import SIGN

LOGGED = ("angle_mean_deg", "gain", "r_within")


class GainLog(keras.callbacks.Callback):
    """Writes gain.csv and initial.npz to a run directory; a training that continues keeps its rows.

    Args:
        folder: Path of the run directory.
        images: (n, height, width, channels) uint8 array, the images for the statistics.
    """

    def __init__(self, folder, images):
        super().__init__()
        self.folder, self.images, self.rows = folder, images, None

    def on_epoch_begin(self, epoch, logs=None):
        """Measure the initial network, or read the rows of the interrupted training."""
        if self.rows is not None:
            return
        # The first epoch may also be the rest of an interrupted one.
        if int(self.model.optimizer.iterations) == 0:
            self.rows = []
            with atomic.replacing(self.folder / "initial.npz") as path, path.open("wb") as file:
                np.savez(file, **latent_kernels(self.model))
            self._measure(0)
        else:
            self.rows = [row for row in read(self.folder) if row["epoch"] <= epoch]

    def on_epoch_end(self, epoch, logs=None):
        """Measure the network after every epoch."""
        self._measure(epoch + 1)

    def _measure(self, epoch):
        with np.load(self.folder / "initial.npz") as file:
            self.rows += [{"epoch": epoch} | row for row in measured(self.model, self.images, dict(file))]
        atomic.write_csv(self.folder / "gain.csv", list(self.rows[0]), self.rows)


def read(folder):
    """Read the rows of a run's gain.csv, a list of dicts; the name of the layer is a str, other values are floats."""
    with (folder / "gain.csv").open(newline="") as file:
        return [
            {key: value if key == "layer" else float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def latent_kernels(model):
    """Return a dict from layer name to the (d, groups, units) latent kernel."""
    return {product.name: product.kernels.latent for product in kernels.find(model, SIGN)}


def measured(model, images, initial):
    """Measure each kernel, quantized by sign, and the change of the kernel by training; return a list of dicts."""
    found = kernels.find(model, SIGN)
    whole = [KernelLog(product) for product in found]
    moved = [KernelLog(of_arrays(p.name, p.linear, p.kernels.latent - initial[p.name], SIGN)) for p in found]
    for _, batch in capture.stream(model, found, images, BATCH):
        for kernel, calls in zip([*whole, *moved], [*batch, *batch], strict=True):
            kernel.update(calls)
    rows = []
    for kernel, change in zip(whole, moved, strict=True):
        now, by_training = kernel.row(), change.row()
        rows.append(
            {"layer": now["layer"]}
            | {key: now[key] for key in LOGGED}
            | {f"moved_{key}": by_training[key] for key in LOGGED}
        )
    return rows
