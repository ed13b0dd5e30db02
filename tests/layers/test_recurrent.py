"""Quantized LSTM and GRU compared with Keras's on quantized weights, and with NumPy code that computes every step."""

import keras
import numpy as np
import pytest

from bnn import geometry, layers
from bnn.analysis import analyze, report
from bnn.layers import (
    QuantGRU,
    QuantGRUCell,
    QuantLSTM,
    QuantLSTMCell,
    Sign,
    StochasticSign,
    Ternary,
    latent_kernels,
)
from bnn.models import summary
from bnn.packed import PackError, fold

PAIRS = {"lstm": (QuantLSTM, keras.layers.LSTM), "gru": (QuantGRU, keras.layers.GRU)}
NAMES = pytest.mark.parametrize("name", PAIRS)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 5, 4)).astype(np.float32)
MASK = RNG.random((8, 5)) < 0.6
MASK[0], MASK[1] = False, True
UNITS = 3


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(name, x, kernels, bias, state=lambda h: h, factors=(1, 1)):
    """(h before every step, h after the last one); `state` is what the recurrent kernel gets of h."""
    (kernel, recurrent), h = kernels, np.zeros((len(x), UNITS))
    c, seen = h, []
    for t in range(x.shape[1]):
        seen.append(state(h))
        a, b = x[:, t] @ kernel * factors[0], state(h) @ recurrent * factors[1]
        if name == "lstm":
            i, f, g, o = np.split(a + b + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (z, r, g), (hz, hr, hg) = np.split(a + bias[0], 3, 1), np.split(b + bias[1], 3, 1)
            z, r = sigmoid(z + hz), sigmoid(r + hr)
            h = z * h + (1 - z) * np.tanh(g + r * hg)
    return np.stack(seen, 1), h


@NAMES
@pytest.mark.parametrize(
    "options", [{"return_sequences": True, "go_backwards": True}, {"return_state": True, "use_bias": False}]
)
def test_without_quantizers_they_equal_keras(name, options):
    """Outputs and states, with masks and initial states."""
    layer, reference = (cls(UNITS, **options) for cls in PAIRS[name])
    layer.build(X.shape)
    reference.build(X.shape)
    assert [w.shape for w in layer.weights] == [w.shape for w in reference.weights]
    if layer.cell.use_bias:  # the forget gate starts open, as in Keras
        np.testing.assert_array_equal(layer.cell.bias, reference.cell.bias)
    reference.set_weights([RNG.uniform(-1, 1, w.shape) for w in reference.weights])
    layer.set_weights(reference.get_weights())
    initial = [RNG.standard_normal((8, UNITS)).astype(np.float32) for _ in layer.state_size]
    for given in ({}, {"mask": keras.ops.convert_to_tensor(MASK), "initial_state": initial}):
        found, expected = (keras.tree.flatten(each(X, **given)) for each in (layer, reference))
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


@NAMES
@pytest.mark.parametrize("scaled", [False, True])
def test_quantized_kernels_multiply_inputs_and_quantized_states(name, scaled):
    layer = PAIRS[name][0](UNITS, "sign", Ternary(0.2), "sign", scaled=scaled, name="rnn")
    model = keras.Sequential([keras.Input(X.shape[1:]), layer, layers.QuantDense(2, Sign(), name="dense")])
    cell = layer.cell
    cell.bias.assign(RNG.standard_normal(cell.bias.shape))
    latent = [np.asarray(kernel.variable) for kernel in latent_kernels(layer)]
    quantized = [geometry.sign(latent[0]), geometry.ternarize(latent[1], 0.2)]
    assert [kernel.name for kernel in latent_kernels(layer)] == ["kernel", "recurrent_kernel"]
    factors = (4**-0.5, UNITS**-0.5) if scaled else (1, 1)
    states, h = by_hand(name, X, quantized, np.asarray(cell.bias), geometry.sign, factors)
    np.testing.assert_allclose(layer(X), h, atol=1e-5)
    stepped = keras.layers.RNN(cell)(X)  # the cell alone, step by step
    np.testing.assert_allclose(stepped, h, atol=1e-5)

    found = analyze(model, X)
    assert [row.name for row in found] == ["rnn/kernel", "rnn/recurrent_kernel", "dense"]
    for row, values, pair in zip(found, (X, states), zip(quantized, latent, strict=True), strict=False):
        products = [values.reshape(-1, len(kernel)) @ kernel for kernel in pair]
        assert row.r_weights == pytest.approx(np.corrcoef(*map(np.ravel, products))[0, 1], abs=1e-5)
        assert row.angle_mean_deg == pytest.approx(
            np.degrees(np.nanmean(geometry.angle(*pair, axis=0))), abs=1e-3
        )
        assert -1 <= row.r_scores < 1
    assert layer.kernel_quantizer is cell.kernel_quantizer is not None  # restored
    assert not found.unanalyzed
    counted = summary(model)
    gates = layer.cell.gates
    assert counted.layers[0].parameters == {
        1: 4 * gates * UNITS,
        2: UNITS * gates * UNITS,
        32: cell.bias.shape[-1] * cell.bias_rows,
    }
    assert counted.uncounted == ["rnn"]
    with pytest.raises(PackError, match=r"rnn: expected a chain of bnn.layers.*, received a Quant"):
        fold(keras.Model(model.inputs, model.outputs))


@NAMES
def test_gradients_are_those_of_keras_on_quantized_weights(name):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares gradients of TensorFlow")
    layer, reference = PAIRS[name][0](UNITS, Sign(), Ternary(0.2)), PAIRS[name][1](UNITS)
    for each in (layer, reference):
        each.build(X.shape)
    latent = [1.3 * RNG.uniform(-1, 1, w.shape).astype(np.float32) for w in layer.weights]
    layer.set_weights(latent)
    reference.set_weights([geometry.sign(latent[0]), geometry.ternarize(latent[1], 0.2), latent[2]])

    @tf.function
    def gradients(each):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(each(X, mask=tf.constant(MASK), training=True) ** 2)
        return tape.gradient(loss, [w.value for w in each.trainable_weights])

    for ours, theirs, kernel in zip(*map(gradients, (layer, reference)), latent, strict=True):
        passed = np.abs(kernel) <= 1 if kernel is not latent[2] else True
        np.testing.assert_allclose(ours, np.where(passed, theirs, 0), atol=1e-5)


@NAMES
def test_a_saved_network_gives_the_same_and_draws_the_same(name, tmp_path):
    layer = PAIRS[name][0](UNITS, StochasticSign(0), StochasticSign(1), "sign", return_sequences=True)
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    layer(X, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.layers[0].get_config() == layer.get_config()
    for training in (False, True, True):
        np.testing.assert_array_equal(*(np.asarray(each(X, training=training)) for each in (model, again)))
    assert not np.array_equal(layer(X, training=True), layer(X, training=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantLSTM(0), "units: expected a positive whole number, received 0"),
        (lambda: QuantGRU(2, clip=0), "limit: expected a positive number, received 0"),
        (lambda: QuantGRU(2, recurrent_kernel_quantizer="sing"), "received 'sing'; did you mean sign"),
        (lambda: QuantLSTMCell(2, None, None, StochasticSign()), "state_quantizer: expected one without random"),
        (lambda: QuantLSTM(2, name="q")(X[:, :0]), r"q: expected sequences .* of at least one step, received .*0, 4"),
        (lambda: QuantLSTM(2, name="q")(X[..., None]), r"q: expected sequences"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_cell_in_a_layer_of_keras_is_not_analyzed():
    model = keras.Sequential(
        [keras.Input(X.shape[1:]), keras.layers.RNN(QuantGRUCell(UNITS, Sign()), name="rnn")]
    )
    with pytest.raises(
        report.ReportError, match=r"a QuantGRUCell is analyzed only within bnn.layers.QuantLSTM and QuantGRU"
    ):
        analyze(model, X)
