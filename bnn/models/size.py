"""The size of a network: parameters and bytes by bit width, multiply-accumulates by the widths of their factors."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import keras

from bnn.console.errors import ModelError
from bnn.console.tables import aligned
from bnn.layers import PatchTransform, QuantActivation, QuantConv2D, QuantDense, latent_kernels
from bnn.models.traversal import CONVOLUTIONS, DEPTHWISE, SEPARABLE

REAL = 32  # bits
# Layers whose output values are all among their input values.
PASSING = (
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    keras.layers.Identity,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
)


SummaryError = ModelError  # its name in earlier versions


@dataclass(frozen=True)
class Size:
    """The size of a layer or of a whole network.

    Attributes:
        name: str, the name of the layer.
        parameters: Counter from a bit width to the number of parameters with that width.
        bytes: int.
        macs: Counter from (kernel's bits, input's bits) to the number of multiply-accumulates for one image.
    """

    name: str
    parameters: Counter = field(default_factory=Counter)
    bytes: int = 0
    macs: Counter = field(default_factory=Counter)


@dataclass(frozen=True)
class Summary:
    """The sizes of a network's layers. Its text is a table.

    Attributes:
        layers: list of Size, one for every layer with parameters.
        uncounted: list of the names of layers whose multiplications are not counted, because their type is unknown.
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
            f"{total.bytes / 1e6:.2f} MB; with 32 bits for every parameter {real / 1e6:.2f} MB, "
            f"{real / max(total.bytes, 1):.1f} times as much.",
            "MACs KxI: multiply-accumulates of K-bit weights and I-bit inputs, for one image.",
        ]
        lines += [f"Multiplications not counted: {', '.join(self.uncounted)}."] if self.uncounted else []
        return "\n".join(lines)


def summary(model):
    """Count parameters, bytes and multiply-accumulates of a network, for each layer and in total.

    The bit width of a kernel depends on its quantizer: 1 bit if binary, 2 bits if ternary. All other parameters have 32
    bits, including the moving averages of batch norm. The scale of a magnitude-aware sign is not counted, because a
    batch norm absorbs it. Convolutions count every tap at every position, also over the padding. A layer that is called
    several times counts its multiplications several times. The inputs of a nested model count as real.

    Args:
        model: keras.Model with a functional or sequential graph, for images of known size.

    Returns:
        Summary, whose `str` is a table.

    Raises:
        ModelError: the model has no graph, or the size of its images is not fixed.
    """
    found = list(_sizes(model))
    uncounted = [
        size.name for size, layer in found if not size.macs and any(len(w.shape) > 1 for w in layer.weights)
    ]
    return Summary([size for size, _ in found if size.parameters], uncounted)


def _sizes(model, prefix="", times=1):
    """Yield (Size, layer) for every layer of a model that is called `times` times, including nested models."""
    calls = _calls(model)
    for layer in model.layers:
        name, nodes = prefix + layer.name, calls[id(layer)]
        if isinstance(layer, keras.Model):
            yield from _sizes(layer, f"{name}/", times * len(nodes))
        else:
            yield _size(name, layer, nodes * times), layer


def _calls(model):
    """Find the calls in a model's graph: a dict from a layer's id to a list of Keras nodes."""
    calls, queue, seen = defaultdict(list), list(getattr(model, "outputs", None) or ()), set()
    if not queue:
        raise ModelError(
            f"{model.name}: expected a functional or sequential model that is built, "
            f"received a {type(model).__name__} without a graph"
        )
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
    own = latent_kernels(layer)
    bits = max([_bits(kernel.quantizer) for kernel in own], default=REAL)
    macs = Counter()
    for node in nodes if kernels else ():
        kind = bits, _bits(_quantizer(node.input_tensors[0]))
        macs[kind] += weights * _positions(name, layer, node.outputs[0].shape)
    parameters = Counter({bits: weights})
    if own and not kernels:  # kernels of a layer whose multiplications are not counted
        for kernel in own:
            parameters[_bits(kernel.quantizer)] += math.prod(kernel.variable.shape)
        rest -= parameters.total()
    size = sum(math.ceil(number * width / 8) for width, number in parameters.items())
    return Size(name, +parameters + Counter({REAL: rest}), size + REAL // 8 * rest, macs)


def _kernels(layer):
    """Return the weights that multiply the input of a layer at every position of its output."""
    if isinstance(layer, PatchTransform):
        return [layer.matrix]
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
        raise ModelError(f"{name}: expected an output of known size, received {tuple(shape)}")
    return math.prod(positions)


def _quantizer(tensor):
    """Return the quantizer that made the values of a tensor; None for real values."""
    layer, index, _ = tensor._keras_history
    if isinstance(layer, QuantActivation):
        return layer.quantizer
    return _quantizer(layer._inbound_nodes[index].input_tensors[0]) if isinstance(layer, PASSING) else None


def _bits(quantizer):
    levels = getattr(quantizer, "levels", None)
    return REAL if levels is None else math.ceil(math.log2(levels))


def _cell(number):
    return f"{number:,}" if number else "-"
