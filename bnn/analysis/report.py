"""The geometry of a network: statistics of a model, a run or arrays, one row per kernel."""

import os
import sys
from importlib import import_module

from bnn import backend
from bnn.analysis.core import fitting, measuring
from bnn.analysis.core.checks import ReportError, checked_labels
from bnn.analysis.core.report import Report, Subject
from bnn.console import silent
from bnn.models.inputs import count

ADAPTERS = {"keras": "bnn.analysis.keras", "torch": "bnn.analysis.torch"}  # see `core.adapter.Wing`


def analyze(
    network,
    images=None,
    *,
    quantizer=None,
    activations=None,
    kernel=None,
    batch_size=50,
    score_images=100,
    cost_images=0,
    labels=None,
    seed=0,
    data_dir=None,
    progress=silent,
):
    """Measure the geometry of every layer of a network that has a kernel, in one pass over the images.

    The inputs of each layer are recorded at every call, also for shared layers, nested models and models that are not
    a graph. Biases and activation functions are not part of the dot products. A separable convolution counts as two
    layers, and so does a recurrent layer: its inputs and its states. Rows that a mask removes leave the statistics.
    Layers of this package keep their own quantizers.

    Of PyTorch, the analyzed kernels are those of Linear, Conv1d to Conv3d and ConvTranspose1d to ConvTranspose3d; the
    query, key, value and output of MultiheadAttention; and the input and recurrent weights of RNN, LSTM and GRU with
    one layer. For Embedding, only the angles are given. A module of another class is analyzed if its output is, or
    holds, its input times its `weight`, (units, d) as in Linear or (d, units) as in GPT-2's Conv1D, with or without its
    `bias`. Every other module that holds a weight, or 16 or more numbers in parameters, buffers or attributes, is named
    in `Report.unanalyzed`, except norms and biases. The model runs in evaluation mode, without gradients and without
    `torch.compile`, and is not changed. Keras is not needed for it.

    A PyTorch module whose `forward` quantizes its own weight is analyzed if `kernel` recognizes it, or if the quantizer
    is a parametrization of its weight (`torch.nn.utils.parametrize`). Its output must be, or hold, its input times the
    quantized kernel, with or without its bias; so inputs must be quantized in another module.

    Args:
        network: keras.Model, torch.nn.Module, Run, or str or Path of a run directory or a .keras file. For a run, the
            network with the best validation accuracy is analyzed.
        images: (n, ...) array, or a list or Mapping of arrays: the inputs of the model, matched by name in a Mapping
            and in the order of `model.inputs` in a list, with None for an optional input that is left out; or the path
            of a .npy or .npz file, see `models.load_images`. For a run also an int, the number of test images to use,
            or None: the first 500, as in the paper. On user data, arrays may have any form that training takes:
            gray images without an axis of channels, and floats in the range of the run. For PyTorch, arrays or tensors:
            the positional or keyword arguments of the model, images first. A Mapping may also hold lists of numbers,
            and None. They are converted to the device and the precision of its parameters.
        quantizer: quantizer of kernels that have none: a name that `bnn.geometry.estimators.get` accepts, or a function
            from a (d, units) float32 array to an array of the same shape; or "fitted" for signs, "fitted:3" for three
            levels, and so on, which are fitted to the inputs of each layer, times a scale per unit. One half of the
            images, drawn at random, is for the fit, and every statistic is of the other half. None: sign; kernels of
            this package's continuous networks are not quantized.
        activations: the same for real inputs of layers. Each channel is first standardized over all images and
            positions, as by a batch norm, which takes a second pass. None: only outputs of a quantizer count as
            quantized inputs.
        kernel: for PyTorch, a function from a module to (quantized, latent), tensors in the shape of its weight, of
            which it multiplies by the first; to one tensor, by which it multiplies and which `quantizer` is to
            quantize, such as a standardized weight; and to None for modules that multiply by their weight.
        batch_size: images per batch. No statistic depends on it. Memory depends on this, and on `score_images` if the
            model has batch norms: `r_scores` then takes batches of its own, of at most 50 images.
        score_images: largest number of images, drawn at random, for `r_scores`, which takes one pass over them per
            layer. 0: do not measure `r_scores`. With one image and batch norms it is NaN.
        cost_images: largest number of images, drawn at random, for `cost`, which takes one backward pass for each
            image. 0: do not measure `cost`.
        labels: (images,) array_like of int, the classes of the images, for `cost`. None: classes are drawn from the
            network's own predictions, as the theory of `cost` has it.
        seed: seed of the permutations, the sampled patches, the rotations and the images for `r_scores`.
        data_dir: folder of the data sets, for a run. None: the default folder.
        progress: shows progress over batches, and over layers for `r_scores`: `console.progress`, or a function with
            the same arguments.

    Returns:
        Report. Of PyTorch, r_rotated is NaN for modules with their own quantizer, unless it is the sign. r_scores is
        None for a weight that is computed from others, as by weight norm. Where modules share a weight, r_scores
        replaces it in the calls of one of them. Which axis of a module's inputs is that of the images, such as the
        second in layers with `batch_first=False`, is found with two small batches; inputs without such an axis have no
        row.

    Raises:
        ConfigError: the name of a quantizer is unknown.
        ReportError: the network is none of these, no layer can be analyzed, the quantizer applies to none, a weight or
            an input is not finite, or the images do not fit the model; or a PyTorch model has no hooks (a scripted
            model), no weights yet (a lazy module) or no values (the meta device).
        RunError, DataError, ModelError: the run, its data or the file cannot be read.
    """
    function = measuring.as_function(quantizer)
    activated = measuring.as_function(activations, "activations")
    subject = subject_of(network, images, data_dir)
    with wing(subject.model).adapted(subject.model, subject.images, function, kernel, batch_size) as adapter:
        measuring.check_quantizer(adapter, function, quantizer)
        labels = checked_labels(labels, adapter.images)
        halves = None
        if isinstance(function, fitting.Fitted):
            halves = fitting.fit(adapter, function, batch_size, seed, progress)
            labels = None if labels is None else labels[halves[1]]
        options = {
            "score_images": score_images,
            "cost_images": cost_images,
            "labels": labels,
            "seed": seed,
            "progress": progress,
        }
        layers, undefined = measuring.of_adapter(adapter, activated, batch_size, **options)
    more = {}
    if halves:
        more["fitted_images"] = len(halves[0])
        undefined["r_rotated"] = fitting.NO_ROTATION
    return finished(subject, adapter, layers, undefined, quantizer, activations, **more)


def subject_of(network, images, data_dir, right=None):
    """Return the Subject of the first arguments of `analyze`; for `right` see `subject.find`."""
    if isinstance(network, str | os.PathLike) or _is_run(network):
        backend.load()
        from bnn.analysis import subject

        return subject.find(network, images, data_dir, right)
    return Subject(network, images)


def finished(subject, adapter, layers, undefined, quantizer, activations, **more):
    """The Report of what was measured: `layers` and `undefined` are the result of `measuring.of_adapter`."""
    about = subject.about | {
        "quantizer": name_of(quantizer),
        "activations": name_of(activations),
        "images": count(adapter.images),
    }
    return Report(layers, adapter.unanalyzed, about | more, subject.log, subject.history, undefined)


def analyze_torch(model, inputs, **options):
    """Measure a PyTorch model: the former name of `analyze`, which recognizes one.

    Args:
        model: torch.nn.Module.
        inputs: `images` of `analyze`.
        **options: as for `analyze`.

    Returns:
        Report

    Raises:
        ReportError: it is no torch.nn.Module, or as for `analyze`.
    """
    if not _is_of("torch", model):
        raise ReportError(f"model: expected a torch.nn.Module, received a {type(model).__name__}")
    return analyze(model, inputs, **options)


def _is_run(network):
    """Whether it is a Run; there is none unless the module of that class has been imported."""
    directory = sys.modules.get("bnn.runs.directory")
    return directory is not None and isinstance(network, directory.Run)


def _is_of(framework, model):
    """Whether a model is one of a framework; one that is not loaded is not asked, because it cannot have made it."""
    return sys.modules.get(framework) is not None and import_module(ADAPTERS[framework]).accepts(model)


def framework(model):
    """The key of `ADAPTERS` for the framework of a model; None if it is of none."""
    return next((name for name in ADAPTERS if _is_of(name, model)), None)


def wing(model):
    """The `core.adapter.Wing` of the framework of a model."""
    name = framework(model)
    if name is None:
        raise ReportError(
            "network: expected a Keras model, a PyTorch module, a run or the path of a run or a .keras file, received "
            f"a {type(model).__name__}"
        )
    return import_module(ADAPTERS[name])


def from_arrays(kernel, inputs, *, quantizer="sign", before=None, name="kernel", seed=0):
    """Measure the geometry of one kernel from any library.

    Args:
        kernel: (d, units) array_like, latent weights.
        inputs: (n, d) array_like, the inputs of the layer; quantized values if the layer's inputs are quantized.
        quantizer: as for `analyze`; None: sign. Levels are fitted to one half of the rows and measured on the other.
        before: (n, d) array_like, the inputs before they were quantized; None if the inputs are real.
        name: str, name of the kernel.
        seed: seed of the permutations, the sampled patches and the rotation.

    Returns:
        LayerReport. Each row of `inputs` counts as one image: permutations are within a row.

    Raises:
        ConfigError: the quantizer's name is unknown.
        ReportError: shapes do not fit, or a value is not finite.
    """
    return measuring.of_arrays(kernel, inputs, quantizer, before, name, seed)


def name_of(quantizer):
    """Return the name of a quantizer, or None, for metrics.json."""
    if quantizer is None or isinstance(quantizer, str):
        return quantizer
    return getattr(quantizer, "__name__", type(quantizer).__name__)
