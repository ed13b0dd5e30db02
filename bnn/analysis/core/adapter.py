"""What the analysis asks of a framework. A wing is a folder beside this one; `report.ADAPTERS` has a line for each."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from bnn.analysis.core.cost import costs


class Adapter(Protocol):
    """A model of a framework with the images that it is analyzed on.

    Attributes:
        name: str, the model's.
        images: (n, ...) array, or a list, tuple or dict of arrays: the inputs of the model.
        products: list of Product, the kernels that can be measured.
        unanalyzed: dict from the name of each other layer that holds numbers to the reason.
    """

    name: str
    images: Any
    products: list
    unanalyzed: dict

    def stream(self, batch_size):
        """Run the model on the images.

        Yields:
            For each batch (first image's index, list with, for each product, its list of Call). The list is empty for
            kernels that multiply nothing; None in its place where values cannot be seen.
        """

    def use(self, images, batch_size):
        """Check images, `batch_size` at a time, and let them replace those that the model is analyzed on."""

    def identity(self):
        """Yield the texts and arrays by which the model differs from others: its layers and their weights."""

    def score_agreement(self, layers, n, batch_size, seed, progress):
        """Correlate the scores of the model with its scores after the kernel of one layer has been replaced.

        Args:
            layers: list of LayerGeometry of the model, with data.
            n: int, the largest number of images to use.
            batch_size: int, the largest number of images per batch.
            seed: int, the seed of the draw of images.
            progress: function that shows progress over the layers.

        Returns:
            `agreement.Agreements`; `agreement.agreements` computes them with a context that exchanges one kernel.
        """

    def costs(self, layers, n, seed, labels, progress):
        """Measure what the change of each kernel that `score_agreement` makes costs, in nats per image.

        Args:
            layers: list of LayerGeometry of the model, with data.
            n: int, the largest number of images to use.
            seed: int, the seed of the draws.
            labels: (images,) array of int, or None.
            progress: function that shows progress over the images.

        Returns:
            `cost.Costs` with one change for each layer; `cost.costs` computes them from the gradients of one image.
        """

    def replaceable(self):
        """Return the list of the products whose layer multiplies by a variable, without a quantizer of its own."""

    def shape(self, product):
        """Return the shape of the variable of a product that is replaceable, a tuple of int."""

    def gradients(self, products):
        """Return the `cost.Source` of products that are replaceable."""

    def assign(self, products, kernels):
        """Make the model multiply by other kernels, in the form of `Product.kernels`."""

    def restored(self, products):
        """Return a context at whose end the kernels have their values back."""


class Replacing:
    """The part of an adapter that measures and replaces kernels, with the functions of its wing's module `gradients`.

    A subclass sets `wing`, that module, and has the attributes of `Adapter` and `model`.
    """

    wing: Any = None

    def costs(self, layers, n, seed, labels, progress):
        """See `Adapter.costs`."""
        sources = [self.wing.source_of(layer.product) for layer in layers]
        pairs = zip(layers, sources, strict=True)
        changes = [None if source is None else [self.wing.change_of(layer)] for layer, source in pairs]
        with self.wing.as_multiplied(layers):
            return costs(
                self.wing.Gradients(self.model, self.images, sources), changes, n, seed, labels, progress
            )

    def replaceable(self):
        """See `Adapter.replaceable`."""
        return [product for product in self.products if self.wing.is_replaceable(product)]

    def shape(self, product):
        """See `Adapter.shape`."""
        return self.wing.shape_of(product)

    def gradients(self, products):
        """See `Adapter.gradients`."""
        return self.wing.Gradients(self.model, self.images, list(map(self.wing.source_of, products)))

    def assign(self, products, kernels):
        """See `Adapter.assign`."""
        self.wing.assign(products, kernels)

    def restored(self, products):
        """See `Adapter.restored`."""
        return self.wing.kernels_restored(products)


class Wing(Protocol):
    """The package of a framework, with these two functions."""

    def accepts(self, model) -> bool:
        """Whether a model is one of this framework, which is loaded."""

    def adapted(self, model, images, quantizer, kernel, batch_size) -> AbstractContextManager[Adapter]:
        """Within the returned context, the model can be measured; afterwards it is as before.

        Args:
            model: of which `accepts` is true.
            images: what the user gave.
            quantizer: function from a (d, units) float32 array to one of the same shape, for kernels that have none;
                or None.
            kernel: as for `report.analyze`.
            batch_size: int, images to check at a time.

        Raises:
            ReportError: the model cannot be analyzed, or the images do not fit it.
        """
