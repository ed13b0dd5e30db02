"""A network of a user, for `--use`: strided convolutions with a shortcut, which no chain of layers has."""

import itertools
from dataclasses import dataclass

import keras

from bnn.networks import BatchNormalized, register, setting


@register
@dataclass(frozen=True)
class Strided(BatchNormalized):
    """Two strided convolutions; real values pass around the second."""

    name = "strided"
    not_a_chain = "its shortcut adds real values"

    channels: tuple[int, ...] = setting((8, 8), "channels of each strided convolution")

    def graph(self, x, blocks):
        """See `Network.graph`."""
        x = blocks.conv(blocks.scaled(x), self.channels[0], 3, "conv_1", first=True, strides=2)
        x = blocks.norm(x, "conv_1")
        for number, filters in enumerate(self.channels[1:], 2):
            name = f"conv_{number}"
            y = blocks.norm(blocks.conv(blocks.quantize(x, name), filters, 3, name, strides=2), name)
            x = keras.layers.Add(name=f"{name}_sum")(
                [keras.layers.AveragePooling2D(2, name=f"{name}_pool")(x), y]
            )
        return blocks.scores(keras.layers.GlobalAveragePooling2D(name="average")(x), "dense_1")

    def weights(self, inputs):
        """See `Network.weights`."""
        sizes = (inputs.input_shape[-1], *self.channels)
        return sum(9 * a * b for a, b in itertools.pairwise(sizes)) + sizes[-1] * inputs.classes
