"""The levels of kernels for a number of bits: the exact choice, the prediction, and the command."""

import itertools
import json

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bnn
from bnn.analysis import ReportError, apply_levels, assign_levels
from bnn.analysis.core import assignment
from bnn.commands import analyze
from bnn.geometry.levels import lloyd_max

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 6, 6, 2)).astype(np.float32)


def network():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(5, 3, activation="relu", name="conv")(x)
    x = keras.layers.Dense(16, activation="relu", name="hidden")(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(4, name="scores")(x))


def log_p(model):
    scores = keras.ops.convert_to_numpy(model(X)).astype(np.float64)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
    st.floats(1, 32),
)
def test_the_choice_is_the_cheapest_of_all_within_the_budget(weights, seed, budget):
    weights, bits = np.array(weights), np.array([1, 2, 4, 32])
    costs = np.random.default_rng(seed).exponential(size=(len(weights), len(bits)))
    found = assignment.cheapest(weights, costs, bits, budget)
    every = (np.array(c) for c in itertools.product(range(len(bits)), repeat=len(weights)))
    allowed = [c for c in every if weights @ bits[c] <= budget * weights.sum() * (1 + 1e-9)]
    rows = np.arange(len(weights))
    assert weights @ bits[found] <= budget * weights.sum() * (1 + 1e-6)
    assert costs[rows, found].sum() <= min(costs[rows, c].sum() for c in allowed) * (1 + 1e-6)


def test_units_are_quantized_to_scaled_lloyd_max_levels():
    kernel = RNG.normal(size=(500, 1, 3)).astype(np.float32) * [0.1, 1, 10]
    kernel[:, 0, 0] = 0
    for levels in (2, 3, 8):
        quantized = assignment.with_levels(kernel, levels)
        assert not quantized[:, 0, 0].any()
        for unit in (1, 2):
            w, q = kernel[:, 0, unit], quantized[:, 0, unit]
            assert len(np.unique(q)) == levels
            assert q @ (w - q) == pytest.approx(0, abs=1e-3 * (w @ w))  # the best scale
            assert np.mean((w - q) ** 2) / np.mean(w**2) == pytest.approx(lloyd_max(levels)[2], rel=0.15)
    assert assignment.with_levels(kernel, None) is kernel


def test_more_bits_cost_less_and_the_sum_predicts_the_divergence():
    model = network()
    before = [keras.ops.convert_to_numpy(w).copy() for w in model.weights]
    found = [assign_levels(model, X, budget, cost_images=30) for budget in (1, 1.5, 3, 32)]
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert all(a.bits <= a.budget + 1e-6 for a in found)
    assert [a.predicted for a in found] == sorted((a.predicted for a in found), reverse=True)
    assert set(found[0].levels().values()) == {2} and set(found[3].levels().values()) == {None}
    assert found[3].predicted == found[3].measured == 0
    for choice in (c for a in found for c in a.choices):
        assert set(choice.others) | {choice.levels} == {*assignment.LEVELS, None}
    first = found[0].choices[0]
    assert first.reason == f"3 would save {first.cost - first.others[3]:.5f}"
    original = log_p(model)
    apply_levels(model, X, found[1])
    divergence = np.mean(np.sum(np.exp(original) * (original - log_p(model)), axis=1))
    assert found[1].measured == pytest.approx(divergence, rel=1e-3)
    assert found[0].predicted == pytest.approx(found[0].measured, rel=0.5)


def test_the_command_writes_levels_and_a_model_that_has_them(tmp_path, capsys):
    network().save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", X)
    levels, quantized = tmp_path / "levels.json", tmp_path / "quantized.keras"
    flags = ["--images", tmp_path / "x.npy", "--budget", 1.5, "--assignment", levels, "--apply", quantized]
    assert analyze.main([str(word) for word in (tmp_path / "model.keras", *flags)]) == 0
    printed = capsys.readouterr().out
    assert "bits per weight of at most 1.5; predicted" in printed and printed.count(" would save ") >= 2
    assert printed.splitlines()[-1] == f"wrote {levels} and {quantized}"
    chosen, model = json.loads(levels.read_text()), keras.saving.load_model(quantized)
    assert list(chosen) == ["conv", "hidden", "scores"]
    for name, number in chosen.items():
        kernel = keras.ops.convert_to_numpy(model.get_layer(name).kernel)
        kernel = kernel.reshape(-1, kernel.shape[-1])
        if number:
            assert max(len(np.unique(unit)) for unit in kernel.T) <= number


@pytest.mark.parametrize("budget", [0.5, 33, float("nan")])
def test_budgets_out_of_range_are_refused(budget, capsys):
    with pytest.raises(ReportError, match="budget: expected 1 to 32 bits per weight, received"):
        assign_levels(network(), X, budget)
    with pytest.raises(SystemExit):
        analyze.main(["model.keras", "--budget", str(budget)])
    assert "argument --budget: expected 1 to 32 bits per weight" in capsys.readouterr().err


def test_networks_that_quantize_themselves_and_unknown_layers_are_refused():
    binary = bnn.build(input_shape=(6, 6, 2), conv=(), max_pool=(), fc=(4,), classes=3)
    pixels = RNG.integers(0, 256, (8, 6, 6, 2), dtype=np.uint8)
    with pytest.raises(ReportError, match="expected kernels without a quantizer of their own"):
        assign_levels(binary, pixels, 2)
    for levels in ({"none": 2}, {"conv": 1}, {"conv": 2.0}, {"conv": 257}):
        with pytest.raises(ReportError, match="expected"):
            apply_levels(network(), X, levels)


def test_a_kernel_without_a_cost_is_one_line():
    """The magnitude of products that are 0 has no derivative."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    real = keras.layers.Dense(4, use_bias=False, name="waves")(inputs)
    size = keras.layers.Lambda(lambda x: keras.ops.sqrt(x**2))(real)
    model = keras.Model(inputs, keras.layers.Dense(3, name="scores")(size))
    images = np.vstack([RNG.normal(size=(9, 6)), np.zeros((1, 6))]).astype(np.float32)
    with pytest.raises(
        ReportError, match="expected a finite cost of every kernel, received none of waves, because"
    ):
        assign_levels(model, images, 2)
    assert assign_levels(model, images[:9], 2).bits <= 2
