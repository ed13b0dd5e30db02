"""The geometry of a network: a model, a run or arrays, and images, to statistics, one row for each kernel."""

from collections.abc import Sequence
from pathlib import Path

from bnn import backend
from bnn.analysis import statistics
from bnn.console import silent
from bnn.files import records
from bnn.tables import html_table


class Report(Sequence):
    """The LayerReports of a network: `report["conv_2"]`, `report[1]`, or one after the other.

    Printed, and as the last line of a notebook's cell, it is a table of the statistics that a reader needs first;
    `text(wide=True)` has all of them.

    Attributes:
        unanalyzed: dict from the name of each layer that has a kernel and no LayerReport to the reason.
        about: dict: "images", how many; "quantizer" and "activations", as they were given; of a run also "run",
            "network", "origin", "test_accuracy" in [0, 1], "test_images", "data_set" and "data_digest"; of a file
            "model".
        log: rows of the run's log.csv, as `Run.log` gives them; None for a model that is no run.
    """

    def __init__(self, layers, unanalyzed=None, about=None, log=None):
        self._layers = tuple(layers)
        self.unanalyzed, self.about, self.log = unanalyzed or {}, about or {}, log

    def __getitem__(self, which):
        """The LayerReport of a name or a place; of a slice a tuple of them.

        Raises:
            KeyError: no LayerReport has that name.
            IndexError: there are not so many.
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
        """The table as text: of 80 columns at most where names allow it, or, `wide`, of every statistic."""
        table = f"{self._caption()}\n{statistics.text_table(self.rows(), wide)}"
        reasons = [f"not analyzed: {name}: {reason}" for name, reason in self.unanalyzed.items()]
        return "\n\n".join([table, "\n".join(reasons)] if reasons else [table])

    def _repr_html_(self):  # IPython's hook
        keys = statistics.first_keys()
        heads = [statistics.title(key) for key in keys]
        return html_table([heads, *statistics.cells(self.rows(), keys)], self._caption())

    def _caption(self):
        over = f" over {self.about['images']} images" if "images" in self.about else ""
        return f"geometry{over} (angles in degrees)"

    def rows(self):
        """The rows of metrics.json, a list of `LayerReport.statistics`."""
        return [layer.statistics() for layer in self]

    def save(self, folder):
        """Write metrics.json into a folder, which is made if it is missing, and return its Path."""
        path = Path(folder) / "metrics.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        records.write_json(path, self.about | {"unanalyzed": self.unanalyzed, "layers": self.rows()})
        return path


def analyze(
    network, images=None, *, quantizer=None, activations=None, batch_size=50, score_images=100, seed=0,
    data_dir=None, progress=silent,
):  # fmt: skip
    """The geometry of every dense and convolution layer of a network, in one pass over the images.

    Sees what each layer multiplies, in every call of a shared layer, in nested models and in models that are no
    graph. Biases and activation functions are no part of the dot products. A separable convolution counts as two
    layers. Layers of this package keep the quantizers that they have.

    Args:
        network: keras.Model, Run, or str or Path of a run directory or of a .keras file. Of a run the network with
            the best validation accuracy is analyzed.
        images: (n, ...) array, or a list or dict of these: what the model takes; or the path of a .npy or .npz file,
            see `models.load_images`. Of a run also an int, how many of the first test images, or None: the paper's 500.
        quantizer: what quantizes kernels that have no quantizer of their own: one of `named_quantizers.named`'s
            names, or a function from a (d, units) float32 array to another. None: sign for Keras's layers; the
            kernels of this package's continuous networks stay as they are.
        activations: the same for real inputs of layers, each channel first standardized over all images and
            positions, as a batch norm would; that takes a second pass. None: only inputs that a quantizer has
            made count as quantized.
        batch_size: images at a time. Memory depends on it alone; of the statistics `r_scores` does, if the model has
            batch norms.
        score_images: how many of the images, drawn at random, `r_scores` is over, at most; it takes a pass over them
            for each layer. 0: leave it out.
        seed: of the permutations, the sampled patches, the rotations and the images for `r_scores`.
        data_dir: folder of the data sets, for a run; None: the usual place.
        progress: shows progress over batches, and over layers for `r_scores`: `console.progress`, or a function that
            is called in the same way.

    Returns:
        Report

    Raises:
        QuantizerError: a quantizer's name is unknown.
        ReportError: no layer can be analyzed, none takes the quantizer, a weight is not finite, or the images are
            not for this model.
        RunError, DataError, ModelFileError: the run, its data or the file cannot be read.
    """
    backend.load()
    from bnn.analysis import checks, measuring, subject

    found = subject.find(network, images, data_dir)
    layers, unanalyzed = measuring.of_model(
        found.model, found.images, quantizer, activations, batch_size, score_images, seed, progress
    )
    about = found.about | {
        "quantizer": _name(quantizer), "activations": _name(activations),
        "images": checks.count(found.images),
    }  # fmt: skip
    return Report(layers, unanalyzed, about, found.log)


def from_arrays(kernel, inputs, *, quantizer="sign", before=None, name="kernel", seed=0):
    """The geometry of one kernel, from whatever library.

    Args:
        kernel: (d, units) array_like, latent weights.
        inputs: (n, d) array_like, what the kernel is multiplied with, as the layer gets it: quantized, if it is.
        quantizer: as for `analyze`.
        before: (n, d) array_like, the values of quantized inputs before their quantizer; None if they are real.
        name: str.
        seed: of the permutations, the sampled patches and the rotation.

    Returns:
        LayerReport. Each row of `inputs` counts as an image: permutations stay within it.

    Raises:
        QuantizerError: the quantizer's name is unknown.
        ReportError: shapes do not fit, or a value is not finite.
    """
    backend.load()
    from bnn.analysis import measuring

    return measuring.of_arrays(kernel, inputs, quantizer, before, name, seed)


def _name(quantizer):
    """A quantizer as a file can hold it: its name, or None."""
    if quantizer is None or isinstance(quantizer, str):
        return quantizer
    return getattr(quantizer, "__name__", type(quantizer).__name__)
