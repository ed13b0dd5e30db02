"""Classes and scores of images, by a run, a model or a packed network, from arrays or from files."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from bnn import backend
from bnn.console.arguments import expanded
from bnn.console.errors import ModelError, RunError
from bnn.console.spelling import either

FEW = 10  # images; for so few, NumPy takes less time than loading numba
PIXELS = (0.0, 1.0)  # black and white in float images, unless a run names another range


PredictionError = ModelError  # its name in earlier versions


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result of `predict`. It can be unpacked: `classes, scores = bnn.predict(run, images)`.

    Attributes:
        classes: (n,) int array, the index of the class with the highest score.
        scores: (n, classes) float32 array.
        class_names: tuple of str, in the order of the scores.
        sources: list of str: the file of each image, with the index in a file of several, or "images[i]" of an array.
    """

    classes: np.ndarray
    scores: np.ndarray
    class_names: tuple
    sources: list

    def __iter__(self):
        return iter((self.classes, self.scores))

    @property
    def names(self):
        """The name of the class of each image, a list of str."""
        return [self.class_names[i] for i in self.classes]

    @property
    def margins(self):
        """The differences of the two highest scores, (n,) float64; see `models.margins`."""
        from bnn.models.decisions import margins

        return margins(self.scores)


def predict(network, images, *, resize=False):
    """Classify images.

    A run is computed in float32, as by every program, and takes images as `bnn predict` does: pixels from 0 to 255, or
    floats in the range of the run, by default from 0 to 1. So do a packed network and a model of this package. Another
    model takes arrays as they are.

    Args:
        network: Run, keras.Model or PackedNetwork, or the str or Path of a run directory, a .keras or a packed file.
        images: (n, height, width, channels) array, or one image of it without the first axis; gray images may lack the
            last one. Or the str or Path of a PNG, JPEG or .npy file, or of a folder of these; or a list of such paths.
        resize: bool, whether to scale images of another size, and to convert color to gray for a network of gray
            images; arrays that are taken as they are stay.

    Returns:
        Prediction

    Raises:
        ModelError: the network is none of these, or gives no scores of classes.
        DataError: images have another shape or range, or a file is missing or damaged.
        RunError, ModelError, PackError: the network cannot be read, or does not take the images.
    """
    classifier, paths = classifier_of(network), _paths(images)
    if paths is None and classifier.takes_any_array:
        scores = classifier.scores(images)
        sources = [f"images[{i}]" for i in range(len(scores))]
    else:
        from bnn.datasets import pictures

        given = [_array(images)] if paths is None else pictures.find(paths)
        shape, image_range = classifier.shape, classifier.image_range
        sources, scores = [], []
        for names, part in pictures.parts(given, shape, resize, image_range):
            sources += names
            scores.append(classifier.scores(part))
        scores = np.concatenate(scores)
    return Prediction(scores.argmax(axis=1), scores, classifier.names_for(scores), sources)


@dataclass(frozen=True)
class Classifier:
    """A network, and how its images are read.

    Attributes:
        shape: tuple, of an image.
        class_names: tuple of str; None: the numbers of the classes.
        image_range: see `pictures.parts`.
        scores: function from (n, *shape) images to (n, classes) scores.
        takes_any_array: whether arrays are given to the network as they are.
    """

    shape: tuple
    class_names: tuple | None
    image_range: tuple | None
    scores: Callable
    takes_any_array: bool = False

    def names_for(self, scores):
        """Return the names of the classes that scores are of."""
        return self.class_names or tuple(map(str, range(scores.shape[1])))


def classifier_of(network):
    """Return the Classifier of a network; arguments and errors as for `predict`."""
    from bnn import runs
    from bnn.packed.network import PackedNetwork

    if isinstance(network, str | os.PathLike):
        return _opened(expanded(network))
    if isinstance(network, runs.Run):
        return _of_run(network)
    if isinstance(network, PackedNetwork):
        return _of_packed(network)
    return _of_model(network)


def _opened(path):
    from bnn import models, packed, runs
    from bnn.models.loading import OTHER_MODELS

    if path.is_dir() or not path.exists():
        return _of_run(runs.open_run(path))
    if path.suffix in (".keras", *OTHER_MODELS):
        backend.expect_installed()
        backend.load()
        return _of_model(models.load_model(path))
    return _of_packed(packed.PackedNetwork.load(path))


def expect_images(run):
    """Raise `RunError` for a run that was trained on text, which has no images to classify."""
    if run.config.inputs.are_tokens:
        how = either("--prompt TEXT continues a text", "bnn.generate continues a text")
        raise RunError(
            f"{run.folder}: expected a run that was trained on images, received one on the text of "
            f"{run.training.data_set}; {how}"
        )


def _of_run(run):
    from bnn import models

    expect_images(run)
    backend.expect_installed()
    network = run.load_in_float32()
    image_range = run.training.image_range
    return Classifier(
        run.config.inputs.input_shape,
        run.class_names,
        image_range,
        lambda images: models.scores(network, images),
    )


def _of_packed(network):
    from bnn import bits

    def scores(images):
        with bits.numpy_alone() if len(images) <= FEW else nullcontext():
            return network.scores(images)

    return Classifier(network.input_shape, network.class_names, network.image_range, scores)


def _of_model(model):
    backend.expect_installed()
    backend.load()
    import keras

    from bnn import models

    if not isinstance(model, keras.Model):
        raise ModelError(
            "network: expected a run, a keras.Model, a packed network or the path of one, received "
            f"{type(model).__name__}"
        )

    def scores(images):
        found = models.scores(model, images)
        if found.ndim != 2:
            raise ModelError(
                f"network: expected a model with the scores of classes (n, classes), received one whose output has the "
                f"shape {found.shape}"
            )
        return found

    shape = getattr(model, "input_shape", None)
    shape = tuple(shape[1:]) if isinstance(shape, tuple) else ()
    # A model of this package takes pixels. Keras would cast floats from 0 to 1 to zeros.
    pixels = len(shape) == 3 and len(model.inputs) == 1 and model.inputs[0].dtype == "uint8"
    return Classifier(shape, None, PIXELS if pixels else None, scores, takes_any_array=not pixels)


def _array(images):
    try:
        return np.asarray(images)
    except ValueError:
        raise ModelError(
            "images: expected one array, or paths, received a list of different shapes"
        ) from None


def _paths(images):
    """Return a list of Paths if images are given by path, else None."""
    images = [images] if isinstance(images, str | os.PathLike) else images
    if isinstance(images, list | tuple) and images and all(isinstance(p, str | os.PathLike) for p in images):
        return [expanded(path) for path in images]
    return None
