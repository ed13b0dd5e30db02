"""Recurrent layers, attention and masks, compared with NumPy code that computes every step."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.spatial.distance import cdist

from bnn import plots
from bnn.analysis import ReportError, report

RNG = np.random.default_rng(0)
SEQUENCES = RNG.standard_normal((12, 5, 4)).astype(np.float32)
MASK = RNG.random((12, 5)) < 0.6
MASK[0], MASK[1] = False, True
MASKED = np.where(MASK[..., None], SEQUENCES, 0).astype(np.float32)
UNITS = 3


def sign(x):
    return np.where(x >= 0, 1.0, -1.0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def correlation(x, y):
    return np.corrcoef(np.ravel(x), np.ravel(y))[0, 1]


# ---- the reference: every gate of every step, in float64 ----


def lstm_step(x, h, c, kernel, recurrent, bias):
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, c, kernel, recurrent, bias):
    z, r, g = np.split(x @ kernel + bias[0], 3, axis=1)
    hz, hr, hg = np.split(h @ recurrent + bias[1], 3, axis=1)
    z, r = sigmoid(z + hz), sigmoid(r + hr)
    return z * h + (1 - z) * np.tanh(g + r * hg), c


def gru_before_step(x, h, c, kernel, recurrent, bias):
    """The reset gate acts before the product."""
    z, r, g = np.split(x @ kernel + bias, 3, axis=1)
    uz, ur, ug = np.split(recurrent, 3, axis=1)
    z, r = sigmoid(z + h @ uz), sigmoid(r + h @ ur)
    return z * h + (1 - z) * np.tanh(g + (r * h) @ ug), c


def simple_step(x, h, c, kernel, recurrent, bias):
    return np.tanh(x @ kernel + h @ recurrent + bias), c


def states_by_hand(step, weights, sequences, mask=None, backwards=False, h=0.0):
    """(h before every step, h after the last one), steps in the order of the sequence."""
    n, steps, _ = sequences.shape
    h, c = np.zeros((n, UNITS)) + h, np.zeros((n, UNITS))
    seen = np.empty((n, steps, UNITS))
    for t in range(steps)[:: -1 if backwards else 1]:
        seen[:, t] = h
        new = step(sequences[:, t].astype(np.float64), h, c, *weights)
        keep = np.ones((n, 1), bool) if mask is None else mask[:, t, None]
        h, c = (np.where(keep, after, before) for after, before in zip(new, (h, c), strict=True))
    return seen, h


CELLS = {
    "lstm": (layers.LSTM, {}, lstm_step),
    "gru": (layers.GRU, {}, gru_step),
    "gru, reset before": (layers.GRU, {"reset_after": False}, gru_before_step),
    "simple": (layers.SimpleRNN, {"dropout": 0.5, "recurrent_dropout": 0.5}, simple_step),
}


def recurrent(cls, masked, **options):
    options |= {"bias_initializer": "normal", "name": "layer"}
    first = [layers.Masking()] if masked else []
    return keras.Sequential([keras.Input((5, 4)), *first, cls(UNITS, **options)])


def products_by_hand(step, weights, sequences, seen):
    """Pairs (a.w_b, a.w_c) of the kernel and of the recurrent kernel, (rows, units)."""
    kernel, other, bias = weights
    x, h = sequences.reshape(-1, 4), seen.reshape(-1, UNITS)
    first = [x @ k for k in (sign(kernel), kernel)]
    if step is not gru_before_step:
        return first, [h @ k for k in (sign(other), other)]
    reset = slice(UNITS, 2 * UNITS)
    r = sigmoid(x @ kernel[:, reset] + bias[reset] + h @ other[:, reset])
    return first, [
        np.concatenate([h @ k[:, : 2 * UNITS], (r * h) @ k[:, 2 * UNITS :]], 1) for k in (sign(other), other)
    ]


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("case", CELLS.values(), ids=CELLS)
def test_every_time_step_counts(case, backwards, masked):
    cls, options, step = case
    keras.utils.set_random_seed(0)
    model = recurrent(cls, masked, go_backwards=backwards, **options)
    images = MASKED if masked else SEQUENCES
    found = report.analyze(model, images, batch_size=5)
    weights = [w.numpy().astype(np.float64) for w in model.layers[-1].trainable_weights]
    mask = MASK if masked else None
    seen, last = states_by_hand(step, weights, images, mask, backwards)
    np.testing.assert_allclose(model(images), last, atol=1e-5)  # the reference is the layer
    kept = np.ones((12, 5), bool) if mask is None else mask
    pairs = products_by_hand(step, weights, images, seen)
    assert [layer.name for layer in found] == ["layer/kernel", "layer/recurrent_kernel"]
    for layer, (x, y) in zip(found, pairs, strict=True):
        x, y = (values[kept.reshape(-1)] for values in (x, y))
        assert layer.weights.count == x.size
        assert layer.r_weights == pytest.approx(correlation(x, y), abs=1e-5)
        r = [correlation(*pair) for pair in zip(x.T, y.T, strict=True)]
        np.testing.assert_allclose(layer.gains.r, r, atol=1e-4)
        norm2 = np.sum(layer.kernels.latent.astype(np.float64) ** 2, axis=0)
        if step is not gru_before_step or layer is found[0]:
            a = (images if layer is found[0] else seen)[kept]
            gain = y.var(axis=0) / (norm2 * a.var(axis=0).mean())
            np.testing.assert_allclose(layer.gains.gain, gain, rtol=1e-3)
            apart = cdist(layer.patches, a)  # every input is sampled, and nothing else
            assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 1e-5
    assert 0 < found[1].r_scores < 1
    assert np.isfinite([layer.r_permuted for layer in found]).all()


def test_each_gate_has_its_own_angle_and_gain():
    lstm = report.analyze(recurrent(layers.LSTM, False), SEQUENCES)["layer/kernel"]
    assert list(lstm.gates) == ["input", "forget", "candidate", "output"]
    assert lstm.gates["forget"]["angle_mean_deg"] == pytest.approx(np.degrees(lstm.angles[3:6].mean()))
    assert lstm.gates["output"]["gain"] == pytest.approx(lstm.gains.gain[9:].mean())
    assert report.analyze(recurrent(layers.SimpleRNN, False), SEQUENCES)[0].gates == {}


def test_r_scores_replace_a_recurrent_kernel():
    model = recurrent(layers.SimpleRNN, False, activation=None)
    scores = np.asarray(model(SEQUENCES))
    found = report.analyze(model, SEQUENCES)
    weights = [w.numpy().astype(np.float64) for w in model.layers[-1].weights]
    for place, layer in enumerate(found):
        other = list(weights)
        other[place] = sign(other[place]) * layer.weights.slope
        h = np.zeros((12, UNITS))
        for t in range(5):
            h = SEQUENCES[:, t] @ other[0] + h @ other[1] + other[2]
        assert layer.r_scores == pytest.approx(correlation(scores, h), abs=1e-4)


def test_both_directions_and_every_part_of_a_distributed_layer_count():
    inner = layers.Bidirectional(layers.LSTM(UNITS, name="lstm"), name="both")
    model = keras.Sequential([keras.Input((2, 5, 4)), layers.TimeDistributed(inner, name="parts")])
    images = SEQUENCES.reshape(6, 2, 5, 4)
    found = report.analyze(model, images, batch_size=4)
    names = [
        f"parts/both/{way}_lstm/{kernel}"
        for way in ("forward", "backward")
        for kernel in ("kernel", "recurrent_kernel")
    ]
    assert [layer.name for layer in found] == names
    for layer, backwards in ((inner.forward_layer, False), (inner.backward_layer, True)):
        weights = [w.numpy().astype(np.float64) for w in layer.weights]
        seen, _ = states_by_hand(lstm_step, weights, SEQUENCES, backwards=backwards)
        pair = products_by_hand(lstm_step, weights, SEQUENCES, seen)[1]
        row = found[f"parts/both/{layer.name}/recurrent_kernel"]
        assert row.weights.count == pair[0].size
        assert row.r_weights == pytest.approx(correlation(*pair), abs=1e-5)


def test_initial_states_are_those_of_the_model():
    inputs, state = keras.Input((5, 4)), keras.Input((UNITS,))
    layer = layers.GRU(UNITS, name="layer")
    model = keras.Model([inputs, state], layer(inputs, initial_state=state))
    start = RNG.standard_normal((12, UNITS)).astype(np.float32)
    found = report.analyze(model, [SEQUENCES, start])
    weights = [w.numpy().astype(np.float64) for w in layer.weights]
    seen, _ = states_by_hand(gru_step, weights, SEQUENCES, h=start)
    assert found[1].r_weights == pytest.approx(
        correlation(*products_by_hand(gru_step, weights, SEQUENCES, seen)[1]), abs=1e-5
    )


def test_statistics_are_nan_if_a_mask_removes_everything():
    found = report.analyze(recurrent(layers.LSTM, True), np.zeros((4, 5, 4), np.float32))
    for layer in found:
        row = layer.statistics()
        assert layer.weights.count == 0 and layer.patches.shape == (0, layer.d)
        assert np.isnan(
            [row[key] for key in ("r_weights", "gain", "r_within", "r_permuted", "sign_flips")]
        ).all()
        assert row["angle_mean_deg"] > 0


def test_a_distributed_layer_leaves_out_the_steps_that_a_mask_removes():
    dense = layers.Dense(3, name="dense")
    model = keras.Sequential([keras.Input((5, 4)), layers.Masking(), layers.TimeDistributed(dense, name="t")])
    (row,) = report.analyze(model, MASKED, batch_size=5)
    rows, w = MASKED[MASK], dense.kernel.numpy()
    assert row.weights.count == rows.shape[0] * 3
    assert row.r_weights == pytest.approx(correlation(rows @ sign(w), rows @ w), abs=1e-5)
    assert {tuple(patch) for patch in row.patches} == {tuple(values) for values in rows}


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_layers_of_half_precision_step_in_half_precision(dtype):
    model = recurrent(layers.LSTM, False, dtype=dtype)
    found = report.analyze(model, SEQUENCES, score_images=0)
    plain = recurrent(layers.LSTM, False)
    plain.set_weights(model.get_weights())
    for row, other in zip(found, report.analyze(plain, SEQUENCES, score_images=0), strict=True):
        assert row.weights.count == other.weights.count
        assert row.r_weights == pytest.approx(other.r_weights, abs=0.01) and row.r_weights != other.r_weights


# ---- attention and embeddings ----


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def transformer():
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True, name="embedding")(tokens)
    y = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    x = layers.Add()([x, layers.Dense(4, name="down")(layers.Dense(8, "relu", name="up")(x))])
    return keras.Model(tokens, layers.Dense(2, name="head")(layers.GlobalAveragePooling1D()(x)))


TOKENS = RNG.integers(1, 9, (10, 6))
TOKENS[:5, 4:] = 0


def test_every_kernel_of_a_transformer_has_a_row():
    keras.utils.set_random_seed(0)
    model = transformer()
    found = report.analyze(model, TOKENS)
    parts = [f"attention/{part}" for part in ("query", "key", "value", "attention_output")]
    assert [layer.name for layer in found] == ["embedding", *parts, "up", "down", "head"]
    assert found.unanalyzed == {}
    x = model.get_layer("embedding").embeddings.numpy()[TOKENS]
    attention = model.get_layer("attention")
    q, k, v = (
        np.einsum("ntc,chd->nthd", x, part.kernel.numpy())
        for part in (attention.query_dense, attention.key_dense, attention.value_dense)
    )
    logits = np.einsum("nthd,nshd->nhts", q, k) / np.sqrt(3)
    logits[np.broadcast_to(TOKENS[:, None, None, :] == 0, logits.shape)] = -np.inf
    heads = np.einsum("nhts,nshd->nthd", softmax(logits), v).reshape(10, 6, 6)
    kept = TOKENS > 0
    for name, a in (("query", x), ("key", x), ("value", x), ("attention_output", heads)):
        w = found[f"attention/{name}"].kernels.latent
        r = correlation(a[kept] @ sign(w), a[kept] @ w)
        assert found[f"attention/{name}"].r_weights == pytest.approx(r, abs=1e-5), name
    assert all(0 < layer.r_scores < 1 for layer in found)


@pytest.mark.filterwarnings("ignore:Layer '.*does not support masking")  # Keras's own
def test_masks_of_attention_over_grouped_queries():
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(tokens)
    y = layers.GroupQueryAttention(3, 4, 2, use_gate=True, name="attention")(x, x)
    found = report.analyze(keras.Model(tokens, y), TOKENS, score_images=0)
    assert found.unanalyzed == {}
    rows = {layer.name: layer.weights.count // layer.units for layer in found[1:]}
    parts = ("query", "key", "value", "gate", "attention_output")
    assert rows == {f"attention/{part}": (TOKENS > 0).sum() for part in parts}


def test_an_embedding_has_only_angles():
    model = transformer()
    found = report.analyze(model, TOKENS)
    layer = found["embedding"]
    table = model.get_layer("embedding").embeddings.numpy()
    cosines = np.abs(table).sum(axis=1) / np.sqrt(4) / np.linalg.norm(table, axis=1)
    assert layer.angle_mean_deg == pytest.approx(np.degrees(np.arccos(cosines)).mean(), abs=1e-3)
    assert (layer.d, layer.units) == (4, 9)
    assert np.isnan([layer.r_weights, layer.gain, layer.r_within]).all() and layer.patches.shape == (0, 4)
    assert "angle only: embedding" in found.text()
    slope = (sign(table) * (table - table.mean())).mean() / sign(table).var()
    scores = np.asarray(model(TOKENS))
    model.get_layer("embedding").embeddings.assign(sign(table) * slope)
    assert layer.r_scores == pytest.approx(correlation(scores, np.asarray(model(TOKENS))), abs=1e-4)


def test_figures_of_a_model_with_only_an_embedding(tmp_path):
    model = keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(9, 4)])
    drawn = plots.save_all(report.analyze(model, TOKENS), tmp_path)
    assert drawn == ["angles", "latent_weights"]
    assert {path.stem for path in tmp_path.iterdir()} == set(drawn)


# ---- refusals ----


class OwnCell(layers.Layer):
    state_size = 3

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3))

    def call(self, inputs, states):
        h = keras.ops.matmul(inputs, self.kernel) + states[0]
        return h, [h]


class OwnLSTM(layers.LSTM):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        return super().call(sequences, initial_state, mask, training)


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (lambda: layers.RNN(OwnCell(), name="l"), (5, 4), r"l \(its cell, a OwnCell, is none of Keras's"),
        (lambda: layers.RNN([layers.LSTMCell(3)] * 2, name="l"), (5, 3), r"l \(its cell, a StackedRNNCells"),
        (lambda: OwnLSTM(3, name="l"), (5, 4), r"l \(OwnLSTM has a call of its own"),
        (lambda: layers.ConvLSTM1D(3, 2, name="l"), (5, 4, 2), r"l \(its cell, a ConvLSTMCell"),
    ],
)
def test_recurrent_layers_that_are_refused_are_named(layer, shape, reason):
    with pytest.raises(ReportError, match=f"a layer with a kernel that can be analyzed, received {reason}"):
        report.analyze(keras.Sequential([keras.Input(shape), layer()]), np.zeros((2, *shape), np.float32))


def test_stateful_layers_and_empty_sequences_are_refused():
    stateful = keras.Sequential(
        [keras.Input(batch_shape=(12, 5, 4)), layers.LSTM(3, stateful=True, name="l")]
    )
    with pytest.raises(ReportError, match="it is stateful"):
        report.analyze(stateful, SEQUENCES)
    model = keras.Sequential([keras.Input((None, 4)), layers.LSTM(3)])
    with pytest.raises(ReportError, match=r"expected shape \(n, any, 4\) with n >= 1, received \(12, 0, 4\)"):
        report.analyze(model, SEQUENCES[:, :0])
    with pytest.raises(ReportError, match="expected an array for each of 1 inputs, received 12"):
        report.analyze(model, [[[1.0] * 4] * 2, [[1.0] * 4]])
