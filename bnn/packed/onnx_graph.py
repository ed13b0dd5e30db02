"""A trained network as an ONNX graph, or as a QONNX graph, whose nodes mark binary and ternary values."""

import json
from dataclasses import replace
from itertools import count

import numpy as np

from bnn.packed import chain, thresholds
from bnn.packed.floats import LARGEST, numbered
from bnn.packed.folding import class_names_of, split
from bnn.packed.parts import PackError

OPSET, IR_VERSION = 13, 8  # old versions, which any runtime supports
QONNX = "qonnx.custom_op.general"
TINIEST = 1.2e-38  # TensorFlow treats smaller numbers as 0
STEEP = 2.0**64  # the factor before rounding in a ternary activation of threshold 0


def onnx_model(model, qonnx=False, class_names=None):
    """The ONNX graph of a trained network, from images in the layout of Keras to float32 scores.

    The images of ONNX are uint8, those of QONNX float32 with the same values. The tensor that holds the activations of
    a layer has the layer's name. Weights are -1, 0 and +1. The scale of a kernel is part of the next batch norm; a
    rotation is part of a real kernel.

    Args:
        model: keras.Model, as for `fold`.
        qonnx: quantize with the nodes of QONNX [1]_, which FINN reads, and hls4ml in ternary dense networks:
            `BipolarQuant`, and for ternary values `Quant` with 2 bits, signed and narrow. Otherwise use standard nodes
            of ONNX and weights of 8 bits.
        class_names: sequence of str in the order of the scores, stored as JSON in the metadata `class_names`; None:
            "0", "1", ...

    Returns:
        onnx.ModelProto

    Raises:
        PackError: the model is not such a chain, or the package onnx is not installed.

    References:
        .. [1] Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks", 2022,
           arXiv:2206.07527.
    """
    try:
        import onnx
    except ImportError:
        raise PackError(
            "expected the package onnx, received an environment without it; pip install onnx"
        ) from None
    read = chain.read(model)
    names = class_names_of(read, class_names)
    graph = _Graph(onnx, qonnx)
    x = graph.pixels(read)
    x = graph.link(x, replace(read.links[0], axes=None), flatten=True)
    for link in read.links[1:]:
        x = graph.link(x, link, flatten=link.axes is not None)
    return graph.finished(read, names)


class _Graph:
    """Builds a graph from nodes and constants."""

    def __init__(self, onnx, qonnx):
        self.onnx, self.qonnx = onnx, qonnx
        self.nodes, self.constants, self.numbers = [], [], count(1)

    def node(self, kind, *inputs, domain="", **attributes):
        """Add a node; return the name of its output."""
        name = f"{kind}_{next(self.numbers)}"
        node = self.onnx.helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, values, dtype=np.float32):
        """Add a constant; return its name."""
        name = f"constant_{next(self.numbers)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def as_float(self, x):
        return self.node("Cast", x, to=self.onnx.TensorProto.FLOAT)

    def affine(self, x, factor, summand):
        """Add nodes for factor * x + summand; return the name of the output."""
        return self.node("Add", self.node("Mul", x, self.constant(factor)), self.constant(summand))

    def pixels(self, read):
        x = "images" if self.qonnx else self.as_float("images")
        x = x if read.scaling == (1.0, 0.0) else self.affine(x, *read.scaling)
        return self.node("Transpose", x, perm=[0, 3, 1, 2]) if read.links[0].kernel.ndim == 4 else x

    def link(self, x, link, flatten):
        parts = split(link.kernel)
        levels, scale = (link.kernel, np.float32(1)) if parts is None else parts
        if levels.ndim == 4:
            x = self.convolution(x, levels, parts is not None)
        else:
            x = self.node("Flatten", x, axis=1) if flatten else x
            x = self.node("MatMul", x, self.weights(_in_order_of_channels(levels, link), parts is not None))
        x = self.pool(x) if link.pool == "sums" else x
        x = self.activation(x, link, scale)
        x = self.pool(x) if link.pool == "bits" else x
        return x if link.quantizer is None else self.named(x, link.name)

    def named(self, x, name):
        """Rename the output of the last node; a layer that is called twice has its name once."""
        if any(name in node.output for node in self.nodes):
            return x
        self.nodes[-1].output[0] = name
        return name

    def convolution(self, x, levels, quantized):
        height, width = levels.shape[:2]
        pads = [(height - 1) // 2, (width - 1) // 2, height // 2, width // 2]
        weights = self.weights(levels.transpose(3, 2, 0, 1), quantized)
        options = {"kernel_shape": [height, width], "pads": pads, "strides": [1, 1], "dilations": [1, 1]}
        return self.node("Conv", x, weights, group=1, **options)

    def pool(self, x):
        return self.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4, ceil_mode=0)

    def weights(self, levels, quantized):
        if not quantized:
            return self.constant(levels)
        if not self.qonnx:
            return self.as_float(self.constant(levels, np.int8))
        return (self.bipolar if levels.all() else self.ternary)(self.constant(levels))

    def activation(self, x, link, scale):
        """Add batch norm, including the scale of the kernel, and the quantizer; return the name of the output."""
        factor, summand = (values.astype(np.float64) for values in link.affine())
        factor = factor * scale
        if link.quantizer is not None:
            ternary, threshold = _quantizer(link)
            if self.qonnx and ternary:
                steep = 0.5 / threshold if threshold else STEEP
                factor, summand = factor * steep, summand * steep
        shape = (-1, 1, 1) if link.kernel.ndim == 4 else -1
        x = self.affine(x, factor.reshape(shape), summand.reshape(shape))
        return x if link.quantizer is None else self.quantize(x, ternary, threshold)

    def quantize(self, x, ternary, threshold):
        if self.qonnx:
            return self.ternary(x) if ternary else self.bipolar(x)
        if ternary:
            above = self.node("Greater", x, self.constant(threshold))
            return self.node(
                "Sub", self.as_float(above), self.as_float(self.node("Less", x, self.constant(-threshold)))
            )
        signs = self.constant(1), self.constant(-1)
        return self.node("Where", self.node("GreaterOrEqual", x, self.constant(0)), *signs)

    def bipolar(self, x):
        return self.node("BipolarQuant", x, self.constant(1), domain=QONNX)

    def ternary(self, x):
        """Quantize to 0 up to a magnitude of 0.5, and to -1 or +1 beyond."""
        scale, zero, width = self.constant(1), self.constant(0), self.constant(2)
        return self.node(
            "Quant", x, scale, zero, width, domain=QONNX, signed=1, narrow=1, rounding_mode="ROUND"
        )

    def finished(self, read, class_names):
        helper, types = self.onnx.helper, self.onnx.TensorProto
        classes = read.links[-1].kernel.shape[-1]
        n = 1 if self.qonnx else "n"  # tools for QONNX need a known batch size
        self.nodes[-1].output[0] = "scores"  # hls4ml loses the output of a last node that does nothing
        graph = helper.make_graph(
            self.nodes,
            "bnn",
            [helper.make_tensor_value_info("images", self.dtype(read), [n, *read.input_shape])],
            [helper.make_tensor_value_info("scores", types.FLOAT, [n, classes])],
            initializer=self.constants,
        )
        domains = [helper.make_opsetid("", OPSET)] + [helper.make_opsetid(QONNX, 1)] * self.qonnx
        made = helper.make_model(graph, producer_name="bnn", opset_imports=domains, ir_version=IR_VERSION)
        # The name of a folder may not be UTF-8; JSON then has an escape in its place.
        names = json.dumps(class_names, ensure_ascii=False).encode(errors="backslashreplace").decode()
        helper.set_model_props(made, {"class_names": names})
        if self.qonnx:
            self.add_shapes(made, read)
        else:
            self.onnx.checker.check_model(made)
        return made

    def dtype(self, read):
        types = self.onnx.TensorProto
        return types.UINT8 if read.dtype == "uint8" and not self.qonnx else types.FLOAT

    def add_shapes(self, made, read):
        """Add the shape of every tensor: ONNX itself cannot infer those after nodes of QONNX."""
        from bnn.packed import onnx_run

        values = onnx_run.run(made, np.zeros((1, *read.input_shape), np.float32))
        known = {"images", "scores", "", *(constant.name for constant in self.constants)}
        made.graph.value_info.extend(
            self.onnx.helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, value.shape)
            for name, value in values.items()
            if name not in known
        )


def _in_order_of_channels(levels, link):
    """Reorder rows of a dense kernel for ONNX, which flattens the output of a convolution with channels first."""
    if link.axes is None:
        return levels
    return levels.reshape(*link.axes, -1).transpose(2, 0, 1, 3).reshape(levels.shape)


def _quantizer(link):
    """(whether a link's quantizer is ternary, the magnitude up to which values become 0)."""
    plain = replace(link, norm=None)
    found = thresholds.search(lambda numbers: plain.activations(numbered(numbers)), LARGEST, 1)
    at = numbered(found.at[:, 0])
    if plain.activations(np.zeros(1, np.float32)) != (0 if len(at) == 2 else 1):
        raise chain.refusal(link.name, "an activation that is +1 at 0, or 0 if it is ternary", "another")
    threshold, *above = np.where(np.abs(at) < TINIEST, 0, at) * np.float32([-1, 1])[: len(at)]
    if threshold == 0 if not above else above[0] <= np.nextafter(threshold, np.float32(np.inf)):
        return bool(above), threshold
    raise chain.refusal(
        link.name, "the sign, or a ternary map of one threshold, as activation", "another map"
    )
