"""A packed network as an OpenVINO graph, whose binary convolutions are XNOR and popcount on any x86 processor.

Every layer is a convolution; the window of a dense layer is its whole input. Between two layers of bits, a
`FakeQuantize` of two levels gives the activations, 0 for -1 and 1 for +1, with the thresholds of the packed network.
OpenVINO's plugin for CPUs fuses both. It reads channels in groups of 8, and computes wrongly if the last group is not
full. Therefore layers get further units, `_sources`, whose products cancel in the next layer.
"""

import json

import numpy as np

from bnn import bits
from bnn.bits import Kernel
from bnn.packed.floats import LARGEST, numbered
from bnn.packed.parts import PackError, Scores

EXACT = 1 << 24  # whole numbers up to this are exact in float32
GROUP = 8  # channels
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}  # to compile with; the plugin itself may choose bfloat16


def openvino_model(network, activations=False):
    """The OpenVINO graph of a binary network, from images in the layout of Keras to float32 scores.

    The graph takes one image. OpenVINO's `reshape` gives it another batch. Compile it with `FLOAT32`.

    Args:
        network: PackedNetwork with binary weights and activations; the first and the last layer may be real.
        activations: bool, whether the activations of each layer are outputs before the scores: -1 and +1 in float32, in
            the layout of Keras, under the layer's name.

    Returns:
        openvino.Model

    Raises:
        PackError: the network is ternary, float32 does not hold the sums of its first layer, or the package openvino is
            not installed.
    """
    try:
        import openvino
        from openvino import opset8
    except ImportError:
        raise PackError(
            "expected the package openvino, received an environment without it; pip install openvino"
        ) from None
    for i, layer in enumerate(network.layers):
        _expect_binary(layer, largest=255 if i == 0 else 1)
    graph = _Graph(openvino, opset8)
    scores = ("scores", graph.of(network))
    return graph.model(network, [*graph.signs, scores] if activations else [scores])


def run(model, images):
    """The outputs of a graph for images.

    Args:
        model: openvino.Model; its batch becomes that of the images.
        images: (n, ...) array.

    Returns:
        list of arrays

    Raises:
        PackError: OpenVINO cannot compute the graph on this processor.
    """
    import openvino

    kind = np.uint8 if model.inputs[0].element_type == openvino.Type.u8 else np.float32
    try:
        model.reshape([len(images), *model.inputs[0].shape[1:]])
        compiled = openvino.Core().compile_model(model, "CPU", FLOAT32)
        found = compiled([np.ascontiguousarray(images, kind)])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise PackError(f"expected a graph that OpenVINO computes, received its error ({reason})") from None
    return [found[output] for output in compiled.outputs]


def _expect_binary(layer, largest):
    of_bits = isinstance(layer.kernel, Kernel)
    if of_bits and layer.kernel.bits.ternary:
        raise PackError(f"{layer.name}: expected binary weights for OpenVINO, received ternary ones")
    if not isinstance(layer.output, Scores) and len(layer.output.at) == 2:
        raise PackError(f"{layer.name}: expected binary activations for OpenVINO, received ternary ones")
    if of_bits and largest * layer.kernel.values[..., 0, :].size > EXACT:
        raise PackError(
            f"{layer.name}: expected sums of at most {EXACT:,} for OpenVINO, which float32 holds, received larger ones"
        )


class _Graph:
    """Builds a graph from nodes. Values are (n, channels, height, width)."""

    def __init__(self, openvino, ops):
        self.openvino, self.ops = openvino, ops
        self.images = None
        self.signs = []  # (name of a layer, its activations in the layout of Keras)

    def of(self, network):
        """Add all nodes; return the scores, (n, classes)."""
        x = self.pixels(network)
        for layer in network.layers:
            weights, copies = _weights(layer), 1
            if not self.signs:
                x = self.convolution(x, weights, layer.dense)
            elif isinstance(layer.kernel, Kernel):
                copies = _copies(weights.shape[1])
                x = self.binary_convolution(x, _for_sources(weights), layer.dense)
            else:
                x = self.convolution(self.flat(self.signs[-1][1]), weights, dense=True)
            if isinstance(layer.output, Scores):
                return self.affine(self.rows(x), layer.output.factor / copies, layer.output.summand)
            x = self.activations(x, layer, copies)

    def model(self, network, results):
        """The Model with these results, pairs of name and node; a layer that is called twice has its name once."""
        for name, node in dict(reversed(results)).items():
            node.output(0).tensor.set_names({name})
        model = self.openvino.Model([node for _, node in results], [self.images], "bnn")
        # The name of a folder may not be UTF-8; JSON then has an escape in its place.
        names = json.dumps(network.class_names, ensure_ascii=False).encode(errors="backslashreplace").decode()
        model.set_rt_info(names, "class_names")
        return model

    def pixels(self, network):
        types = self.openvino.Type
        kind = types.f32 if network.image_range is None else types.u8
        self.images = self.ops.parameter([1, *network.input_shape], kind)
        self.images.output(0).tensor.set_names({"images"})
        x = self.ops.convert(self.images, "f32")
        x = self.affine(x, network.pixels.factor, network.pixels.summand)
        return self.flat(x) if network.layers[0].dense else self.transposed(x, [0, 3, 1, 2])

    def affine(self, x, factor, summand):
        factor, summand = (self.constant(np.float32(number)) for number in (factor, summand))
        return self.ops.add(self.ops.multiply(x, factor), summand)

    def constant(self, values):
        return self.ops.constant(values)

    def transposed(self, x, axes):
        return self.ops.transpose(x, self.constant(np.int64(axes)))

    def rows(self, x):
        return self.ops.reshape(x, self.constant(np.int64([0, -1])), True)

    def flat(self, x):
        """The values of an image as channels."""
        return self.ops.reshape(x, self.constant(np.int64([0, -1, 1, 1])), True)

    def convolution(self, x, weights, dense):
        options = [1, 1], *_pads(weights, dense), [1, 1]
        return self.ops.convolution(x, self.constant(weights.astype(np.float32)), *options)

    def binary_convolution(self, x, weights, dense):
        packed = np.packbits(weights.reshape(-1) > 0, bitorder="little")
        tensor = self.openvino.Tensor(packed, self.openvino.Shape(weights.shape), self.openvino.Type.u1)
        constant = self.openvino.op.Constant(tensor, shared_memory=False)  # a tensor itself copies nothing
        options = [1, 1], *_pads(weights, dense), [1, 1], "xnor-popcount", 0.0
        return self.ops.binary_convolution(x, constant, *options)

    def activations(self, x, layer, copies):
        """Add the pooling and the thresholds of a layer to its sums, which are multiplied by `copies`."""
        if layer.pool != "none":
            x = self.ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
        exceed, falling = _limits(layer)
        exceed, falling = (
            values.reshape(1, -1, 1, 1)
            for values in (exceed * np.float32(copies), falling.astype(np.float32))
        )
        above = self.ops.greater(x, self.constant(exceed))
        signs = self.ops.select(above, self.constant(1 - 2 * falling), self.constant(2 * falling - 1))
        self.signs.append((layer.name, self.in_keras_layout(signs, layer)))
        # The plugin fuses it with the product only if each constant is its own.
        levels = map(self.constant, (exceed, exceed, falling, 1 - falling))
        return self.ops.fake_quantize(x, *levels, 2)

    def in_keras_layout(self, signs, layer):
        """The activations of the layer's own units, (n, height, width, units) or (n, units)."""
        own = self.constant(np.arange(layer.output.channels))
        signs = self.ops.gather(signs, own, self.constant(np.int64(1)))
        return self.rows(signs) if layer.dense else self.transposed(signs, [0, 2, 3, 1])


def _weights(layer):
    """The weights of a layer, (units and further ones, channels, height, width).

    Where bits are pooled, falling units have the opposite weights, so that the largest activation is that of the
    largest sum.
    """
    if isinstance(layer.kernel, Kernel):
        weights = bits.unpack(layer.kernel.bits)
        weights = weights if layer.dense else np.moveaxis(weights, 2, 0)
    else:
        weights = np.moveaxis(layer.kernel, -1, 0)
    weights = np.moveaxis(weights, -1, 1) if weights.ndim == 4 else weights.reshape(*weights.shape, 1, 1)
    if isinstance(layer.output, Scores):
        return weights
    if layer.pool == "bits":
        weights = weights * np.where(layer.output.rising, 1, -1).astype(np.int8).reshape(-1, 1, 1, 1)
    return weights[_sources(layer.output.channels)]


def _limits(layer):
    """(exceed, falling) of the units: the bit is [sum > exceed], or its opposite if falling; float32 and bool."""
    at, rising = layer.output.at[0].astype(np.int64), layer.output.rising
    if layer.pool == "bits":
        at, rising = np.where(rising, at, -at), np.ones_like(rising)
    exceed = np.where(rising, at - 1, at)
    if isinstance(layer.kernel, Kernel):
        exceed = exceed.astype(np.float32)
    else:
        exceed = numbered(np.clip(exceed, -LARGEST - 1, LARGEST + 1))  # these are -inf and inf
    sources = _sources(layer.output.channels)
    return exceed[sources], ~rising[sources]


def _copies(units):
    """How often the sources hold each unit: an even number of further ones can cancel, an odd one cannot."""
    return 1 + units % 2


def _sources(units):
    """The units that are computed: each of them, and then unit 0 until the last group is full."""
    copies = _copies(units)
    return np.concatenate([np.tile(np.arange(units), copies), np.zeros(-units * copies % GROUP, int)])


def _for_sources(weights):
    """The weights, (units, sources, height, width), of a layer whose input has the sources of its channels."""
    channels = weights.shape[1]
    spread = weights[:, _sources(channels)]
    further = spread[:, channels * _copies(channels) :]
    further[:, ::2], further[:, 1::2] = 1, -1
    return spread


def _pads(weights, dense):
    """Zeros (before, after) each axis of an image, as `bnn.bits.convolve` adds them."""
    if dense:
        return [0, 0], [0, 0]
    return [(size - 1) // 2 for size in weights.shape[2:]], [size // 2 for size in weights.shape[2:]]
