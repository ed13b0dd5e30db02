"""Recurrent networks of quantized LSTM or GRU layers; the rows of an image are the time steps."""

from dataclasses import dataclass

from bnn.console.errors import expect, setting
from bnn.networks.base import MAX_LAYERS, BatchNormalized, expect_sizes

GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Recurrent(BatchNormalized):
    """Recurrent layers, one above the other, and an output layer after the last time step.

    Each row of an image, with the channels of its pixels, is the input of one time step. The layers are named lstm_1 or
    gru_1, and so on. What a layer gives is normalized and quantized before the next one multiplies it, and so is
    the state where the recurrent kernel multiplies it; the state that is kept is real. The sums of a kernel are divided
    by the square root of their number of terms, except in a continuous network, whose weights are small.

    Raises:
        ConfigError: a value is out of range, or (in `graph`) the quantization asks for a transform of the inputs or for
            a clip that depends on the layer.
    """

    name = "recurrent"
    sizes = "units"
    not_a_chain = "its layers keep a state"

    units: tuple[int, ...] = setting((128,), "units of each recurrent layer")
    cell: str = setting("lstm", "what the layers are made of", choices=tuple(GATES))
    real_state: bool = setting(False, "do not quantize the state where the recurrent kernel multiplies it")

    def __post_init__(self):
        super().__post_init__()
        expect_sizes("units", self.units)
        expect(0 < len(self.units) <= MAX_LAYERS, "units", f"1 to {MAX_LAYERS} layers", len(self.units))

    def graph(self, x, blocks):
        """See `Network.graph`."""
        x = blocks.rows(blocks.scaled(x))
        for number, units in enumerate(self.units, 1):
            name, last = f"{self.cell}_{number}", number == len(self.units)
            options = {"sequences": not last, "first": number == 1, "real_state": self.real_state}
            x = blocks.recurrent(x, units, self.cell, name, **options)
            x = blocks.norm_and_quantize(x, name)
        return blocks.scores(x, "dense_1")

    def weights(self, inputs):
        """See `Network.weights`."""
        _, width, channels = inputs.input_shape
        features, total = width * channels, 0
        for units in self.units:
            total += GATES[self.cell] * units * (features + units)
            features = units
        return total + features * inputs.classes

    @property
    def label(self):
        """The sizes: lstm128."""
        state = "-real-state" if self.real_state else ""
        return f"{self.cell}{'-'.join(map(str, self.units))}{state}"
