"""A trained network as a chain of products, read from a Keras model of this package's layers."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops

from bnn.layers import (
    BatchNorm,
    MaxPool2x2,
    PatchTransform,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    latent_kernels,
    quantizers,
)
from bnn.models.traversal import computes_as, does_nothing
from bnn.packed.parts import PackError

# The convolutions that the packed network computes.
USUAL = {"strides": 1, "padding": "same", "dilation_rate": 1, "groups": 1, "pad_values": 0}
EXTREMES = np.float32([-1e30, 1e30])
# The value of an element depends on the other values of a batch or an image.
NOT_ONE_BY_ONE = quantizers.OptimalTernary | quantizers.AbsmeanTernary | quantizers.MagnitudeAwareSign


@dataclass(frozen=True, eq=False)
class Link:
    """A product and the layers between it and the next product.

    Attributes:
        name: str, the name of the layer.
        kernel: float32 array, (height, width, channels, units) or (features, units), the kernel that the layer uses.
        axes: (height, width, channels) of the input that was flattened before a dense layer; None: it was flat.
        pool: where 2x2 windows are pooled: "none", "sums" (before batch norm) or "bits" (after it).
        norm: float32 batch norm layer, or None.
        quantizer: function from a float32 tensor to activations; None after the last product.
        output: KerasTensor, the input of the next product, or the scores.
        magnitude: (units,) array, the sum of the magnitudes of the terms for inputs of magnitude 1.
    """

    name: str
    kernel: np.ndarray
    axes: tuple | None = None
    pool: str = "none"
    norm: keras.Layer | None = None
    quantizer: Callable | None = None
    output: object = None
    magnitude: np.ndarray | None = None

    def normalized(self, values):
        """The batch norm of (..., units) float32 values, computed as in the float32 network; a tensor."""
        values = ops.convert_to_tensor(np.asarray(values, np.float32))
        return values if self.norm is None else self.norm(values, training=False)

    def activations(self, values):
        """The activations of (..., units) float32 sums before batch norm, a float32 array."""
        return ops.convert_to_numpy(self.quantizer(self.normalized(values)))

    def affine(self):
        """The batch norm as (factor, summand), two float32 arrays (units,)."""
        if self.norm is None:
            return np.ones(self.kernel.shape[-1], np.float32), np.zeros(self.kernel.shape[-1], np.float32)
        norm = self.norm
        mean, variance = (np.asarray(w, np.float64) for w in (norm.moving_mean, norm.moving_variance))
        gain = getattr(norm, "gamma", None)  # our batch norm has none, and that of Keras may lack both
        offset = getattr(norm, "offset", getattr(norm, "beta", None))
        factor = (1.0 if gain is None else np.asarray(gain)) / np.sqrt(variance + norm.epsilon)
        summand = (0.0 if offset is None else np.asarray(offset)) - mean * factor
        return factor.astype(np.float32), summand.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Chain:
    """The parts of a network.

    Attributes:
        input_shape: tuple, the shape of an image.
        dtype: str, the dtype of the images that the network was built for.
        scaling: (factor, summand), floats, the scaling of images.
        links: list of Link, at least one.
    """

    input_shape: tuple
    dtype: str
    scaling: tuple
    links: list


def read(model):
    """Read a model as a chain of products.

    Args:
        model: keras.Model, functional or sequential: scaling of the image, then convolutions and dense layers of
            `bnn.layers`, each followed by pooling, batch norm and activation.

    Returns:
        Chain

    Raises:
        PackError: the model is not such a chain; the message names the layer.
    """
    if not isinstance(model, keras.Model):
        raise PackError(
            f"model: expected a keras.Model, received a {type(model).__name__}; bnn.models.load_model loads a .keras "
            "file, and bnn.open_run(RUN).load_in_float32() the network of a run"
        )
    calls = [call for call in _calls(model) if not does_nothing(call[0])]
    scaling = (
        _scaling(calls.pop(0)[0]) if calls and isinstance(calls[0][0], keras.layers.Rescaling) else (1.0, 0.0)
    )
    reader = _Reader()
    for layer, before, behind in calls:
        reader.take(layer, before, behind)
    (tensor,) = model.inputs
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return Chain(tuple(tensor.shape[1:]), dtype, scaling, reader.finished(model))


def refusal(name, expected, received):
    """The error for the layer with this name."""
    return PackError(f"{name}: expected {expected}, received {received}")


def _scaling(layer):
    if not computes_as(layer, keras.layers.Rescaling):
        raise refusal(layer.name, "a Rescaling", f"a {type(layer).__name__} with a call of its own")
    if "float" not in layer.compute_dtype:
        raise refusal(layer.name, "scaling in floating point", layer.compute_dtype)
    return _number(layer, layer.scale), _number(layer, layer.offset)


def _number(layer, value):
    if np.ndim(value):
        raise refusal(layer.name, "one number for all pixels", np.shape(value))
    return float(value)


def _calls(model):
    """Yield (layer, its input, its output) for a model without branches, from its input to its output."""
    outputs, inputs = (getattr(model, name, None) or () for name in ("outputs", "inputs"))
    if (len(outputs), len(inputs)) != (1, 1):
        raise refusal(
            model.name,
            "a built functional or sequential model of one input and one output",
            f"{len(inputs)} inputs and {len(outputs)} outputs",
        )
    calls, tensor = [], outputs[0]
    while tensor is not inputs[0]:
        layer, index, _ = tensor._keras_history
        node = layer._inbound_nodes[index]
        before = node.input_tensors
        if len(before) != 1:
            raise refusal(layer.name, "a layer of one input", f"{len(before)} inputs")
        if node.arguments.kwargs.get("training"):
            raise refusal(layer.name, "a call as in inference", "one with training=True")
        calls.append((layer, before[0], tensor))
        tensor = before[0]
    return calls[::-1]


class _Reader:
    """Reads one layer after another into `links`."""

    def __init__(self):
        self.links = []
        self.transform = None  # before the first product
        self.axes = None  # the shape that the last layer flattened
        self.channels_first = None  # that shape, if its first axis became the last one
        self.steps = {
            QuantConv2D: self._multiply,
            QuantDense: self._multiply,
            PatchTransform: self._transform,
            keras.layers.Flatten: self._flatten,
            MaxPool2x2: self._pool,
            keras.layers.MaxPooling2D: self._pool,
            BatchNorm: self._normalize,
            keras.layers.BatchNormalization: self._normalize,
            QuantActivation: self._quantize,
        }

    def take(self, layer, before, behind):
        kind = next((kind for kind in self.steps if isinstance(layer, kind)), None)
        if kind is None or not computes_as(layer, kind):
            own = "" if kind is None else " with a call of its own"
            raise refusal(
                layer.name,
                "a chain of bnn.layers, flattening and max-pooling",
                f"a {type(layer).__name__}{own}",
            )
        self.steps[kind](layer, before)
        if self.links and self.axes is None:
            self.links[-1] = replace(self.links[-1], output=behind)

    def finished(self, model):
        if not self.links:
            raise refusal(model.name, "a convolution or dense layer of bnn.layers", "none")
        last = self.links[-1]
        if last.quantizer is not None or last.pool != "none" or last.kernel.ndim != 2 or self.axes:
            raise refusal(
                last.name, "a dense layer at the end, with a batch norm or nothing after it", "another end"
            )
        return self.links

    def _multiply(self, layer, before):
        if self.links and self.links[-1].quantizer is None:
            raise refusal(layer.name, "binary or ternary activations", "an input that is not quantized")
        if isinstance(layer, QuantDense) and len(before.shape) != 2:
            raise refusal(layer.name, "a flat input", tuple(before.shape[1:]))
        if isinstance(layer, QuantConv2D):
            for option, usual in USUAL.items():
                if getattr(layer, option) != usual:
                    raise refusal(layer.name, f"{option} {usual}", getattr(layer, option))
        kernel, magnitude = _kernel(layer, self.transform)
        if self.channels_first:
            kernel = _channels_first_to_last(kernel, self.channels_first)
        self.links.append(Link(layer.name, kernel, self.axes, magnitude=magnitude))
        self.transform = self.axes = self.channels_first = None

    def _transform(self, layer, before):
        if self.links or self.transform:
            kind = type(layer).__name__.lower()
            raise refusal(layer.name, f"a {kind} only before the first layer", "one after it")
        self.transform = layer

    def _flatten(self, layer, before):
        if self.links and self.links[-1].quantizer is None:
            raise refusal(layer.name, "quantized activations to flatten", "other values")
        shape = tuple(before.shape[1:])
        self.axes = shape if len(shape) == 3 else self.axes
        if layer.data_format == "channels_first" and len(shape) > 1:
            self.channels_first = shape

    def _pool(self, layer, before):
        link = self._last(layer)
        options = (*layer.pool_size, *layer.strides, layer.padding, layer.data_format)
        if options != (2, 2, 2, 2, "valid", "channels_last") or link.pool != "none":
            first = layer.data_format == "channels_first"
            received = "data_format channels_first" if first else "another"
            raise refusal(layer.name, "one pooling of 2x2 windows side by side per convolution", received)
        plain = link.norm is None and link.quantizer is None
        self.links[-1] = replace(link, pool="sums" if plain else "bits")

    def _normalize(self, layer, before):
        link = self._last(layer)
        if link.norm is not None or link.quantizer is not None:
            raise refusal(layer.name, "one batch norm per product, before its activation", "another")
        self.links[-1] = replace(link, norm=_in_float32(layer, before))

    def _quantize(self, layer, before):
        link = self._last(layer)
        if link.quantizer is not None:
            raise refusal(layer.name, "one activation per product", "another")
        if layer.quantizer is None or isinstance(layer.quantizer, NOT_ONE_BY_ONE):
            raise refusal(
                layer.name,
                "binary or ternary activations, each of its own value",
                type(layer.quantizer).__name__ if layer.quantizer else "hard tanh",
            )
        least, most = ops.convert_to_numpy(layer.quantizer(ops.convert_to_tensor(EXTREMES)))
        if least > most:
            raise refusal(layer.name, "activations that increase with their value", "decreasing ones")
        self.links[-1] = replace(link, quantizer=layer.quantizer)

    def _last(self, layer):
        if not self.links or self.axes:
            raise refusal(layer.name, "a convolution or dense layer right before it", "none")
        return self.links[-1]


def _kernel(layer, transform):
    """The kernel that a layer multiplies by, with a transform before it, in float32, and the `Link.magnitude`."""
    (latent,) = latent_kernels(layer)
    kernel = ops.convert_to_numpy(latent.quantized())
    terms = np.abs(kernel.reshape(-1, kernel.shape[-1]))
    if transform is None:
        return kernel, terms.sum(axis=0)
    # The kernel of the transformed patch equals the product of matrix and kernel for the original patch.
    matrix = ops.convert_to_numpy(transform.matrix).astype(np.float64)
    product = (matrix @ kernel.reshape(-1, kernel.shape[-1])).astype(np.float32)
    if kernel.ndim == 4:
        product = product.reshape(transform.kernel_size, transform.kernel_size, -1, kernel.shape[-1])
    return product, (np.abs(matrix) @ terms).sum(axis=0)


def _channels_first_to_last(kernel, shape):
    """Reorder rows of a dense kernel for an input of this shape that was flattened with its first axis as the last."""
    rows = kernel.reshape(*shape[1:], shape[0], -1)
    return np.ascontiguousarray(np.moveaxis(rows, -2, 0)).reshape(kernel.shape)


def _in_float32(layer, before):
    """A batch norm with the same weights that computes in float32, for inputs (..., channels)."""
    config = layer.get_config() | {"dtype": "float32"}
    if isinstance(layer, keras.layers.BatchNormalization):
        if layer.axis not in (-1, len(before.shape) - 1):
            raise refusal(layer.name, "batch norm over the last axis", layer.axis)
        config["axis"] = -1
    twin = type(layer).from_config(config)
    twin.build((None, before.shape[-1]))
    twin.set_weights(layer.get_weights())
    return twin
