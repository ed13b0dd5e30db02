"""Convolutions with pooling, then dense layers: the paper's network, and VGG-Small of later work."""

import math
from dataclasses import dataclass

from bnn.console.errors import ConfigError, expect, setting
from bnn.console.spelling import argument, option, words
from bnn.networks.base import MAX_LAYERS, BatchNormalized, expect_sizes


@dataclass(frozen=True)
class VGG(BatchNormalized):
    """Convolution, pooling, batch norm and quantizer for each entry of `conv`; dense layers without pooling for `fc`.

    The layers are named conv_1, conv_2, ... and dense_1, .... The layers after each of them have its name and a suffix
    (conv_2_pool, conv_2_norm, conv_2_activation). The last dense layer and its batch norm compute the scores. The
    defaults are the paper's CIFAR-10 network.

    Raises:
        ConfigError: a value is out of range, lists disagree in length, or (in `check`) the poolings outgrow the image.
    """

    name = "vgg"
    sizes = "conv, fc"

    conv: tuple[int, ...] = setting(
        (128, 128, 256, 256, 512, 512), "channels of each convolution; no value: no convolutions"
    )
    max_pool: tuple[int, ...] = setting(
        (0, 1, 0, 1, 0, 1),
        "for each convolution, 1 if 2x2 max-pooling follows it, else 0; "
        "required with another number of convolutions",
    )
    filter_size: int = setting(3, "side of the convolution kernels")
    fc: tuple[int, ...] = setting(
        (1024, 1024), "units of each hidden dense layer; no value: no hidden dense layers"
    )

    def __post_init__(self):
        super().__post_init__()
        for name in ("conv", "fc"):
            sizes = getattr(self, name)
            expect_sizes(name, sizes)
            expect(len(sizes) <= MAX_LAYERS, name, f"at most {MAX_LAYERS} layers", len(sizes))
        expect(
            len(self.max_pool) == len(self.conv),
            "max_pool",
            f"one entry for each of the {len(self.conv)} in conv",
            list(self.max_pool),
        )
        expect(set(self.max_pool) <= {0, 1}, "max_pool", "entries 0 or 1", list(self.max_pool))
        expect(1 <= self.filter_size <= 31, "filter_size", "1 to 31", self.filter_size)

    def graph(self, x, blocks):
        """See `Network.graph`."""
        x, first = blocks.scaled(x), True
        for number, (filters, pool) in enumerate(zip(self.conv, self.max_pool, strict=True), 1):
            name = f"conv_{number}"
            x = blocks.conv(x, filters, self.filter_size, name, first=first)
            x = blocks.max_pool(x, f"{name}_pool") if pool else x
            x, first = blocks.norm_and_quantize(x, name), False
        x = blocks.flatten(x)
        for number, units in enumerate(self.fc, 1):
            name = f"dense_{number}"
            x = blocks.dense(x, units, name, first=first)
            x, first = blocks.norm_and_quantize(x, name), False
        return blocks.scores(x, f"dense_{len(self.fc) + 1}", first=first)

    def check(self, inputs):
        """See `Network.check`."""
        height, width, _ = inputs.input_shape
        most = int(math.log2(min(height, width)))
        if sum(self.max_pool) > most:
            first = [i for i, pool in enumerate(self.max_pool, 1) if pool][most]
            raise ConfigError(
                f"max_pool: expected at most {most} poolings for images of {height}x{width}, received "
                f"{sum(self.max_pool)}; the pooling after conv_{first} would get {height >> most}x{width >> most}"
            )
        super().check(inputs)

    def weights(self, inputs):
        """See `Network.weights`."""
        height, width, features = inputs.input_shape
        total = 0
        for filters, pool in zip(self.conv, self.max_pool, strict=True):
            total += self.filter_size**2 * features * filters
            height, width, features = height >> pool, width >> pool, filters
        features *= height * width
        for units in (*self.fc, inputs.classes):
            total += features * units
            features = units
        return total

    @classmethod
    def implied(cls, settings, given):
        """See `Network.implied`: without convolutions there are no poolings; for others they do not follow."""
        if "max_pool" not in given and not given.get("conv", True):
            return {"max_pool": ()}
        conv, pool = (settings.get(name, getattr(cls, name)) for name in ("conv", "max_pool"))
        if isinstance(conv, tuple) and isinstance(pool, tuple) and len(conv) != len(pool):
            _expect_both(conv, pool, given)
        return {}

    @property
    def label(self):
        """The sizes: conv32-32-64-64-fc256."""
        sizes = {"conv": self.conv, "fc": self.fc}
        return "-".join(f"{name}{'-'.join(map(str, values))}" for name, values in sizes.items() if values)


def _expect_both(conv, pool, given):
    """Raise `ConfigError` if only one of two lists was given, and the default of the other does not fit it."""
    expected = f"max_pool: expected one entry for each of the {len(conv)} in conv"
    if "max_pool" not in given:
        example = (*[0] * (len(conv) - 1), 1)
        raise ConfigError(
            f"{expected}, such as {option('max_pool', example)}, received none; "
            f"the default, {words(pool)}, is for {len(pool)}"
        )
    if "conv" not in given:
        raise ConfigError(
            f"{expected}, by default {words(conv)}, received {words(pool)}; "
            f"{argument('conv')} sets other convolutions"
        )
