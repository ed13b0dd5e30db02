"""The cost of quantizers: against finite differences of the log-likelihood, and against the measured divergence."""

import keras
import numpy as np
import pytest

import bnn
from bnn.analysis.core import cost
from bnn.analysis.core.agreement import other_kernel
from bnn.analysis.keras import gradients
from bnn.layers import QuantActivation, QuantDense

RNG = np.random.default_rng(0)


def network(classes=4, activation=None, own=False):
    """A convolutional network in full precision, or one whose dense kernel is quantized by its layer."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(5, 3, activation="tanh", name="conv")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    hidden = (
        QuantDense(8, "magnitude_aware_sign", name="hidden") if own else keras.layers.Dense(8, name="hidden")
    )
    x = keras.layers.Activation("tanh")(hidden(x))
    return keras.Model(inputs, keras.layers.Dense(classes, activation, name="scores")(x))


def images(n=30):
    return RNG.normal(size=(n, 6, 6, 2)).astype(np.float32)


def log_p(model, x):
    scores = np.asarray(model(x), np.float64)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def half_square_slopes(model, layer, x, labels, step=1e-2):
    """Half the mean square of the derivative of log p(label) along the change, by central differences."""
    variable, before = layer.product.variable, keras.ops.convert_to_numpy(layer.product.variable).copy()
    own = isinstance(layer.product.layer, QuantDense)
    kernels = layer.product.kernels
    start = (kernels.quantized if own else kernels.latent).reshape(before.shape)
    change = other_kernel(layer, not own).reshape(before.shape) - start
    quantizer = getattr(layer.product.layer, "kernel_quantizer", None)
    if own:
        layer.product.layer.kernel_quantizer = None
    found = []
    for sign in (1, -1):
        variable.assign(start + sign * step * change)
        found.append(log_p(model, x)[np.arange(len(x)), labels])
    variable.assign(before)
    if own:
        layer.product.layer.kernel_quantizer = quantizer
    return np.mean(((found[0] - found[1]) / (2 * step)) ** 2) / 2


@pytest.mark.parametrize("own", [False, True])
def test_the_cost_is_half_the_mean_square_of_the_directional_derivative(own):
    model, x = network(own=own), images()
    labels = RNG.integers(0, 4, len(x))
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]
    report = bnn.analyze(model, x, score_images=0, cost_images=len(x), labels=labels)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert [layer.name for layer in report] == ["conv", "hidden", "scores"]
    for layer in report:
        assert layer.cost == pytest.approx(half_square_slopes(model, layer, x, labels), rel=2e-2)
        assert 0 < layer.cost_error < layer.cost
    assert "cost" in report.text() and "cost" not in bnn.analyze(model, x, score_images=0).text()


def test_drawn_labels_predict_the_divergence_of_a_small_change():
    model, x = network(), images(150)
    kernel = model.get_layer("hidden").kernel
    change = 0.1 * RNG.normal(size=kernel.shape).astype(np.float32)
    found = cost.costs(gradients.Gradients(model, x, [kernel]), [[change, 2 * change]], len(x), seed=1)
    before = log_p(model, x)
    kernel.assign_add(change)
    divergence = np.mean(np.sum(np.exp(before) * (before - log_p(model, x)), axis=1))
    ((small, large),), ((error, _),) = found.values, found.errors
    assert abs(small - divergence) < 4 * error + 0.1 * divergence
    assert large == pytest.approx(4 * small)
    assert found.reason is None


def test_probabilities_are_recognized():
    """A softmax at the end changes neither the predictions nor the costs."""
    x, seen = images(), []
    for activation in (None, "softmax"):
        report = bnn.analyze(network(activation=activation), x, score_images=0, cost_images=10)
        seen.append([layer.cost for layer in report])
    np.testing.assert_allclose(*seen, rtol=1e-3)


def test_the_cost_of_a_regression_is_half_the_squared_error():
    model, x = network(classes=1), images(200)
    layer = bnn.analyze(model, x, score_images=0, cost_images=len(x))["scores"]
    change = other_kernel(layer, True).reshape(8, 1) - np.asarray(model.get_layer("scores").kernel)
    below = keras.Model(model.inputs, model.get_layer("scores").input)
    expected = np.mean((np.asarray(below([x])) @ change) ** 2) / 2
    assert abs(layer.cost - expected) < 4 * layer.cost_error


def test_activations_of_a_binary_network_pass_their_straight_through_gradient():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20,))
    x = QuantActivation("sign")(keras.layers.Dense(16, name="first")(inputs))
    model = keras.Model(inputs, QuantDense(3, "sign", name="last")(x))
    report = bnn.analyze(model, RNG.normal(size=(40, 20)).astype(np.float32), score_images=0, cost_images=20)
    assert all(layer.cost > 0 for layer in report)


def test_outputs_that_are_no_scores_and_wrong_labels_are_named():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, name="only")(inputs)
    model = keras.Model(inputs, keras.ops.sum(x))
    x = RNG.normal(size=(6, 4)).astype(np.float32)
    report = bnn.analyze(model, x, score_images=0, cost_images=6)
    assert np.isnan(report["only"].cost) and report.undefined["cost"]
    for labels in (np.zeros(5, int), np.zeros(6), -np.ones(6, int)):
        with pytest.raises(bnn.analysis.ReportError, match="labels: expected 6 whole numbers from 0"):
            bnn.analyze(model, x, cost_images=6, labels=labels)
