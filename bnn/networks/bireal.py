"""Residual networks of binary convolutions: Bi-Real net, whose real values pass around each of them, and ReActNet."""

from dataclasses import dataclass

from bnn.console.errors import expect, setting
from bnn.networks.base import MAX_LAYERS, BatchNormalized, expect_sizes


@dataclass(frozen=True)
class BiReal(BatchNormalized):
    """Bi-Real net [1]_ for small images: a shortcut around each convolution carries real values to the end.

    conv_1, of 3 x 3 pixels, and its batch norm begin the stream of real values. Each later convolution gets the
    quantized stream, and its batch norm is added to the stream. Where a stage halves the side of the images, the mean
    of 2 x 2 values passes around; where it has other channels, a real 1 x 1 convolution and its batch norm do so, too
    (conv_6_shortcut). The mean over all positions goes to the output layer, dense_1. With `plain`, nothing passes
    around: each convolution gets what the one before gives.

    Raises:
        ConfigError: a value is out of range, or (in `check`) there are more stages than the images can be halved.

    References:
        .. [1] Liu, Wu, Luo, Yang, Liu & Cheng, "Bi-Real Net: Enhancing the Performance of 1-bit CNNs with Improved
           Representational Capability and Advanced Training Algorithm", 2018, arXiv:1808.00278.
    """

    name = "bi-real"
    sizes = "stages, depth"
    stages: tuple[int, ...] = setting(
        (64, 128, 256, 512), "channels of each stage; each but the first halves the side of the images"
    )
    depth: int = setting(4, "convolutions in each stage, each with a shortcut")
    plain: bool = setting(False, "leave out the shortcuts")

    def __post_init__(self):
        super().__post_init__()
        expect_sizes("stages", self.stages)
        expect(len(self.stages) > 0, "stages", "at least one stage", list(self.stages))
        expect(self.depth > 0, "depth", "at least 1", self.depth)
        layers = self.depth * len(self.stages)
        expect(layers < MAX_LAYERS, self.sizes, f"at most {MAX_LAYERS} convolutions", layers)

    def graph(self, x, blocks):
        """See `Network.graph`."""
        x = blocks.conv(blocks.scaled(x), self.stages[0], 3, "conv_1", first=True)
        x = blocks.norm(x, "conv_1")
        for number, (channels, strides) in enumerate(self._convolutions(), 2):
            name = f"conv_{number}"
            y = blocks.conv(self.quantized(x, name, blocks), channels, 3, name, strides=strides)
            y = blocks.norm(y, name)
            if not self.plain:
                y = blocks.add(self._around(x, name, channels, strides, blocks), y, name)
            x = self.activated(y, name, blocks)
        return blocks.scores(blocks.average(x), "dense_1")

    def _around(self, x, name, channels, strides, blocks):
        """What passes around a convolution."""
        x = blocks.average_pool(x, name) if strides > 1 else x
        if x.shape[-1] == channels:
            return x
        around = f"{name}_shortcut"
        return blocks.norm(blocks.conv(x, channels, 1, around, real=True), around)

    def quantized(self, x, name, blocks):
        """What a convolution multiplies, from the stream."""
        return blocks.quantize(x, name)

    def activated(self, x, name, blocks):
        """The stream after a sum, or what a plain convolution gives."""
        return x

    def _convolutions(self):
        """(channels, strides) of each convolution after the first."""
        return [
            (channels, 2 if stage and not step else 1)
            for stage, channels in enumerate(self.stages)
            for step in range(self.depth)
        ]

    def check(self, inputs):
        """See `Network.check`."""
        height, width, _ = inputs.input_shape
        most = min(height, width).bit_length()
        small = (
            f"at most {most} stages for images of {height}x{width}, because each but the first halves them"
        )
        expect(len(self.stages) <= most, "stages", small, len(self.stages))
        super().check(inputs)

    def weights(self, inputs):
        """See `Network.weights`."""
        before = self.stages[0]
        total = 9 * inputs.input_shape[-1] * before
        for channels, _ in self._convolutions():
            around = channels != before and not self.plain
            total += (9 + around) * before * channels
            before = channels
        return total + before * inputs.classes

    @property
    def not_a_chain(self):
        """See `Network`."""
        return "the scores are of a mean over positions" if self.plain else "its shortcuts add real values"

    @property
    def label(self):
        """The sizes: bi-real64-128-256-512x4."""
        plain = "-plain" if self.plain else ""
        return f"{self.name}{'-'.join(map(str, self.stages))}x{self.depth}{plain}"


@dataclass(frozen=True)
class ReActNet(BiReal):
    """The residual network of ReActNet [1]_: `BiReal` with `RSign` and `RPReLU`.

    The quantizer of each activation gets values less a learned shift of their channel. After each sum, the real values
    pass a PReLU between two learned shifts (conv_2_rprelu). Settings, names of layers and errors are those of `BiReal`.

    References:
        .. [1] Liu, Shen, Savvides & Cheng, "ReActNet: Towards Precise Binary Neural Network with Generalized Activation
           Functions", 2020, arXiv:2003.03488.
    """

    name = "reactnet"

    def quantized(self, x, name, blocks):
        """See `BiReal.quantized`."""
        return blocks.shift_and_quantize(x, name)

    def activated(self, x, name, blocks):
        """See `BiReal.activated`."""
        return blocks.shifted_prelu(x, name)
