"""The geometry of a model: a model and images, or arrays, to statistics, a row for each kernel."""

import keras
import numpy as np

from bnn.analysis import capture, kernel_products
from bnn.analysis.layer_geometry import LayerReport, UnanalysableError
from bnn.analysis.linear_maps import Dense
from bnn.analysis.score_agreement import score_agreement
from bnn.errors import UserError
from bnn.geometry import CoordinateMoments, named_quantizers
from bnn.models import summary  # noqa: F401, one place for what is said of a model
from bnn.tables import aligned, cell

BATCH = 50
SCORE_IMAGES = 100
ROWS = 4096  # of arrays at a time


class ReportError(UserError, ValueError):
    """A model or arrays that cannot be analysed; the message says what was expected and what was received."""


class Report(list):
    """The LayerReports of a model, in the order of its layers.

    Attributes:
        unanalysed: dict from the name of each layer that has a kernel and no LayerReport to the reason.
    """

    def __init__(self, layers, unanalysed):
        super().__init__(layers)
        self.unanalysed = unanalysed


def analyze(
    model, images, *, quantizer=None, activations=None, batch_size=BATCH, score_images=SCORE_IMAGES, seed=0,
    progress=iter,
):  # fmt: skip
    """The geometry of every dense and convolution layer of a model, in one pass over the images.

    Sees what each layer multiplies, in every call of a shared layer, in nested models and in models that are no
    graph. Biases and activation functions are no part of the dot products. A separable convolution counts as two
    layers. Layers of this package keep the quantizers that they have.

    Args:
        model: keras.Model.
        images: (n, ...) array, or a list or dict of these: what the model takes.
        quantizer: what quantizes kernels that have no quantizer of their own: one of `named_quantizers.named`'s
            names, or a function from a (d, units) float32 array to another. None: sign for Keras's layers; the
            kernels of this package's continuous networks stay as they are.
        activations: the same for real inputs of layers, each channel first standardized over all images and
            positions, as a batch norm would; that takes a second pass. None: only inputs that a quantizer has
            made count as quantized.
        batch_size: images at a time. Memory depends on it alone; of the statistics `r_scores` does, if the model has
            batch norms.
        score_images: how many of the images `r_scores` is over, at most; it takes a pass over them for each layer.
            0: leave it out.
        seed: of the permutations, the sampled patches and the rotations.
        progress: wraps the iterable of batches, and the list of layers for `r_scores`, such as `tqdm`.

    Returns:
        Report

    Raises:
        QuantizerError: a quantizer's name is unknown.
        ReportError: no layer can be analysed, none takes the quantizer, a weight is not finite, or the images are
            not for this model.
    """
    quantizer, activations = _quantizer(quantizer), _quantizer(activations)
    n_images = check_images(model, images, batch_size)
    found, unanalysed = _products(model, quantizer)

    def stream():
        for start, batch in progress(capture.stream(model, found, images, batch_size)):
            yield start, min(batch_size, n_images - start), batch

    standards = _standards(stream(), found, activations) if activations else [None] * len(found)
    generators = np.random.default_rng(seed).spawn(len(found))
    layers = [
        LayerReport(p, n_images, rng, s) for p, rng, s in zip(found, generators, standards, strict=True)
    ]
    for start, count, batch in stream():
        for layer, calls in zip(layers, batch, strict=True):
            if layer.name not in unanalysed:
                _update(layer, start, count, calls, unanalysed)
    analysed = [layer for layer in layers if layer.name not in unanalysed]
    if not analysed:
        raise _nothing(model, unanalysed)
    if score_images:
        agreements = score_agreement(model, images, analysed, score_images, batch_size, progress)
        for layer, r in zip(analysed, agreements, strict=True):
            layer.r_scores = r
    return Report(analysed, unanalysed)


def check_images(model, images, batch_size=BATCH):
    """The number of images.

    Raises:
        ReportError: they are not of the shape that the model takes, not numbers, or not finite.
    """
    arrays = keras.tree.flatten(images)
    n = arrays[0].shape[0] if getattr(arrays[0], "shape", ()) else 0
    wanted = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or ()]
    if wanted and len(arrays) != len(wanted):
        raise ReportError(
            f"images: expected an array for each of {len(wanted)} inputs, received {len(arrays)}"
        )
    for array, shape in zip(arrays, wanted or [None] * len(arrays), strict=True):
        _check_array(array, shape, n, batch_size)
    return n


def _check_array(array, shape, n, batch_size):
    received = tuple(getattr(array, "shape", ()))
    wanted = received[1:] if shape is None else shape
    fits = len(received) == len(wanted) + 1 and all(map(_may_be, wanted, received[1:]))
    if not fits or received[0] != n or n == 0:
        expected = ", ".join(["n", *("any" if size is None else str(size) for size in wanted)])
        raise ReportError(f"images: expected shape ({expected}) with n >= 1, received {received}")
    for start in range(0, n, batch_size):
        part = np.asarray(array[start : start + batch_size])
        if part.dtype.kind not in "biuf":
            raise ReportError(f"images: expected numbers, received {part.dtype}")
        if not np.isfinite(part).all():
            raise ReportError(f"images: expected finite values, received {_first_bad(part)}")


def _may_be(wanted, size):
    return wanted in (None, size)


def _quantizer(choice):
    return named_quantizers.named(choice) if isinstance(choice, str) else choice


def _products(model, quantizer):
    """What can be analysed, and a dict of what cannot."""
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32"))
        if not np.isfinite(values).all():
            raise ReportError(f"{weight.path}: expected finite weights, received {_first_bad(values)}")
    found, refused = kernel_products.find(model, quantizer), kernel_products.refused(model)
    if not found:
        raise _nothing(model, refused)
    if quantizer is not None and all(product.quantizer is not quantizer for product in found):
        raise ReportError(
            f"{model.name}: expected kernels without a quantizer of their own, for the one given, received none"
        )
    return found, refused


def _nothing(model, unanalysed):
    reasons = "; ".join(f"{name} ({reason})" for name, reason in unanalysed.items()) or "none with a kernel"
    return ReportError(f"{model.name}: expected dense or convolution layers, received {reasons}")


def _first_bad(values):
    return values[~np.isfinite(values)].flat[0]


def _update(layer, start, count, calls, unanalysed):
    """Give a layer its batch, or note why it cannot take it."""
    if calls is None:
        unanalysed[layer.name] = "it is called in a compiled function, where values cannot be seen"
    elif not calls:
        unanalysed[layer.name] = "the model does not call it"
    else:
        try:
            layer.update(start, count, calls)
        except UnanalysableError as error:
            unanalysed[layer.name] = str(error)


def _standards(batches, found, quantizer):
    """For each product a function from its real inputs to (quantized, standardized) ones; None without inputs."""
    moments = [None] * len(found)
    for _, _, batch in batches:
        for i, calls in enumerate(batch):
            for inputs, _ in calls or ():
                channels = inputs.shape[-1]
                moments[i] = moments[i] or CoordinateMoments(channels)
                moments[i].update(inputs.reshape(-1, channels))
    return [None if m is None else _standard(m.mean, m.std, quantizer) for m in moments]


def _standard(mean, std, quantizer):
    scale = np.where(std > 0, std, 1).astype(np.float32)
    mean = mean.astype(np.float32)

    def standard(inputs):
        values = (inputs - mean) / scale
        return np.asarray(quantizer(values), np.float32), values

    return standard


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
    kernel = _matrix("kernel", kernel)
    inputs = _matrix("inputs", inputs, len(kernel))
    before = None if before is None else _matrix("before", before, len(kernel))
    if before is not None and len(before) != len(inputs):
        raise ReportError(f"before: expected {len(inputs)} rows, as inputs has, received {len(before)}")
    product = kernel_products.of_arrays(name, Dense(), kernel[:, None], _quantizer(quantizer))
    layer = LayerReport(product, len(inputs), np.random.default_rng(seed))
    for start in range(0, len(inputs), ROWS):
        rows = slice(start, start + ROWS)
        part = inputs[rows]
        layer.update(start, len(part), [(part, None if before is None else before[rows])])
    return layer


def _matrix(name, values, columns=None):
    values = np.asarray(values, np.float32)
    shape = "(d, units)" if columns is None else f"(n, {columns})"
    if values.ndim != 2 or not values.size or columns not in (None, values.shape[1]):
        raise ReportError(f"{name}: expected shape {shape}, received {values.shape}")
    if not np.isfinite(values).all():
        raise ReportError(f"{name}: expected finite values, received {_first_bad(values)}")
    return values


def accuracy(model, split, batch_size=500):
    """The fraction of a Split's images whose highest score is their label's."""
    scores = model.predict(split.images, batch_size=batch_size, verbose=0)
    return float(np.mean(scores.argmax(axis=1) == split.labels))


def table(rows):
    """Rows of `LayerReport.statistics` as text, a line each, under their headings."""
    columns = {
        "layer": "layer", "d": "d", "units": "units", "angle": "angle_mean_deg", "+-": "angle_std_deg",
        "theory": "angle_theory_deg", "rotated": "angle_rotated_deg", "r": "r_weights", "slope": "slope",
        "flips": "sign_flips", "permuted": "r_permuted", "predicted": "r_predicted", "r_act": "r_activations",
        "r_scores": "r_scores", "dim": "input_dimension", "sigma": "latent_std", "zeros": "zeros",
    }  # fmt: skip
    decimals = {"angle": 2, "+-": 2, "theory": 2, "rotated": 2, "slope": 4, "dim": 1, "sigma": 4}
    lines = [list(columns)]
    lines += [[cell(row[key], decimals.get(head, 3)) for head, key in columns.items()] for row in rows]
    return aligned(lines)
