"""A Keras model and its quantized copy."""

from collections import Counter
from contextlib import contextmanager

import keras
import numpy as np

from bnn.analysis.core import outputs
from bnn.analysis.core.agreement import taken
from bnn.analysis.core.checks import ReportError
from bnn.analysis.keras import kernels
from bnn.analysis.keras.adapter import KerasAdapter
from bnn.analysis.keras.products import float32
from bnn.geometry.named_quantizers import SIGN
from bnn.models import altered_copy, refit_batch_norm
from bnn.models.batch_norm import batch_norms
from bnn.models.inputs import as_built, count
from bnn.models.traversal import SEPARABLE, own_weights, walk, wrapped_calls


@contextmanager
def opened(model, images, batch_size):
    """The KerasNetwork of a model with its images; see `layerwise`."""
    yield KerasNetwork(model, images, batch_size)


class KerasNetwork:
    """A Keras model and its copy, whose kernels are replaced one after the other.

    Attributes:
        copy: keras.Model.
        adapters: pair of KerasAdapter, of the model and of the copy.
        images: the inputs of the model.
        norms: bool, whether there are batch norms.
    """

    def __init__(self, model, images, batch_size):
        """Copy a model, and check it and the images."""
        first = KerasAdapter(model, images, SIGN, None, batch_size)
        try:
            self.copy = altered_copy(model, lambda layer: {})
        except Exception as error:  # of Keras, or of a class of the user
            raise ReportError(
                f"{model.name}: expected a functional or Sequential model that Keras copies from its configuration, "
                f"received a {type(model).__name__} that it does not copy"
            ) from error
        self.adapters = first, KerasAdapter(self.copy, first.images, SIGN, None, batch_size)
        self.images, self.norms = first.images, bool(batch_norms(model))
        self._holders = Counter(id(w) for _, layer in walk(self.copy) for w in own_weights(layer))

    def find(self):
        """The products of the copy as it is now."""
        return kernels.find(self.copy, SIGN)

    def refusal(self, product):
        """The reason why the kernel of a product of the copy cannot be replaced, or None."""
        if product.variable is None:
            return "its kernel is the sum of several variables"
        return "another layer shares its kernel" if self._holders[id(product.variable)] > 1 else None

    def order(self, found):
        """The order in which the layers of products are called, and the names of those that a batch norm follows.

        Returns:
            (names, normed): list of str, and set of str.
        """
        called, given = [], {}

        def wrap(layer, call):
            def heard(*args, **kwargs):
                if id(layer) in norms and args:
                    normed.update(given.get(id(args[0]), ((), None))[0])
                result = call(*args, **kwargs)
                if id(layer) in names:
                    called.append(id(layer))
                    given[id(result)] = names[id(layer)], result  # kept, so that no other tensor gets the id
                return result

            return heard

        names, normed, norms = {}, set(), {id(norm) for norm in batch_norms(self.copy)}
        for product in found:
            names.setdefault(id(product.layer), []).append(product.name)
        layers = {id(layer): layer for layer in [p.layer for p in found] + batch_norms(self.copy)}
        few = taken(self.images, range(min(2, count(self.images))))
        with wrapped_calls(layers.values(), wrap):
            self.copy(as_built(self.copy, few), training=False)
        return [name for key in dict.fromkeys(called) for name in names[key]], normed

    def bias(self, product):
        """The variable that is added to the products of a product of the copy, one entry per unit, or None."""
        layer, units = product.layer, product.columns.latent.shape[1]
        if isinstance(layer, keras.layers.RNN):
            return None
        if isinstance(layer, SEPARABLE) and not product.name.endswith("/pointwise"):
            return None
        bias = getattr(layer, "bias", None)
        return bias if bias is not None and tuple(bias.shape) == (units,) else None

    def assign(self, product, kernel, shift):
        """Give a product of the copy another kernel, (d, groups, units), and add to its bias, if it has one."""
        product.variable.assign(product.in_shape(kernel, tuple(product.variable.shape)))
        bias = self.bias(product)
        if bias is not None:
            bias.assign(float32(bias) + np.asarray(shift, np.float32))

    def refit(self, images, batch_size):
        """Refit the batch norms of the copy."""
        try:
            refit_batch_norm(self.copy, images, max(2, batch_size))
        except ValueError as error:
            raise ReportError(str(error)) from None

    def outputs(self, which, chosen):
        """The arrays that the model (0) or the copy (1) gives for the images at some indices, a dict."""
        model = self.adapters[which].model
        result = model(as_built(model, taken(self.images, chosen)), training=False)
        return {key: float32(tensor) for key, tensor in outputs.tensors(result).items()}
