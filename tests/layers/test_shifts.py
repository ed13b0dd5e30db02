"""RSign and RPReLU compared with their definitions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bnn.analysis import analyze
from bnn.layers import QuantActivation, QuantConv2D, RPReLU, RSign, Sign, Ternary
from tests.layers.layer_runs import normal, run

SHIFT = np.float32([0.5, -0.25, 0])


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("quantizer", "function"),
    [
        ("sign", lambda x: np.where(x >= 0, 1, -1)),
        (Ternary(0.3), lambda x: np.where(np.abs(x) > 0.3, np.sign(x), 0)),
        (None, lambda x: np.clip(x, -1, 1)),
    ],
)
def test_rsign_quantizes_after_the_shift(quantizer, function, dtype):
    layer = RSign(quantizer, dtype=dtype)
    x = np.array(tf.cast(tf.cast(normal(2, 3, 4, 3), "bfloat16"), "float32"))
    x[0, 0, 0] = SHIFT  # the sign of 0 is +1
    upstream = np.round(normal(2, 3, 4, 3, seed=1) * 4)
    layer.build(x.shape)
    layer.shift.assign(SHIFT)
    y, (x_gradient, shift_gradient) = run(layer, x, upstream, training=True)
    assert y.dtype == layer.compute_dtype and layer.compute_output_shape(x.shape) == x.shape
    np.testing.assert_allclose(tf.cast(y, tf.float32), function(x - SHIFT), rtol=2**-8)
    passed = np.where(np.abs(x - SHIFT) <= 1, upstream, 0)
    np.testing.assert_array_equal(x_gradient, passed)
    np.testing.assert_allclose(shift_gradient, -passed.sum(axis=(0, 1, 2)))


def test_rsign_without_a_shift_is_the_activation():
    x, upstream = normal(2, 5, 3), normal(2, 5, 3, seed=1)
    for quantizer in ("sign", "approx_sign", Ternary(0.3)):
        y, gradients = run(RSign(quantizer), x, upstream)
        expected, expected_gradients = run(QuantActivation(quantizer), x, upstream)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(gradients[0], expected_gradients[0])


def test_rprelu_is_its_definition():
    layer, reference = (
        RPReLU(),
        keras.layers.PReLU(shared_axes=[1, 2], alpha_initializer=keras.initializers.Constant(0.25)),
    )
    x, upstream = normal(2, 3, 4, 3), normal(2, 3, 4, 3, seed=1)
    found, expected = (run(each, x, upstream) for each in (layer, reference))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1][0], expected[1][0], rtol=1e-6)

    slope, offset = np.float32([0.1, -0.5, 2]), np.float32([1, 2, -3])
    for weight, value in ((layer.shift, SHIFT), (layer.slope, slope), (layer.offset, offset)):
        weight.assign(value)
    y, gradients = run(layer, x, upstream)
    at, positive = x - SHIFT, x > SHIFT
    along = upstream * np.where(positive, 1, slope)
    np.testing.assert_allclose(y, np.where(positive, at, slope * at) + offset, rtol=1e-5, atol=1e-6)
    sums = {"shift": -along, "slope": upstream * np.where(positive, 0, at), "offset": upstream}
    np.testing.assert_allclose(gradients[0], along, rtol=1e-6)
    for weight, gradient in zip(layer.trainable_weights, gradients[1:], strict=True):
        np.testing.assert_allclose(gradient, sums[weight.name].sum(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [RSign(), RSign(None), RSign(Ternary(0.2)), RPReLU()])
def test_they_can_be_restored_from_their_config(layer):
    saved = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is type(layer) and keras.saving.serialize_keras_object(again) == saved


def test_r_activations_compares_with_the_shifted_values():
    activation, product = RSign("sign"), QuantConv2D(4, 1, Sign(), name="conv")
    model = keras.Sequential([keras.Input((3, 4, 18)), activation, product, RPReLU()])
    shift = np.tile(SHIFT, 6)
    activation.shift.assign(shift)
    x = normal(30, 3, 4, 18)
    report = analyze(model, x)
    kernel = np.where(np.asarray(product.kernel)[0, 0] >= 0, 1, -1)
    at = x.reshape(-1, 18) - shift
    expected = np.corrcoef((np.where(at >= 0, 1, -1) @ kernel).ravel(), (at @ kernel).ravel())[0, 1]
    assert report[0].r_activations == pytest.approx(expected, abs=1e-5)
    assert not report.unanalyzed
