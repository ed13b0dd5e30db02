"""The gradients of a Keras model's scores with respect to the kernels by which its layers multiply."""

from contextlib import ExitStack, contextmanager

import keras
import numpy as np
from keras import ops

from bnn.analysis.core import outputs
from bnn.analysis.core.agreement import other_kernel, taken
from bnn.analysis.core.cost import Source
from bnn.analysis.keras.products import float32
from bnn.layers.latent import latent_kernel
from bnn.models.inputs import as_built


class Gradients(Source):
    """One backward pass per image of a model in inference; see `core.cost.costs`.

    Args:
        model: keras.Model, whose layers multiply by their variables; see `as_multiplied`.
        images: (n, ...) array, or a list or dict of such arrays.
        variables: list of keras.Variable or None, for which there is no gradient.
    """

    def __init__(self, model, images, variables):
        self.images = images
        self._model, self._variables = model, variables
        self._places = [place for place, variable in enumerate(variables) if variable is not None]

    def run(self, chosen):
        """Return the output for some images, a dict from path to tensor."""
        return outputs.tensors(self._model(self._batch(chosen), training=False))

    def array(self, tensor):
        """Return a tensor of the output as a float32 array."""
        return float32(tensor)

    def of(self, image, paths, upstream):
        """Return the gradients for one image, a list of arrays; None without a variable or without influence.

        Args:
            image: int, its index.
            paths: list of the outputs that are scores.
            upstream: function from the scores of an output, a float32 array, to the gradient with respect to them.
        """
        values = [self._variables[place].value for place in self._places]
        pull = _pull_jax if keras.backend.backend() == "jax" else _pull_tensorflow
        found = pull(self, values, self._batch([image]), paths, upstream)
        gradients = [None] * len(self._variables)
        for place, gradient in zip(self._places, found, strict=True):
            gradients[place] = None if gradient is None else np.asarray(gradient)
        return gradients

    def _batch(self, chosen):
        return as_built(self._model, taken(self.images, chosen))

    def tensors(self, batch, paths):
        """Return the scores of a batch, a list of tensors."""
        found = outputs.tensors(self._model(batch, training=False))
        return [found[path] for path in paths]

    def tensors_of(self, values, batch, paths):
        """Return the scores with other values of the variables, for JAX."""
        mapping = zip((self._variables[place] for place in self._places), values, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            return self.tensors(batch, paths)


def _pull_tensorflow(gradients, values, batch, paths, upstream):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for value in values:
            tape.watch(value)
        scores = gradients.tensors(batch, paths)
    above = [tf.cast(upstream(float32(score)), score.dtype) for score in scores]
    found = tape.gradient(scores, values, above)
    return [None if g is None else tf.convert_to_tensor(g).numpy().astype(np.float32) for g in found]


def _pull_jax(gradients, values, batch, paths, upstream):
    import jax

    scores, pull = jax.vjp(lambda values: gradients.tensors_of(values, batch, paths), values)
    return pull([jax.numpy.asarray(upstream(float32(score)), score.dtype) for score in scores])[0]


@contextmanager
def as_multiplied(layers):
    """Within this context, the kernels of layers with a quantizer of their own are the quantized ones.

    The network computes the same, and the gradient is that with respect to the kernel by which a layer multiplies.

    Args:
        layers: list of LayerGeometry or LayerReport of a Keras model.
    """
    with ExitStack() as stack:
        for layer in layers:
            if layer.product.variable is not None:
                stack.enter_context(_multiplied(layer.product))
        yield


@contextmanager
def _multiplied(product):
    kernel = latent_kernel(product.layer, product.variable)
    if kernel is None or kernel.quantizer is None:
        yield
        return
    with restored([product.variable]):
        product.variable.assign(kernel.quantized())
        setattr(product.layer, kernel.setting, None)
        try:
            yield
        finally:
            setattr(product.layer, kernel.setting, kernel.quantizer)


def change_of(layer):
    """Return what turns the kernel by which a layer multiplies into its other one, in the shape of the variable.

    Args:
        layer: LayerGeometry or LayerReport; see `core.agreement.other_kernel`.
    """
    product = layer.product
    kernel = latent_kernel(product.layer, product.variable)
    own = kernel is not None and kernel.quantizer is not None
    present = product.kernels.quantized if own else product.kernels.latent
    return product.in_shape(other_kernel(layer, not own) - present, product.variable.shape)


def is_replaceable(product):
    """Whether a kernel is a variable by which its layer multiplies, without a quantizer of the layer's own."""
    if product.variable is None:
        return False
    kernel = latent_kernel(product.layer, product.variable)
    return kernel is None or kernel.quantizer is None


def assign(products, kernels):
    """Make a model multiply by other kernels.

    Args:
        products: list of Product that are replaceable.
        kernels: list of arrays in the form of `Product.kernels`.
    """
    for product, kernel in zip(products, kernels, strict=True):
        product.variable.assign(product.in_shape(kernel, product.variable.shape))


def source_of(product):
    """Return the variable of a product with respect to which there is a gradient, or None."""
    return product.variable


def shape_of(product):
    """Return the shape of the variable of a product, a tuple of int."""
    return tuple(product.variable.shape)


def kernels_restored(products):
    """Return a context at whose end the variables of products have their values back."""
    return restored([product.variable for product in products])


@contextmanager
def restored(variables):
    """Restore the values of variables at the end of this context."""
    values = [ops.copy(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
