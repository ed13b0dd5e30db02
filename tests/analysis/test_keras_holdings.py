"""Numbers of a Keras model that no row shows: each is named, wherever it is."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from bnn.analysis import ReportError, analyze
from bnn.analysis.keras import kernels

ROWS = np.random.default_rng(0).standard_normal((10, 8)).astype(np.float32)
STEPS = np.random.default_rng(1).standard_normal((10, 4, 8)).astype(np.float32)
NOT_ANALYZED = "is none of the layers that are analyzed; it holds"


class Hidden(layers.Layer):
    """A dense layer whose weight is anywhere."""

    def __init__(self, put, **options):
        super().__init__(**options)
        self.put = put

    def build(self, _):
        self.get = self.put(self)

    def call(self, inputs):
        return inputs @ ops.cast(ops.reshape(self.get(), (8, 8)), "float32")


def flat(layer):
    layer.flat = layer.add_weight(shape=(64,))
    return lambda: layer.flat


def nameless(layer):
    layer.add_weight(shape=(64,), name="own")
    return lambda: layer.weights[0]


def several(layer):
    layer.parts = {"a": [layer.add_weight(shape=(16,)) for _ in range(4)]}
    return lambda: ops.concatenate([ops.convert_to_tensor(part) for part in layer.parts["a"]])


def packed(layer):
    layer.packed = layer.add_weight(shape=(64,), dtype="uint8", trainable=False, initializer="ones")
    return lambda: layer.packed


def array(layer):
    layer.plain = np.ones((8, 8), np.int8)
    return lambda: layer.plain


def tensor(layer):
    layer.plain = ops.ones((8, 8))
    return lambda: layer.plain


class Packed:
    def __init__(self, bits):
        self.bits = bits


def object_of_its_own(layer):
    layer.packed = Packed(np.ones((8, 8), bool))
    return lambda: layer.packed.bits


def unregistered(layer):
    dense = layers.Dense(8)
    dense.build((None, 8))
    layer.object = Packed(dense)
    return lambda: dense.kernel


@pytest.mark.parametrize(
    ("put", "names"),
    [
        (flat, "flat"),
        (nameless, "own"),
        (several, "parts.a.0, parts.a.1, parts.a.2 and 1 more"),
        (packed, "packed"),
        (array, "plain"),
        (tensor, "plain"),
        (object_of_its_own, "packed.bits"),
        (unregistered, "object.bits"),
    ],
)
def test_numbers_outside_of_rows_are_named(put, names):
    model = keras.Sequential([keras.Input((8,)), Hidden(put, name="hidden"), layers.Dense(2, name="last")])
    found = analyze(model, ROWS, score_images=0)
    assert [layer.name for layer in found] == ["last"]
    assert found.unanalyzed == {"hidden": f"a Hidden {NOT_ANALYZED} {names}"}


class Whole(keras.Model):
    """Holds a weight itself, beside a layer."""

    def __init__(self, shape, **options):
        super().__init__(**options)
        self.last = layers.Dense(2)
        self.own = self.add_weight(shape=shape)

    def call(self, inputs):
        return self.last(inputs @ ops.reshape(self.own, (8, 8)))


@pytest.mark.parametrize("shape", [(8, 8), (64,)])
def test_weights_of_a_model_itself_are_named(shape):
    model = Whole(shape, name="whole")
    model(ROWS)
    assert analyze(model, ROWS).unanalyzed == {"whole": f"a Whole {NOT_ANALYZED} own"}
    nested = keras.Sequential([keras.Input((8,)), Whole(shape, name="inner"), layers.Dense(2)])
    assert analyze(nested, ROWS).unanalyzed == {"inner": f"a Whole {NOT_ANALYZED} own"}
    alone = keras.Sequential([keras.Input((8,)), Hidden(flat, name="hidden")])
    with pytest.raises(ReportError, match=r"received hidden .*it holds flat"):
        analyze(alone, ROWS)


class Masked(layers.Dense):
    def build(self, shape):
        super().build(shape)
        self.mask = self.add_weight(shape=(8, 16), trainable=False)


class Wide(layers.LSTMCell):
    def build(self, shape):
        super().build(shape)
        self.peephole = self.add_weight(shape=(48,))


def test_numbers_beside_the_kernel_of_a_row_are_named():
    inputs = keras.Input((4, 8))
    x = Masked(16, name="masked")(inputs)
    x = layers.RNN(Wide(16, name="cell"), name="rnn")(x)
    last = layers.Dense(16, name="last")
    model = keras.Model(inputs, last(x))
    last.pattern = np.ones((16, 16))
    found = analyze(model, STEPS, score_images=0)
    assert found.unanalyzed == {
        "masked/mask": "a Masked holds it beside its weight",
        "rnn/cell/peephole": "a Wide holds it beside its weight",
        "last/pattern": "a Dense holds it beside its weight",
    }
    assert len(found) == 4


def test_constants_of_operations_and_functions_are_named():
    inputs, matrix = keras.Input((8,)), np.eye(8, dtype=np.float32)
    x = layers.Lambda(lambda x: x @ matrix, name="function")(ops.matmul(inputs, matrix) + 1.0)
    found = analyze(keras.Model(inputs, layers.Dense(2)(x)), ROWS, score_images=0)
    (operation,) = found.unanalyzed.keys() - {"function"}
    assert found.unanalyzed[operation] == (
        "a Matmul is none of the layers that are analyzed; its constant is (8, 8)"
    )
    assert found.unanalyzed["function"] == f"a Lambda {NOT_ANALYZED} matrix"


def test_biases_norms_adapters_and_seeds_are_not_named():
    inputs = keras.Input((4, 16))
    x = layers.Normalization(axis=(1, 2), mean=np.zeros((4, 16)), variance=np.ones((4, 16)))(inputs)
    x = layers.LayerNormalization(axis=[1, 2])(layers.PReLU()(x))
    x = layers.GroupNormalization(4)(layers.BatchNormalization()(layers.RMSNormalization()(x)))
    x = layers.SpectralNormalization(layers.Dense(16))(layers.Dropout(0.5)(x))
    x = layers.MultiHeadAttention(2, 16)(x, x)
    x = layers.Bidirectional(layers.GRU(16))(x)
    adapted = layers.Dense(16)
    model = keras.Model(inputs, adapted(x))
    adapted.enable_lora(2)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    found = kernels.find(model)
    assert kernels.refused(model, found) == {} and len(found) == 10
