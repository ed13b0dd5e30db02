"""The gradients of a PyTorch model's scores with respect to the weights by which its modules multiply."""

from contextlib import contextmanager, nullcontext

import numpy as np

from bnn.analysis.core import outputs
from bnn.analysis.core.agreement import other_kernel, taken
from bnn.analysis.core.cost import Source
from bnn.analysis.torch import capture
from bnn.analysis.torch.forms import STORED, array


class Gradients(Source):
    """One backward pass per image of a model in evaluation mode; see `core.cost.costs`.

    Args:
        model: torch.nn.Module.
        images: array, or a list, tuple or dict of arrays.
        weights: list of `forms.Weight`, or None where there is no gradient.
    """

    def __init__(self, model, images, weights):
        self.images = images
        self._model, self._weights = model, weights

    def run(self, chosen):
        """Return the output for some images, a dict from path to tensor."""
        return outputs.tensors(capture.run(self._model, taken(self.images, chosen)))

    def array(self, tensor):
        """Return a tensor of the output as a float32 array."""
        return array(tensor)

    def of(self, image, paths, upstream):
        """Return the gradients for one image; see `keras.gradients.Gradients.of`."""
        import torch

        parameters = list({id(w.parameter): w.parameter for w in self._weights if w is not None}.values())
        needed = [parameter.requires_grad for parameter in parameters]
        try:
            for parameter in parameters:
                parameter.requires_grad_(True)
            with torch.enable_grad():
                found = self.run([image])
                scores = [found[path] for path in paths]
                above = [torch.from_numpy(upstream(array(score))).to(score) for score in scores]
                pulled = torch.autograd.grad(scores, parameters, above, allow_unused=True)
        finally:
            for parameter, before in zip(parameters, needed, strict=True):
                parameter.requires_grad_(before)
        gradients = {id(p): g for p, g in zip(parameters, pulled, strict=True)}
        return [None if w is None else _rows(gradients[id(w.parameter)], w.rows) for w in self._weights]


def _rows(gradient, rows):
    return None if gradient is None else array(gradient if rows is None else gradient[rows])


def source_of(product):
    """Return the `forms.Weight` of a Product if its module multiplies by it as it is stored, else None."""
    return product.variable if is_replaceable(product) else None


def is_replaceable(product):
    """Whether the module of a product multiplies by its weight as it is stored."""
    return product.variable.role == STORED


def as_multiplied(layers):
    """Return a context without an effect: modules multiply by the weights that are replaceable."""
    return nullcontext()


def shape_of(product):
    """Return the shape of the weight of a product, a tuple of int."""
    return tuple(product.variable.tensor.shape)


def change_of(layer):
    """Return what turns the weight of a module into the quantized kernel, in the shape of the weight."""
    product = layer.product
    change = other_kernel(layer, True) - product.kernels.latent
    return np.ascontiguousarray(product.in_shape(change, shape_of(product)))


def assign(products, kernels):
    """Make a model multiply by other kernels; see `keras.gradients.assign`."""
    import torch

    for product, kernel in zip(products, kernels, strict=True):
        weight = product.variable.tensor
        values = np.ascontiguousarray(product.in_shape(kernel, shape_of(product)))
        with torch.no_grad():
            weight.copy_(torch.from_numpy(values))


@contextmanager
def kernels_restored(products):
    """Give the weights of products their values back at the end of this context."""
    import torch

    weights = [product.variable.tensor for product in products]
    before = [weight.clone() for weight in weights]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, values in zip(weights, before, strict=True):
                weight.copy_(values)
