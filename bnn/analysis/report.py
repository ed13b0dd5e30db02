"""The geometry of a network: statistics of a model, a run or arrays, one row per kernel."""

from collections.abc import Sequence

from bnn import backend
from bnn.analysis.core import statistics
from bnn.analysis.core.checks import by_reason
from bnn.console import silent
from bnn.files import records
from bnn.paths import expanded
from bnn.tables import html_table

ANGLE_ONLY = "it looks rows up and multiplies nothing; each row is a unit"


class Report(Sequence):
    """A sequence of the LayerReports of a network: `report["conv_2"]`, `report[1]`.

    `print`, and the last line of a notebook's cell, show a table of the most important statistics. `text(wide=True)`
    returns a table of all statistics.

    Attributes:
        unanalyzed: dict from the name of each layer without a LayerReport, but with a kernel or with 16 or more numbers
            other than biases and norms, to the reason. Numbers beside the kernel of a LayerReport, those of the model
            itself and constants of operations have names of their own.
        about: dict with "images", the number of images, and "quantizer" and "activations", the arguments. For a run
            also "run", "network", "origin", "test_accuracy" in [0, 1], "test_images", "data_set" and "data_digest";
            for a file also "model".
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
        keys = statistics.first_keys()
        heads = [statistics.title(key) for key in keys]
        return html_table([heads, *statistics.cells(self.rows(), keys)], self._caption())

    def _caption(self):
        over = f" over {self.about['images']} images" if "images" in self.about else ""
        return f"geometry{over} (angles in degrees)"

    def rows(self):
        """Return the rows of metrics.json, a list of the results of `LayerReport.statistics`."""
        return [layer.statistics() for layer in self]

    def save(self, folder):
        """Write metrics.json to a folder, which is created if needed, and return the Path of the file."""
        path = expanded(folder) / "metrics.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        undefined = {"undefined": self.undefined} if self.undefined else {}
        records.write_json(
            path, self.about | {"unanalyzed": self.unanalyzed} | undefined | {"layers": self.rows()}
        )
        return path


def analyze(
    network,
    images=None,
    *,
    quantizer=None,
    activations=None,
    batch_size=50,
    score_images=100,
    seed=0,
    data_dir=None,
    progress=silent,
):
    """Measure the geometry of every layer of a network that has a kernel, in one pass over the images.

    The inputs of each layer are recorded at every call, also for shared layers, nested models and models that are not
    a graph. Biases and activation functions are not part of the dot products. A separable convolution counts as two
    layers, and so does a recurrent layer: its inputs and its states. Rows that a mask removes leave the statistics.
    Layers of this package keep their own quantizers.

    Args:
        network: keras.Model, Run, or str or Path of a run directory or a .keras file. For a run, the network with the
            best validation accuracy is analyzed.
        images: (n, ...) array, or a list or Mapping of arrays: the inputs of the model, matched by name in a Mapping
            and in the order of `model.inputs` in a list, with None for an optional input that is left out; or the path
            of a .npy or .npz file, see `models.load_images`. For a run also an int, the number of test images to use,
            or None: the first 500, as in the paper. Of a run on own data, arrays may have any form that training takes:
            gray images without an axis of channels, and floats in the range of the run.
        quantizer: quantizer of kernels that have none: a name that `bnn.estimators.get` accepts, or a function from
            a (d, units) float32 array to an array of the same shape. None: sign for Keras layers; kernels of
            this package's continuous networks are not quantized.
        activations: the same for real inputs of layers. Each channel is first standardized over all images and
            positions, as by a batch norm, which takes a second pass. None: only outputs of a quantizer count as
            quantized inputs.
        batch_size: images per batch. No statistic depends on it. Memory depends on this, and on `score_images` if the
            model has batch norms: `r_scores` then takes batches of its own, of at most 50 images.
        score_images: largest number of images, drawn at random, for `r_scores`, which takes one pass over them per
            layer. 0: do not measure `r_scores`. With one image and batch norms it is NaN.
        seed: seed of the permutations, the sampled patches, the rotations and the images for `r_scores`.
        data_dir: folder of the data sets, for a run. None: the default folder.
        progress: shows progress over batches, and over layers for `r_scores`: `console.progress`, or a function with
            the same arguments.

    Returns:
        Report

    Raises:
        QuantizerError: the name of a quantizer is unknown.
        ReportError: no layer can be analyzed, the quantizer applies to none, a weight is not finite, or the images do
            not fit the model.
        RunError, DataError, ModelFileError: the run, its data or the file cannot be read.
    """
    backend.load()
    from bnn.analysis import measuring, subject
    from bnn.models import inputs

    for place, given in (("quantizer", quantizer), ("activations", activations)):
        measuring.as_function(given, place)  # raises for an unknown name before the network is loaded
    found = subject.find(network, images, data_dir)
    layers, unanalyzed, undefined = measuring.of_model(
        found.model, found.images, quantizer, activations, batch_size, score_images, seed, progress
    )
    about = found.about | {
        "quantizer": name_of(quantizer),
        "activations": name_of(activations),
        "images": inputs.count(found.images),
    }
    return Report(layers, unanalyzed, about, found.log, found.history, undefined)


def from_arrays(kernel, inputs, *, quantizer="sign", before=None, name="kernel", seed=0):
    """Measure the geometry of one kernel from any library.

    Args:
        kernel: (d, units) array_like, latent weights.
        inputs: (n, d) array_like, the inputs of the layer; quantized values if the layer's inputs are quantized.
        quantizer: as for `analyze`; None: sign.
        before: (n, d) array_like, the inputs before they were quantized; None if the inputs are real.
        name: str, name of the kernel.
        seed: seed of the permutations, the sampled patches and the rotation.

    Returns:
        LayerReport. Each row of `inputs` counts as one image: permutations are within a row.

    Raises:
        QuantizerError: the quantizer's name is unknown.
        ReportError: shapes do not fit, or a value is not finite.
    """
    backend.load()
    from bnn.analysis import measuring

    return measuring.of_arrays(kernel, inputs, quantizer, before, name, seed)


def name_of(quantizer):
    """Return the name of a quantizer, or None, for metrics.json."""
    if quantizer is None or isinstance(quantizer, str):
        return quantizer
    return getattr(quantizer, "__name__", type(quantizer).__name__)
