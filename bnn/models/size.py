"""How small a network is: parameters and bytes by bit width, multiply-accumulates by what they multiply."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import keras

from bnn.errors import UserError
from bnn.layers import QuantActivation, QuantConv2D, QuantDense, Rotation
from bnn.models.traversal import CONVOLUTIONS, DEPTHWISE, SEPARABLE
from bnn.tables import aligned

REAL = 32  # bits
# What hands on no other values than it gets.
PASSING = (
    keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute, keras.layers.Identity,
    keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D,
)  # fmt: skip


class SummaryError(UserError, ValueError):
    """A model whose multiplications cannot be counted; the message is one line."""


@dataclass(frozen=True)
class Size:
    """What a layer, or a whole network, takes.

    Attributes:
        name: the layer's.
        parameters: Counter from bits to the number of parameters stored in as many.
        bytes: int.
        macs: Counter from (kernel's bits, input's bits) to the multiply-accumulates for one image.
    """

    name: str
    parameters: Counter = field(default_factory=Counter)
    bytes: int = 0
    macs: Counter = field(default_factory=Counter)


@dataclass(frozen=True)
class Summary:
    """The sizes of a network; as text, a table.

    Attributes:
        layers: list of Size, for every layer that has parameters.
        uncounted: names of layers whose multiplications are of a kind that is not counted.
    """

    layers: list
    uncounted: list

    @property
    def total(self):
        """The Size of the whole network."""
        parameters, macs = (
            sum((getattr(s, n) for s in self.layers), Counter()) for n in ("parameters", "macs")
        )
        return Size("total", parameters, sum(size.bytes for size in self.layers), macs)

    def __str__(self):
        total = self.total
        bits, kinds = sorted(total.parameters), sorted(total.macs)
        head = ["layer", *(f"{b}-bit" for b in bits), "bytes", *(f"MACs {k}x{i}" for k, i in kinds)]
        rows = [
            [s.name, *map(_cell, [*(s.parameters[b] for b in bits), s.bytes, *(s.macs[k] for k in kinds)])]
            for s in [*self.layers, total]
        ]
        real = REAL // 8 * total.parameters.total()
        lines = [
            aligned([head, *rows]),
            f"{total.bytes / 1e6:.2f} MB; {real / total.bytes:.1f} times that, {real / 1e6:.2f} MB, "
            "with 32 bits for every parameter.",
            "MACs KxI: multiply-accumulates for one image of K-bit weights with I-bit inputs.",
        ]
        lines += [f"Multiplications not counted: {', '.join(self.uncounted)}."] if self.uncounted else []
        return "\n".join(lines)


def summary(model):
    """Parameters, bytes and multiply-accumulates of a network, layer by layer and in all.

    Kernels count by what their quantizer leaves: 1 bit if binary, 2 bits if ternary. All else counts as 32 bits,
    batch norm's moving averages included. The scale of a magnitude-aware sign counts as nothing, for a batch norm
    absorbs it. Convolutions count every tap at every position, those over the padding too. A layer that is called
    more than once multiplies as often; what comes into a model within the model counts as real.

    Args:
        model: keras.Model with a graph, functional or sequential, of images of known size.

    Returns:
        Summary, whose `str` is a table.

    Raises:
        SummaryError: the model has no graph, or leaves the size of its images open.
    """
    found = list(_sizes(model))
    uncounted = [
        size.name for size, layer in found if not size.macs and any(len(w.shape) > 1 for w in layer.weights)
    ]
    return Summary([size for size, _ in found if size.parameters], uncounted)


def _sizes(model, prefix="", times=1):
    """(Size, layer) of every layer, those of models within the model too, which is called so many times."""
    calls = _calls(model)
    for layer in model.layers:
        name, nodes = prefix + layer.name, calls[id(layer)]
        if isinstance(layer, keras.Model):
            yield from _sizes(layer, f"{name}/", times * len(nodes))
        else:
            yield _size(name, layer, nodes * times), layer


def _calls(model):
    """The calls in a model's graph: a dict from a layer's id to a list of Keras's nodes."""
    calls, queue, seen = defaultdict(list), list(getattr(model, "outputs", None) or ()), set()
    if not queue:
        raise SummaryError(f"{model.name}: expected a functional or sequential model that is built, "
                           f"received a {type(model).__name__} without a graph")  # fmt: skip
    while queue:
        layer, index, _ = queue.pop()._keras_history
        if (id(layer), index) not in seen:
            seen.add((id(layer), index))
            calls[id(layer)].append(layer._inbound_nodes[index])
            queue += calls[id(layer)][-1].input_tensors
    return calls


def _size(name, layer, nodes):
    kernels = _kernels(layer)
    weights = sum(math.prod(kernel.shape) for kernel in kernels)
    rest = layer.count_params() - weights
    bits = _bits(getattr(layer, "kernel_quantizer", None))
    macs = Counter()
    for node in nodes if kernels else ():
        kind = bits, _bits(_quantizer(node.input_tensors[0]))
        macs[kind] += weights * _positions(name, layer, node.outputs[0].shape)
    parameters = +Counter({bits: weights}) + Counter({REAL: rest})
    return Size(name, parameters, math.ceil(weights * bits / 8) + REAL // 8 * rest, macs)


def _kernels(layer):
    """The weights by which a layer multiplies its input, at every position of its output."""
    if isinstance(layer, Rotation):
        return [layer.rotation]
    if isinstance(layer, QuantConv2D | QuantDense | keras.layers.Dense):
        return [layer.kernel]
    if not isinstance(layer, CONVOLUTIONS + DEPTHWISE + SEPARABLE):
        return []
    return (
        [layer.depthwise_kernel, layer.pointwise_kernel] if isinstance(layer, SEPARABLE) else [layer.kernel]
    )


def _positions(name, layer, shape):
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    positions = shape[2:] if channels_first else shape[1:-1]
    if None in positions:
        raise SummaryError(f"{name}: expected an output of known size, received {tuple(shape)}")
    return math.prod(positions)


def _quantizer(tensor):
    """The quantizer that made a tensor's values; None for real ones."""
    layer, index, _ = tensor._keras_history
    if isinstance(layer, QuantActivation):
        return layer.quantizer
    return _quantizer(layer._inbound_nodes[index].input_tensors[0]) if isinstance(layer, PASSING) else None


def _bits(quantizer):
    levels = getattr(quantizer, "levels", None)
    return REAL if levels is None else math.ceil(math.log2(levels))


def _cell(number):
    return f"{number:,}" if number else "-"
