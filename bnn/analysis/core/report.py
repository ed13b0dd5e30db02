"""The statistics of a network, one row per kernel: a table, and metrics.json."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bnn.analysis.core import statistics
from bnn.analysis.core.checks import by_reason
from bnn.console.arguments import expanded
from bnn.console.tables import html_table
from bnn.files import atomic

ANGLE_ONLY = "it looks rows up and multiplies nothing; each row is a unit"


@dataclass(frozen=True)
class Subject:
    """A model, the images to analyze it on, and their origin.

    Attributes:
        model: keras.Model or torch.nn.Module.
        images: (n, ...) array, or a list or dict of such arrays, or a path of them.
        about: dict, the first entries of metrics.json.
        log: rows of a run's log.csv; None for a model that does not come from a run.
        history: the same for geometry.csv.
        test: Split, the test images of a run; None for a model, and for a run on arrays that are not given.
    """

    model: Any
    images: Any
    about: dict = field(default_factory=dict)
    log: list | None = None
    history: list | None = None
    test: Any = None


class Report(Sequence):
    """A sequence of the LayerReports of a network: `report["conv_2"]`, `report[1]`.

    `print`, and the last line of a notebook's cell, show a table of the most important statistics. `text(wide=True)`
    returns a table of all statistics.

    Attributes:
        unanalyzed: dict from the name of each layer without a LayerReport, but with a kernel or with 16 or more numbers
            other than biases and norms, to the reason. Numbers beside the kernel of a LayerReport, those of the model
            itself and constants of operations have names of their own.
        about: dict with "images", the number of images, and "quantizer" and "activations", the arguments. For a run
            also "run", "network", "origin", "test_accuracy" in [0, 1], "test_images", "data_set" and "data_digest", of
            text "test_loss" in nats per character and "test_characters" (its images are sequences);
            for a file also "model"; for fitted kernels "fitted_images", the number of other images that they were
            fitted to.
        log: rows of the run's log.csv, from `Run.log`; None if the network is not a run.
        history: rows of the run's geometry.csv, from `geometry_log.read`; empty if it logged no geometry, None if the
            network is not a run.
        undefined: dict from the key of each statistic that is not defined for this network, such as "r_scores" for one
            image and batch norm, to the reason. It is NaN in the rows.
    """

    def __init__(self, layers, unanalyzed=None, about=None, log=None, history=None, undefined=None):
        self._layers, self.undefined = tuple(layers), undefined or {}
        self.unanalyzed, self.about = unanalyzed or {}, about or {}
        self.log, self.history = log, history

    def __getitem__(self, which):
        """Return the LayerReport for a name or an index, or a tuple of them for a slice.

        Raises:
            KeyError: no LayerReport has that name.
            IndexError: the index is out of range.
        """
        if not isinstance(which, str):
            return self._layers[which]
        for layer in self._layers:
            if layer.name == which:
                return layer
        names = ", ".join(layer.name for layer in self._layers)
        reason = f" ({self.unanalyzed[which]})" if which in self.unanalyzed else ""
        raise KeyError(f"expected a layer among {names}, received {which!r}{reason}")

    def __len__(self):
        return len(self._layers)

    def __repr__(self):
        return self.text()

    def text(self, wide=False):
        """Return the table as text, at most 80 columns wide if the names allow it; with `wide`, every statistic.

        The wide table has blocks of columns.
        """
        table = f"{self._caption()}\n{statistics.text_table(self.rows(), wide)}"
        notes = [f"angle only: {layer.name}: {ANGLE_ONLY}" for layer in self if layer.product.linear is None]
        notes += [f"not analyzed: {names}: {reason}" for names, reason in by_reason(self.unanalyzed)]
        notes += [f"not defined: {key}: {reason}" for key, reason in self.undefined.items()]
        return "\n\n".join([table, "\n".join(notes)] if notes else [table])

    def _repr_html_(self):  # IPython's hook
        keys = statistics.first_keys(self.rows())
        heads = [statistics.title(key) for key in keys]
        return html_table([heads, *statistics.cells(self.rows(), keys)], self._caption())

    @property
    def accuracy(self):
        """The test accuracy of a run as text, with the size of the test set; of text also the loss."""
        about = self.about
        if "test_loss" not in about:
            return f"{about['test_accuracy']:.4f} ({about['test_images']:,} images)"
        nats = about["test_loss"]
        return (
            f"{about['test_accuracy']:.4f} ({about['test_characters']:,} characters), loss {nats:.4f} nats, "
            f"{nats / math.log(2):.4f} bits per character"
        )

    def _caption(self):
        unit = "sequences" if "test_loss" in self.about else "images"
        over = f" over {self.about['images']} {unit}" if "images" in self.about else ""
        fitted = self.about.get("fitted_images")
        after = "" if fitted is None else f", of kernels fitted to {fitted} others"
        return f"geometry{over}{after} (angles in degrees)"

    def rows(self):
        """Return the rows of metrics.json, a list of the results of `LayerReport.statistics`."""
        return [layer.statistics() for layer in self]

    def save(self, folder):
        """Write metrics.json to a folder, which is created if needed, and return the Path of the file."""
        path = expanded(folder) / "metrics.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        undefined = {"undefined": self.undefined} if self.undefined else {}
        atomic.write_json(
            path, self.about | {"unanalyzed": self.unanalyzed} | undefined | {"layers": self.rows()}
        )
        return path
