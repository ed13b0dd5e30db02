"""The numbers that a Keras model holds apart from the analyzed kernels, and the reasons that name them."""

import keras
import numpy as np
from keras import ops
from keras.src.applications.convnext import LayerScale

from bnn.analysis.core import holdings
from bnn.analysis.core.holdings import DEPTH, MANY
from bnn.layers import BatchNorm, RPReLU, RSign
from bnn.models.traversal import own_weights, walk

FOREIGN = ("keras", "tensorflow", "jax", "jaxlib", "torch")
KERNELS = (  # attributes of a layer with rows that are its kernels, their adapters or biases
    *("kernel", "_kernel", "embeddings", "_embeddings", "depthwise_kernel", "pointwise_kernel"),
    *("recurrent_kernel", "bias"),
    *("lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b"),
)
NORMS = (
    BatchNorm,
    RPReLU,
    RSign,
    LayerScale,
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.PReLU,
    keras.layers.RMSNormalization,
    keras.layers.SpectralNormalization,
)
SCALES = (  # attributes of these: what they scale and shift by, and their statistics
    *("gamma", "beta", "offset", "scale", "alpha", "shift", "slope", "vector_u"),
    *("moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev"),
    *("mean", "variance", "adapt_mean", "adapt_variance", "input_mean", "input_variance"),
)


class Holdings:
    """What the layers of a model, and the model itself, hold.

    Args:
        model: keras.Model.
    """

    def __init__(self, model):
        self._weights = {id(weight) for weight in model.weights}
        self._parts = vars(keras.Layer(name="parts")).keys() | vars(keras.Model(name="parts")).keys()

    def reasons(self, name, layer, rows):
        """The reasons for numbers of a layer, without its inner layers, that no row shows.

        Args:
            name: str, the layer's.
            layer: keras.Layer.
            rows: bool, whether the layer, or the one whose cell it is, has rows.

        Returns:
            Dict from name to reason: the name of the layer, or of an array in a layer with rows.
        """
        names = [key for key, _ in self.held(layer, rows)]
        return holdings.reasons(name, type(layer).__name__, names, rows, "layers", "/")

    def held(self, layer, rows=False):
        """A list of (name, variable, array or unregistered layer) of everything in a layer that is not small.

        Kernels and biases of a layer with rows do not count, nor the scales and statistics of norms.
        """
        known = KERNELS if rows else SCALES if isinstance(layer, NORMS) else ()
        known = {id(vars(layer).get(key)) for key in known}
        attributes = [(key, value) for key, value in vars(layer).items() if not self._is_internal(key)]
        names = {id(value): key for key, part in attributes for key, value in _variables(key, part, DEPTH)}
        found = [
            (names.get(id(weight), weight.name), weight)
            for weight in own_weights(layer)
            if _size(weight) >= MANY or len(weight.shape) > 1
        ]
        if isinstance(layer, keras.layers.Lambda):
            attributes += _of_function(layer.function)
        for key, value in attributes:
            found += self._within(key, value, DEPTH)
        return [(key, value) for key, value in found if id(value) not in known]

    def _is_internal(self, key):
        """Whether an attribute belongs to every layer or model."""
        return key in self._parts or key.startswith("_self_")

    def _within(self, key, value, depth):
        """Yield what an attribute holds that is registered nowhere in the model."""
        if isinstance(value, keras.Layer):
            own = [weight for weight in value.weights if id(weight) not in self._weights]
            if sum(map(_size, own)) >= MANY:
                yield key, value
        elif _is_array(value):
            if _size(value) >= MANY and id(value) not in self._weights:
                yield key, value
        elif depth:
            for inner, part in holdings.parts_of(value, FOREIGN):
                yield from self._within(f"{key}.{inner}", part, depth - 1)


def constants(model):
    """The reasons for constants in the operations of a model that are no layers, a dict from their names."""
    found = {}
    for name, part in [("", model), *walk(model)]:
        for operation in getattr(part, "operations", ()) if isinstance(part, keras.Model) else ():
            if isinstance(operation, keras.Layer):
                continue
            arguments = [(node.arguments.args, node.arguments.kwargs) for node in operation._inbound_nodes]
            held = [value for value in keras.tree.flatten(arguments) if _is_array(value)]
            sizes = [f"{tuple(value.shape)}" for value in held if _size(value) >= MANY]
            if sizes:
                kind = type(operation).__name__
                path = f"{name}/{operation.name}" if name else operation.name
                found[path] = f"a {kind} is none of the layers that are analyzed; its constant is {sizes[0]}"
    return found


def _variables(key, value, depth):
    """Yield (name, variable) of the variables in an attribute."""
    if isinstance(value, keras.Variable):
        yield key, value
    elif depth:
        for inner, part in holdings.parts_of(value, FOREIGN):
            yield from _variables(f"{key}.{inner}", part, depth - 1)


def _of_function(function):
    """The (name, value) pairs that a function in Python finds outside of its arguments."""
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    outside = [(name, function.__globals__[name]) for name in code.co_names if name in function.__globals__]
    return [*outside, *((name, cell.cell_contents) for name, cell in cells)]


def _is_array(value):
    """Whether it holds numbers: a variable, a tensor of the backend or an array."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufc"
    return isinstance(value, keras.Variable) or ops.is_tensor(value)


def _size(values):
    return int(np.prod([size or 0 for size in values.shape]))
