"""The parts of a packed network: its pixels, its layers, its scores, and the error. They need no Keras."""

from dataclasses import dataclass

import numpy as np

from bnn import bits
from bnn.bits import Bits, Kernel, Thresholds
from bnn.console.errors import UserError
from bnn.packed.floats import multiply, number_of, pool_largest

IMAGE_RANGE = (0.0, 1.0)  # black and white in float images, unless a network has others


@dataclass(frozen=True)
class Pixels:
    """The input of the first layer: factor * pixel + summand, integers from -255 to 255 or float32.

    Attributes:
        factor: int or float.
        summand: int or float, like `factor`.
    """

    factor: int | float
    summand: int | float

    @property
    def integers(self):
        """Whether images are uint8 and the first layer uses integers."""
        return isinstance(self.factor, int)

    @property
    def small(self):
        """Whether the integers of all pixels are from -255 to 255, as those of a damaged or foreign file may not be."""
        return all(abs(self.factor * pixel + self.summand) <= 255 for pixel in (0, 255))

    def __call__(self, images):
        """The input of the first layer for these pixels."""
        if not self.integers:
            return images.astype(np.float32) * np.float32(self.factor) + np.float32(self.summand)
        if (self.factor, self.summand) == (1, 0):
            return images
        return images.astype(np.int16) * self.factor + self.summand


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores from sums: factor * sum + summand.

    Attributes:
        factor: (classes,) float32 array.
        summand: (classes,) float32 array.
    """

    factor: np.ndarray
    summand: np.ndarray

    def __call__(self, sums):
        """The scores for sums, (n, classes) float32 array."""
        return sums.astype(np.float32) * self.factor + self.summand


@dataclass(frozen=True, eq=False)
class Layer:
    """A product, and the output from its sums.

    Attributes:
        name: str, the name of the layer in the Keras model.
        kernel: Kernel of bits; for a real first or last layer a float32 array, (height, width, channels, units) or
            (features, units).
        output: Thresholds; after a real kernel they are for the numbers of float32 sums (`floats.number_of`). Scores in
            the last layer.
        pool: "sums": use the largest sum of each 2x2 window; "bits": the largest activation; "none": no pooling.
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
        """The Bits, or scores, for an input of Bits or of numbers from `Pixels`."""
        if not isinstance(self.kernel, Kernel):
            out = self._of_floats(x)
        elif isinstance(self.output, Scores):
            out = self.output(self.sums(x))
        else:
            out = self._product(x, self.output)
        return bits.max_pool(out) if self.pool == "bits" else out

    def sums(self, x):
        """The integer sums before thresholds or scores, without pooling: (n, ..., units) int32 array."""
        return self._product(x, None, pooled=False)

    def _product(self, x, thresholds, pooled=True):
        integers = not isinstance(x, Bits)
        if self.dense:
            x = x.reshape(len(x), -1) if integers else x
            return (bits.dense_integers if integers else bits.dense)(x, self.kernel, thresholds)
        pool = pooled and self.pool == "sums"
        return (bits.convolve_integers if integers else bits.convolve)(x, self.kernel, thresholds, pool)

    def _of_floats(self, x):
        values = bits.unpack(x).astype(np.float32) if isinstance(x, Bits) else x
        sums = multiply(values, self.kernel)
        sums = pool_largest(sums) if self.pool == "sums" else sums
        scores = isinstance(self.output, Scores)
        return self.output(sums) if scores else bits.binarize(number_of(sums), self.output)


class PackError(UserError, ValueError):
    """A network cannot be packed, or a file is not a packed network. The message is one line."""
