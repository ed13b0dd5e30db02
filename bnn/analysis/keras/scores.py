"""The effect of one layer's quantizer on the scores of a Keras model."""

from collections import Counter
from contextlib import contextmanager

from bnn.analysis.core.agreement import ONE_IMAGE, agreements, drawn, other_kernel, taken, unmeasured
from bnn.analysis.keras.gradients import restored
from bnn.analysis.keras.products import float32
from bnn.console import silent
from bnn.layers.latent import latent_kernel
from bnn.models.batch_norm import batch_norms
from bnn.models.inputs import as_built
from bnn.models.traversal import own_weights, walk, wrapped_calls


def score_agreement(model, images, layers, n=100, batch_size=50, seed=0, progress=silent):
    """Correlate the scores of a model with its scores after the kernel of one layer has been replaced.

    A real kernel is replaced by its quantized kernel. If the layer itself quantizes its kernel, the latent kernel
    replaces the quantized one. The new kernel is scaled by the slope of the least-squares line through the layer's
    dot products. Batch norm uses the moments of each batch before and after the replacement, or its usual moments
    if it is frozen. Over the layers of six networks that were trained in full precision, this correlation ranked
    the loss of accuracy. The statistics of a layer's own dot products did not: see results/experiments/README.md.

    Args:
        model: keras.Model. It is restored afterwards.
        images: (n, ...) array, or a list or dict of such arrays.
        layers: list of LayerGeometry or LayerReport of the model, with data.
        n: int, the largest number of images to use. They are drawn at random and in random order, because a batch of
            one class has other moments than all images.
        batch_size: int, the largest number of images per batch of a network without batch norm. With batch norm, the
            batches are as equal as possible and hold at most 50 images, because the scores depend on them.
        seed: int, the seed of the draw.
        progress: function that shows progress over the layers, such as `console.progress`.

    Returns:
        Agreements. Each value is a float in [-1, 1], the correlation over all scores of all drawn images, as the mean
        over those outputs of the model that are scores, see `outputs.scores`, and that vary. If an image has more than
        1,000 scores in an output, evenly spaced scores are used. The value is NaN if there are no such outputs, if the
        scores do not vary after the replacement, or if there are batch norms and one image; None if the kernel is not a
        variable that can be replaced; and 1 if the kernel is not quantized.
    """
    norms = [norm for norm in batch_norms(model) if norm.trainable]
    batches = drawn(images, n, batch_size, seed, norms)
    exchanged = _exchange(model)
    if batches is None:
        return unmeasured(layers, exchanged, ONE_IMAGE)

    def run(chosen):
        return model(as_built(model, taken(images, chosen)), training=False)

    with _own_moments(norms):
        return agreements(layers, run, batches, exchanged, float32, progress)


def _exchange(model):
    """Return the function that gives, for a layer, the context of its other kernel, or None without a variable."""
    holders = Counter(id(weight) for _, layer in walk(model) for weight in own_weights(layer))

    def exchanged(layer):
        owner, variable = layer.product.layer, layer.product.variable
        if variable is None:
            return None
        return _in_calls(owner, layer) if holders[id(variable)] > 1 else _replaced(layer)

    return exchanged


def _in_calls(owner, layer):
    """Return the context in which a layer multiplies by its other kernel while others keep the variable they share."""

    def wrap(_, call):
        def called(*args, **options):
            with _replaced(layer):
                return call(*args, **options)

        return called

    return wrapped_calls([owner], wrap)


@contextmanager
def _replaced(layer):
    """Make the model multiply by the layer's other kernel within this context."""
    owner, variable = layer.product.layer, layer.product.variable
    kernel = latent_kernel(owner, variable)
    own = kernel and kernel.quantizer
    with restored([variable]):
        variable.assign(layer.product.in_shape(other_kernel(layer, own is None), variable.shape))
        if own is not None:
            setattr(owner, kernel.setting, None)
        try:
            yield
        finally:
            if own is not None:
                setattr(owner, kernel.setting, own)


@contextmanager
def _own_moments(norms):
    """Make every batch norm use the moments of the batch within this context, with all other layers in inference."""

    def in_training(_, call):
        return lambda inputs, training=False, **options: call(inputs, training=True, **options)

    with restored([v for norm in norms for v in norm.variables]), wrapped_calls(norms, in_training):
        yield
