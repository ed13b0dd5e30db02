"""What is analyzed: a model, a run or a path, with its images."""

import os
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

from bnn import datasets, runs
from bnn.analysis.checks import ReportError
from bnn.models import accuracy, load_images, load_model

IMAGES = 500  # test images of a run, the paper's number


@dataclass(frozen=True)
class Subject:
    """A model, the images that it is analyzed on, and where they come from.

    Attributes:
        model: keras.Model.
        images: (n, ...) array, or a list or dict of these.
        about: dict, what metrics.json begins with.
        log: rows of a run's log.csv; None for a model that is no run.
    """

    model: Any
    images: Any
    about: dict = field(default_factory=dict)
    log: list | None = None


def find(network, images=None, data_dir=None):
    """The Subject of what a user gives; arguments and errors as for `report.analyze`."""
    if isinstance(network, str | os.PathLike):
        path = Path(network)
        if path.suffix == ".keras" or path.is_file():
            model = load_model(path)
            return Subject(model, _given(images, model), {"model": str(path)})
        network = runs.open_run(path)
    if isinstance(network, runs.Run):
        return _of_run(network, images, data_dir)
    return Subject(network, _given(images, network))


def _of_run(run, images, data_dir):
    data_set, log = datasets.load(run.training.data_set, data_dir), run.log()
    if images is None or isinstance(images, Integral):
        images = data_set.test.images[: _count(images, len(data_set.test))]
    model = run.load_model("best")
    run.expect_fit(data_set)
    about = {
        "run": str(run.folder), "network": run.model.kind, "origin": run.origin(data_set),
        "test_accuracy": accuracy(model, data_set.test), "test_images": len(data_set.test),
        "data_set": data_set.name, "data_digest": data_set.digest,
    }  # fmt: skip
    return Subject(model, _given(images, model), about, log)


def _count(images, most):
    if images is None:
        return min(IMAGES, most)
    if not 0 < images <= most:
        raise ReportError(f"images: expected 1 to the {most} test images, received {images}")
    return images


def _given(images, model):
    """Images as they are, or from the file that a path names."""
    if images is None or isinstance(images, Integral):
        raise ReportError(f"images: expected what the model takes, or a file of it, received {images}")
    return load_images(images, model) if isinstance(images, str | os.PathLike) else images
