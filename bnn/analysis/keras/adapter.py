"""A Keras model as the analysis sees it."""

import json
import os
from numbers import Integral

import keras
from keras import ops

from bnn.analysis.core.adapter import Replacing
from bnn.analysis.core.checks import ReportError, check_finite, check_images
from bnn.analysis.keras import capture, gradients, kernels, scores
from bnn.analysis.keras.products import float32
from bnn.console.errors import ModelError
from bnn.console.spelling import argument
from bnn.models import load_images, walk
from bnn.models.inputs import as_built


class KerasAdapter(Replacing):
    """A Keras model with its images; see `core.adapter.Adapter`."""

    wing = gradients

    def __init__(self, model, images, quantizer, kernel, batch_size):
        """Find the kernels of a model, and check its weights and the images; arguments as of `core.adapter.Wing`."""
        if kernel is not None:
            raise ReportError(
                f"{argument('kernel')}: expected None for a Keras model, whose layers name their quantizers; it is for "
                "modules of PyTorch"
            )
        self.model, self.name = model, model.name
        self.use(images, batch_size)
        _check_weights(model)
        self.products = kernels.find(model, quantizer)
        self.unanalyzed = kernels.refused(model, self.products)

    def use(self, images, batch_size):
        """Check images, and let them replace those before; see `core.adapter.Adapter`."""
        self.images = given(images, self.model)
        check_images(self.model, self.images, batch_size)

    def stream(self, batch_size):
        """Run the model on the images, and yield the calls of its kernels; see `core.adapter.Adapter`."""
        return capture.stream(self.model, self.products, self.images, batch_size)

    def identity(self):
        """Describe the model; see `core.adapter.Adapter`."""
        yield _described(self.model)
        yield from (float32(weight) for weight in self.model.weights)

    def score_agreement(self, layers, n, batch_size, seed, progress):
        """Compare scores with and without one quantizer; see `scores.score_agreement`."""
        return scores.score_agreement(self.model, self.images, layers, n, batch_size, seed, progress)


def given(images, model):
    """Return what a user gave in the structure of the model's inputs; it is loaded if it is a path."""
    if images is None or isinstance(images, Integral):
        raise ReportError(f"images: expected arrays for the model, or a file with them, received {images}")
    arrays = load_images(images, model) if isinstance(images, str | os.PathLike) else images
    try:
        return as_built(model, arrays)
    except ModelError as error:
        raise ReportError(str(error)) from None


def _described(model):
    """The layers of a model as text; their classes alone if one cannot be described."""
    try:
        described = keras.saving.serialize_keras_object(model)["config"]
        return json.dumps(described, sort_keys=True)
    except Exception:  # of a layer of the user, which has no config, or one that is no JSON
        return " ".join(type(layer).__name__ for _, layer in walk(model))


def _check_weights(model):
    for weight in model.weights:
        check_finite(weight.path, ops.convert_to_numpy(ops.cast(weight, "float32")), "weights")
