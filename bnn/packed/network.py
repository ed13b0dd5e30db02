"""A packed network: how it computes scores, and its file.

Do not use it where an accelerator is at hand: it counts bits on the CPU. Nor for training, or for a real network: only
the layers behind the first one, with binary or ternary inputs and kernels, become faster.
"""

from dataclasses import dataclass, field
from math import ceil

import numpy as np

from bnn import bits
from bnn.bits import Kernel
from bnn.console import silent
from bnn.datasets.data_set import axes_hint
from bnn.packed import files
from bnn.packed.fitting import expect_fit
from bnn.packed.parts import IMAGE_RANGE, PackError, Pixels

BATCH = 100  # images at a time


@dataclass(frozen=True, eq=False)
class PackedNetwork:
    """A network of bits. `bnn.pack` makes it from a Keras model, `load` from a file.

    Attributes:
        input_shape: tuple, the shape of an image.
        pixels: Pixels.
        layers: list of Layer.
        class_names: tuple of str, in the order of the scores.
        image_range: (low, high), the values of black and white in float images, which `bnn predict` turns into pixels;
            None for a network whose inputs are no pixels.

    Raises:
        ValueError: the parts do not fit together.
    """

    input_shape: tuple
    pixels: Pixels
    layers: list
    class_names: tuple
    image_range: tuple | None = IMAGE_RANGE
    _pipelines: dict = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        expect_fit(self)

    def __repr__(self):
        names = ", ".join(layer.name for layer in self.layers)
        size = " x ".join(map(str, self.input_shape))
        return f"PackedNetwork(images of {size}, {len(self.class_names)} classes, layers {names})"

    def save(self, path):
        """Write the network to a .npz file.

        Args:
            path: str or Path.

        Returns:
            int, the file's size in bytes.

        Raises:
            WriteError: the file cannot be written; an existing file is kept.
        """
        return files.write(self, path)

    @classmethod
    def load(cls, path):
        """Load the network from a file that `save` wrote.

        Args:
            path: str or Path.

        Returns:
            PackedNetwork

        Raises:
            PackError: there is no such file, or it is damaged, of another version, or not a packed network.
        """
        return files.read(path, cls)

    def scores(self, images, batch_size=BATCH, progress=silent):
        """The scores of images.

        Args:
            images: (n, *input_shape) array, n >= 1, of pixels from 0 to 255: uint8, or any real numbers if the first
                layer is real.
            batch_size: int, maximum number of images at a time.
            progress: function that shows progress over the batches, such as `console.progress`.

        Returns:
            (n, classes) float32 array.

        Raises:
            PackError: the images have another shape or dtype.
        """
        parts = np.array_split(self._checked(images), ceil(len(images) / batch_size))
        shown = progress(parts, total=len(parts), unit="batch")
        return np.concatenate([self._scores(part) for part in shown])

    def outputs(self, images):
        """Yield the output of each layer: Bits, and scores for the last layer; see `scores`."""
        x = self.pixels(self._checked(images))
        for layer in self.layers:
            x = layer(x)
            yield x

    def _scores(self, images):
        """The scores of a batch. numba computes all layers of bits in one call."""
        layers = tuple(self.layers)
        first, last = (not isinstance(layers[i].kernel, Kernel) for i in (0, -1))
        of_bits = layers[first : len(layers) - last]
        if not (of_bits and bits.compiled() and (first or self.pixels.small)):
            return list(self.outputs(images))[-1]
        x = layers[0](self.pixels(images)) if first else images
        pipeline = self._pipelines.get(layers)
        if pipeline is None:  # at the first call, or after a layer was replaced
            steps = [bits.Step(layer.kernel, layer.output, layer.pool) for layer in of_bits]
            steps[-1] = steps[-1] if last else bits.Step(of_bits[-1].kernel, None)
            scale = None if first else (self.pixels.factor, self.pixels.summand)
            pipeline = bits.Pipeline(x.shape[1:], steps, scale, len(x.planes) if first else 1)
            self._pipelines.clear()
            self._pipelines[layers] = pipeline
        x = pipeline(x)
        return layers[-1](x) if last else layers[-1].output(x)

    def _checked(self, images):
        images = np.asarray(images)
        shape = (max(len(images), 1) if images.ndim else 1, *self.input_shape)
        if images.shape != shape or (self.pixels.integers and images.dtype != np.uint8):
            kind = "uint8" if self.pixels.integers else "real"
            raise PackError(
                f"images: expected {kind} (n, {', '.join(map(str, self.input_shape))}), n >= 1, "
                f"received {images.dtype} {images.shape}{axes_hint(images.shape, self.input_shape)}"
            )
        return images


def save(network, path):
    """Write a PackedNetwork to a file; the same as `network.save(path)`."""
    return network.save(path)


def load(path):
    """Load a PackedNetwork from a file; the same as `PackedNetwork.load(path)`."""
    return PackedNetwork.load(path)
