"""A network of bits: data that need no Keras, and how they run."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from bnn import bits
from bnn.bits import Bits, Kernel, Thresholds
from bnn.console import silent
from bnn.packed.errors import PackError
from bnn.packed.fitting import expect_fit
from bnn.packed.floats import multiply, number_of, pool_largest

BATCH = 100  # images at a time


@dataclass(frozen=True)
class Pixels:
    """What the first layer multiplies: factor * pixel + summand, integers of size <= 255 or float32.

    Attributes:
        factor: int or float.
        summand: of the same type.
    """

    factor: int | float
    summand: int | float

    @property
    def integers(self):
        """Whether images are uint8 and the first layer works in integers."""
        return isinstance(self.factor, int)

    def __call__(self, images):
        """The numbers for pixels."""
        if not self.integers:
            return images.astype(np.float32) * np.float32(self.factor) + np.float32(self.summand)
        if (self.factor, self.summand) == (1, 0):
            return images
        return images.astype(np.int16) * self.factor + self.summand


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of sums: factor * sum + summand.

    Attributes:
        factor: (classes,) float32 array.
        summand: (classes,) float32 array.
    """

    factor: np.ndarray
    summand: np.ndarray

    def __call__(self, sums):
        """The scores, (n, classes) float32 array."""
        return sums.astype(np.float32) * self.factor + self.summand


@dataclass(frozen=True, eq=False)
class Layer:
    """A product and what its sums become.

    Attributes:
        name: of the layer that it was.
        kernel: Kernel of bits; for a real first layer a float32 array, (height, width, channels, units) or
            (features, units).
        output: Thresholds, behind a real kernel on the numbers of float32 sums (`floats.number_of`); Scores of the last
            layer.
        pool: "sums": the largest sum of 2x2 windows goes on; "bits": the largest activation; "none".
    """

    name: str
    kernel: Kernel | np.ndarray
    output: Thresholds | Scores
    pool: str = "none"

    @property
    def dense(self):
        """Whether it is a dense layer."""
        return self.kernel.dense if isinstance(self.kernel, Kernel) else self.kernel.ndim == 2

    def __call__(self, x):
        """Bits, or scores, of Bits or of the numbers that `Pixels` gives."""
        if not isinstance(self.kernel, Kernel):
            out = self._of_floats(x)
        elif isinstance(self.output, Scores):
            out = self.output(self.sums(x))
        else:
            out = self._product(x, self.output)
        return bits.max_pool(out) if self.pool == "bits" else out

    def sums(self, x):
        """The integers before the thresholds or the scores, not pooled: (n, ..., units) int32 array."""
        return self._product(x, None, pooled=False)

    def _product(self, x, thresholds, pooled=True):
        integers = not isinstance(x, Bits)
        if self.dense:
            x = x.reshape(len(x), -1) if integers else x
            return (bits.dense_integers if integers else bits.dense)(x, self.kernel, thresholds)
        pool = pooled and self.pool == "sums"
        return (bits.convolve_integers if integers else bits.convolve)(x, self.kernel, thresholds, pool)

    def _of_floats(self, x):
        sums = multiply(x, self.kernel)
        sums = pool_largest(sums) if self.pool == "sums" else sums
        scores = isinstance(self.output, Scores)
        return self.output(sums) if scores else bits.binarize(number_of(sums), self.output)


@dataclass(frozen=True, eq=False)
class PackedNetwork:
    """A network of bits. `fold` makes it of a Keras model, `load` of a file.

    Attributes:
        input_shape: tuple, of an image.
        pixels: Pixels.
        layers: list of Layer.
        class_names: tuple of str, in the order of the scores.

    Raises:
        ValueError: the parts do not fit together.
    """

    input_shape: tuple
    pixels: Pixels
    layers: list
    class_names: tuple

    def __post_init__(self):
        expect_fit(self)

    def scores(self, images, batch_size=BATCH, progress=silent):
        """The scores of images.

        Args:
            images: (n, *input_shape) array, n >= 1; uint8, unless the first layer is real: any real numbers.
            batch_size: int, images at a time, at most.
            progress: shows progress over the batches, as `console.progress` does.

        Returns:
            (n, classes) float32 array.

        Raises:
            PackError: images of another shape or dtype.
        """
        parts = np.array_split(self._checked(images), ceil(len(images) / batch_size))
        shown = progress(parts, total=len(parts), unit="batch")
        return np.concatenate([list(self.outputs(part))[-1] for part in shown])

    def outputs(self, images):
        """What each layer gives, one after another: Bits, and of the last layer scores; see `scores`."""
        x = self.pixels(self._checked(images))
        for layer in self.layers:
            x = layer(x)
            yield x

    def _checked(self, images):
        images = np.asarray(images)
        shape = (max(len(images), 1) if images.ndim else 1, *self.input_shape)
        if images.shape != shape or (self.pixels.integers and images.dtype != np.uint8):
            kind = "uint8" if self.pixels.integers else "real"
            raise PackError(
                f"images: expected {kind} (n, {', '.join(map(str, self.input_shape))}), n >= 1, "
                f"received {images.dtype} {images.shape}"
            )
        return images
