"""What every network is: its sizes as a frozen dataclass, and the graph of Keras layers that they give.

No Keras at module level: --help and config.json read these classes.
"""

from dataclasses import dataclass
from typing import ClassVar

from bnn.console.errors import check_fields, expect, setting

MAX_SIZE = 65_536  # of a layer or a side of an image; a larger value is probably a typing error
MAX_LAYERS = 1000  # of one kind
MAX_TOKENS = 256  # different ones, each a byte
MAX_WEIGHTS = 2**30  # of all kernels: 4 GiB, and Adam needs three times as much


@dataclass(frozen=True)
class Inputs:
    """What a network gets and what it tells apart; the data decide it.

    Attributes:
        input_shape: (height, width, channels) of the images; (steps,) of sequences of tokens.
        input_range: (low, high), the values that the network multiplies for pixels of 0 and 255.
        classes: int, the number of scores; of tokens, also the number of different ones, at most 256.

    Raises:
        ConfigError: a value is out of range.
    """

    input_shape: tuple[int, ...] = (32, 32, 3)
    input_range: tuple[float, float] = (-1.0, 1.0)
    classes: int = 10

    def __post_init__(self):
        check_fields(self)
        expect(len(self.input_shape) in (1, 3), "input_shape", "3 whole numbers", self.input_shape)
        expect_sizes("input_shape", self.input_shape)
        most = MAX_TOKENS if self.are_tokens else MAX_SIZE
        expect(0 < self.classes <= most, "classes", f"1 to {most}", self.classes)
        expect(self.input_range[0] < self.input_range[1], "input_range", "low < high", self.input_range)

    @property
    def are_tokens(self):
        """Whether the inputs are sequences of tokens instead of images."""
        return len(self.input_shape) == 1


@dataclass(frozen=True)
class Network:
    """The sizes of an architecture, and its graph.

    A subclass is a frozen dataclass. It sets `name`, adds fields (`bnn.networks.setting` gives them a flag with its
    help), and defines `graph` and `weights`. `bnn.networks.register` makes it available by its name.

    Attributes:
        name: str, the value of `--network` and of "name" in config.json.
        sizes: str, the settings that decide the number of weights, for messages.
        takes_tokens: bool, whether its inputs are sequences of tokens instead of images.
        usual_data: str, the data set of a training that names none.
        not_a_chain: str, why `bnn export` refuses the network; "": it is a chain of layers that can be folded.
    """

    name: ClassVar[str]
    not_a_chain: ClassVar[str] = ""
    sizes: ClassVar[str] = "network"
    takes_tokens: ClassVar[bool] = False
    usual_data: ClassVar[str] = "cifar-10"

    def __post_init__(self):
        check_fields(self)

    def graph(self, x, blocks):
        """Build the network.

        Args:
            x: KerasTensor of the inputs, (batch, height, width, channels) uint8; of tokens (batch, steps) uint8.
            blocks: Blocks, which makes the layers. Use them as they are or any of Keras's; name every layer.

        Returns:
            KerasTensor of the scores, (batch, classes) float32, see `Blocks.scores`; of tokens (batch, steps, classes).
        """
        raise NotImplementedError

    def check(self, inputs):
        """Raise `ConfigError` if the sizes do not fit the Inputs, or the network is too large."""
        weights = self.weights(inputs)
        expect(weights <= MAX_WEIGHTS, self.sizes, f"at most {MAX_WEIGHTS} weights in all", weights)

    def check_quantization(self, quantization):
        """Raise `ConfigError` if the network cannot have a Quantization."""

    def weights(self, inputs):
        """Return the number of latent weights for Inputs, those of all kernels together: an int."""
        raise NotImplementedError

    @classmethod
    def implied(cls, settings, given):
        """Return a dict of settings that follow from others.

        Args:
            settings: dict of all settings: defaults of the data set and of the named network, and those given.
            given: dict of the settings that the user typed; the result must not contain them.

        Raises:
            ConfigError: a setting is missing, and does not follow.
        """
        return {}

    @property
    def label(self):
        """The part of a run's default name that tells networks of this architecture apart, such as their sizes."""
        return self.name


@dataclass(frozen=True)
class BatchNormalized(Network):
    """A network with batch norm, and the settings of its layers.

    Raises:
        ConfigError: a value is out of range.
    """

    bn_epsilon: float = setting(1e-3, "batch norm: added to the variance")
    bn_scale: bool = setting(False, "batch norm: also train a factor per channel")
    bn_decay: float = setting(0.999, "decay of batch norm's moving averages; in [0, 1)")

    def __post_init__(self):
        super().__post_init__()
        expect(0 <= self.bn_decay < 1, "bn_decay", "a value in [0, 1)", self.bn_decay)
        expect(self.bn_epsilon > 0, "bn_epsilon", "a positive number", self.bn_epsilon)


def expect_sizes(name, sizes):
    """Raise `ConfigError` unless all numbers of a setting are sizes."""
    expect(all(0 < n <= MAX_SIZE for n in sizes), name, f"sizes from 1 to {MAX_SIZE}", list(sizes))
