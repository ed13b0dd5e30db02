"""The subject of an analysis: a model, a run or a path, with images."""

import os
from numbers import Integral

import numpy as np

from bnn import runs
from bnn.analysis.core.checks import ReportError
from bnn.analysis.core.report import Subject
from bnn.analysis.keras import geometry_log
from bnn.console.arguments import expanded
from bnn.datasets import own
from bnn.datasets.catalog import ARRAYS, is_own
from bnn.models import accuracy, cross_entropy, load_images, load_model, scores
from bnn.models.loading import is_model_file

IMAGES = 500  # number of test images of a run, as in the paper


def find(network, images=None, data_dir=None, right=None):
    """Return the Subject for a Run or a path; arguments and errors as in `report.analyze`.

    `right` is the number of test images that the run classifies correctly; None: classify them.
    """
    if isinstance(network, str | os.PathLike):
        path = expanded(network)
        if is_model_file(path):
            return Subject(load_model(path), images, {"model": str(path)})
        network = runs.open_run(path)
    return _of_run(network, images, data_dir, right)


def _of_run(run, images, data_dir, right):
    log, history = run.log(), geometry_log.read(run.folder)
    if run.training.data_set == ARRAYS and images is not None and not isinstance(images, Integral):
        model = run.load_in_float32()
        about = {"run": str(run.folder), "network": run.kind, "origin": "trained on arrays"}
        about["precision"] = "float32"
        return Subject(model, _as_trained(run, _loaded(images, model)), about, log, history)
    data_set = run.load_data(data_dir)
    if images is None or isinstance(images, Integral):
        images = data_set.test.images[: _count(images, len(data_set.test))]
    model = run.load_in_float32()
    run.expect_fit(data_set)
    about = {
        "run": str(run.folder),
        "network": run.kind,
        "origin": run.origin(data_set),
        **_of_test(model, data_set.test, right),
        "precision": "float32",
        "data_set": data_set.name,
        "data_digest": data_set.digest,
    }
    return Subject(model, _as_trained(run, _loaded(images, model)), about, log, history, data_set.test)


def _of_test(model, test, right):
    """The accuracy on a Split, and its size; of text also the loss in nats per character."""
    if test.unit == "sequence":
        found = scores(model, test.images)
        hits = float(np.mean(found.argmax(axis=-1) == test.labels))
        loss = {"test_loss": cross_entropy(found, test.labels), "test_characters": test.labels.size}
        return {"test_accuracy": hits, "test_images": len(test), **loss}
    hits = accuracy(model, test) if right is None else right / len(test)
    return {"test_accuracy": hits, "test_images": len(test)}


def _as_trained(run, images):
    """Return the user's images in the form that they have in training: with an axis of channels, and as pixels."""
    if not (is_own(run.training.data_set) and isinstance(images, np.ndarray)):
        return images
    gray = images.ndim == 3 and run.config.inputs.input_shape[-1] == 1
    return own.pixels("images", images[..., None] if gray else images, run.training.image_range)


def _count(images, most):
    if images is None:
        return min(IMAGES, most)
    if not 0 < images <= most:
        raise ReportError(f"images: expected 1 to the {most} test images, received {images}")
    return images


def _loaded(images, model):
    return load_images(images, model) if isinstance(images, str | os.PathLike) else images
