"""The experiment on what predicts the cost of binarizing a layer: binarized copies, costs and rank correlations."""

import types

import keras
import numpy as np
import pytest

from bnn.analysis import report
from experiments import networks, verdict


def test_a_copy_has_one_binarized_kernel_scaled_by_the_slope():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(inputs, networks.plain(keras.layers.Rescaling(1 / 127.5, -1)(inputs), 4))
    images = np.random.default_rng(0).integers(256, size=(20, 8, 8, 3), dtype=np.uint8)
    layers = report.analyze(model, images, quantizer="sign")
    layer = layers[2]
    copy = verdict.with_binary_kernel(model, layer)
    for old, new in zip(model.layers, copy.layers, strict=True):
        for before, after in zip(old.get_weights(), new.get_weights(), strict=True):
            if old.name == layer.name:
                signs = np.where(before >= 0, 1, -1)
                np.testing.assert_allclose(after, signs * layer.weights.slope, rtol=1e-5)
            else:
                np.testing.assert_array_equal(after, before)


def test_costs_equal_those_of_keras():
    scores = np.random.default_rng(0).normal(0, 50, (40, 10)).astype(np.float32)
    labels = np.arange(40) % 10
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy, cross_entropy = verdict.judge(scores, labels)
    assert accuracy == np.mean(scores.argmax(axis=1) == labels)
    assert cross_entropy == pytest.approx(float(loss(labels, scores)), rel=1e-5)


def test_the_divergence_before_refitting_is_that_of_keras():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(inputs, networks.dense(keras.layers.Rescaling(1 / 127.5, -1)(inputs), 2))
    images = np.random.default_rng(0).integers(256, size=(20, 8, 8, 3), dtype=np.uint8)
    layer = report.analyze(model, images, quantizer="sign")[1]
    experiment = types.SimpleNamespace(data=types.SimpleNamespace(test=types.SimpleNamespace(images=images)))
    found = verdict.unrefitted(experiment, model)(layer)
    copy = verdict.with_binary_kernel(model, layer)
    before, after = (keras.ops.softmax(m(images)) for m in (model, copy))
    assert found == pytest.approx(float(np.mean(keras.losses.kl_divergence(before, after))), rel=1e-3)


def rows(network, seed, r, lost):
    others = (*(key for key in verdict.KEPT if key not in ("layer", "units", "r_weights")), "diagonal_fisher")
    return [
        {"network": network, "seed": seed, "r_weights": a, "accuracy lost": b} | dict.fromkeys(others, 2 - a)
        for a, b in zip(r, lost, strict=True)
    ]


def test_ranks_are_computed_within_a_network_and_a_seed():
    table = rows("a", 0, [0.9, 0.8, 0.7], [0.01, 0.02, 0.03]) + rows("a", 1, [0.5, 0.4], [0.1, 0.2])
    table += rows("b", 0, [0.9, 0.8], [0.5, 0.4])
    ranks = verdict.rank_correlations(table, "accuracy lost")["1 - r"]
    assert ranks["a"] == (pytest.approx(1), 5)
    assert ranks["b"] == (pytest.approx(-1), 2)
    assert ranks["all"][1] == 7 and 0 < ranks["all"][0] < 1


def test_the_interval_of_a_rank_correlation():
    """A monotonic relation has it in every resample; without a relation the interval contains 0."""
    rng = np.random.default_rng(1)
    r = rng.uniform(0.5, 1, 30)
    perfect = rows("a", 0, r[:15], 1 - r[:15]) + rows("b", 0, r[15:], 5 - r[15:])
    random = rows("a", 0, r[:15], rng.normal(size=15)) + rows("b", 0, r[15:], rng.normal(size=15))
    predict = verdict.PREDICTED["1 - r"]
    assert verdict.interval(perfect, "accuracy lost", predict) == pytest.approx((1, 1))
    low, high = verdict.interval(random, "accuracy lost", predict)
    found, _ = verdict.rank_correlations(random, "accuracy lost")["1 - r"]["all"]
    assert -0.6 < low < found < high < 0.6 and low < 0 < high


def test_the_diagonal_fisher_of_one_layer_is_its_definition():
    """Softmax regression: the gradient of log p(y) is x (onehot(y) - p), here with the labels that were drawn."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, use_bias=False)])
    x = np.random.default_rng(0).normal(size=(verdict.COST_IMAGES, 6)).astype(np.float32)
    kernel = np.array(model.layers[0].kernel)
    rows = report.analyze(model, x, quantizer="sign")
    change = np.sign(kernel) * rows[0].slope - kernel
    p = np.exp(x @ kernel)
    p /= p.sum(axis=1, keepdims=True)
    # The expectation over the labels of (onehot(y) - p)^2 is p (1 - p).
    expected = (
        np.mean([np.sum(np.outer(a**2, b * (1 - b)) * change**2) for a, b in zip(x, p, strict=True)]) / 2
    )
    (found,) = verdict.diagonal_fisher(model, rows, x)
    assert found == pytest.approx(expected, rel=0.25)
