"""Batch norm compared with NumPy and with Keras's own layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bnn.console.errors import ConfigError
from bnn.layers import BatchNorm, fast_ops
from tests.layers.layer_runs import normal, run

BFLOAT16_EPSILON = 2.0**-8


@pytest.mark.parametrize("shape", [(64, 5), (8, 4, 3, 5)])
def test_batch_norm_against_numpy(shape):
    x, offset, decay, epsilon = 2 * normal(*shape) + 3, normal(5, seed=1), 0.9, 1e-3
    layer = BatchNorm(decay, epsilon)
    layer.build(shape)
    layer.offset.assign(offset)
    flat = x.reshape(-1, 5).astype(np.float64)
    mean, variance = flat.mean(0), flat.var(0)  # The biased variance: divided by n.

    trained = layer(x, training=True)
    np.testing.assert_allclose(
        trained, (x - mean) / np.sqrt(variance + epsilon) + offset, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-4)  # The initial value has no weight.
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)

    moving_mean, moving_variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    inferred = layer(x, training=False)
    expected = (x - moving_mean) / np.sqrt(moving_variance + epsilon) + offset
    np.testing.assert_allclose(inferred, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, moving_mean)  # Inference does not update it.
    np.testing.assert_array_equal(layer(x), inferred)


def test_moving_averages_weigh_all_steps_equally_at_first():
    layer = BatchNorm(decay=0.75)
    batches = normal(8, 20, 3) + 1
    means = batches.astype(np.float64).mean(axis=1)
    expected = np.zeros(3)
    for step, batch in enumerate(batches):
        layer(batch, training=True)
        expected += max(0.25, 1 / (step + 1)) * (means[step] - expected)
        np.testing.assert_allclose(layer.moving_mean, expected, rtol=1e-4, atol=1e-6)
        if step < 4:
            np.testing.assert_allclose(expected, means[: step + 1].mean(axis=0))


@pytest.mark.parametrize("shape", [(32, 6), (4, 5, 4, 6)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_equals_keras(shape, training):
    ours = BatchNorm(0.95, 1e-3)
    theirs = keras.layers.BatchNormalization(momentum=0.95, epsilon=1e-3, scale=False)
    weights = [normal(6), normal(6, seed=1), np.abs(normal(6, seed=2)) + 0.1, np.float32(1000)]
    x, upstream = 3 * normal(*shape, seed=3) - 1, normal(*shape, seed=4)
    results = []
    for layer in (ours, theirs):
        layer.build(shape)
        for weight, value in zip(layer.weights, weights, strict=False):  # Keras has no counter of steps.
            weight.assign(value)
        results.append((run(layer, x, upstream, training=training), layer.get_weights()[:3]))
    for mine, other in zip(*map(tf.nest.flatten, results), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(32, 6), (4, 5, 4, 6)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_with_a_scale_equals_keras(shape, training):
    """Values, averages and all gradients, with negative factors and a factor of 0."""
    ours, theirs = (
        BatchNorm(0.95, 1e-4, scale=True),
        keras.layers.BatchNormalization(momentum=0.95, epsilon=1e-4),
    )
    gamma, offset, mean = np.float32([1, -2, 0, 0.5, -0.1, 3]), normal(6), normal(6, seed=1)
    variance = np.abs(normal(6, seed=2)) + 0.1
    x, upstream = 3 * normal(*shape, seed=3) - 1, normal(*shape, seed=4)
    for layer in (ours, theirs):
        layer.build(shape)
    assert all(np.asarray(ours.gamma) == 1)
    ours.set_weights([offset, gamma, mean, variance, np.float32(1000)])
    theirs.set_weights([gamma, offset, mean, variance])
    y, (d_x, d_offset, d_gamma) = run(ours, x, upstream, training=training)
    expected, (d_x_, d_gamma_, d_offset_) = run(theirs, x, upstream, training=training)
    found = y, d_x, d_offset, d_gamma, ours.moving_mean, ours.moving_variance
    wanted = expected, d_x_, d_offset_, d_gamma_, theirs.moving_mean, theirs.moving_variance
    for mine, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)


def test_training_and_inference_have_the_same_epsilon_however_small():
    """TensorFlow's fused operation would replace 1e-7 by 1e-5, of which a variance of 1e-5 makes a factor of 1.4."""
    x = np.sqrt(1e-5) * normal(8, 4, 4, 3)
    layer = BatchNorm(0.0, 1e-7)
    trained = layer(x, training=True)
    np.testing.assert_allclose(trained, layer(x, training=False), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_computes_in_float32(training):
    layer, exact = BatchNorm(0.5, dtype="mixed_bfloat16"), BatchNorm(0.5)
    x = tf.cast(normal(64, 3, 3, 4) + 5, tf.bfloat16)
    y, expected = layer(x, training=training), exact(tf.cast(x, tf.float32), training=training)
    assert y.dtype == tf.bfloat16
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    np.testing.assert_allclose(layer.moving_mean, exact.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, exact.moving_variance, rtol=1e-4)
    np.testing.assert_allclose(tf.cast(y, tf.float32), expected, rtol=BFLOAT16_EPSILON, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 2, 3)])
def test_batch_norm_of_constant_channels_gives_the_offset(shape):
    layer = BatchNorm()
    layer.build(shape)
    layer.offset.assign([1, 2, 3])
    y = layer(np.full(shape, 7, np.float32), training=True)
    np.testing.assert_allclose(y, np.broadcast_to(np.float32([1, 2, 3]), shape), atol=1e-4)
    assert np.isfinite(layer.moving_variance).all()


def test_a_frozen_layer_uses_and_keeps_its_averages():
    """As Keras's does."""
    layer, x = BatchNorm(0.5), normal(64, 4) + 5
    layer(x, training=True)
    layer.trainable = False
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(3 * x, training=True), layer(3 * x, training=False))
    for weight, value in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("shape", [(1, 5), (1, 1, 1, 5), (1, 1, 5)])
def test_one_value_per_channel_is_refused_in_training_alone(shape):
    layer = BatchNorm()
    x = normal(*shape)
    layer(x)
    with pytest.raises(ConfigError, match=r"expected training batches of at least 2 images, .* a batch of 1"):
        layer(x, training=True)
    np.testing.assert_array_equal(layer.moving_variance, 1)
    layer.trainable = False
    layer(x, training=True)


def test_one_image_with_several_places_is_normalized():
    assert np.std(BatchNorm()(normal(1, 4, 4, 5), training=True)) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("pixels", [(), (1, 1)])
def test_a_last_batch_of_one_image_ends_a_fit(pixels):
    x = normal(9, *pixels, 6)
    model = keras.Sequential([keras.Input(x.shape[1:]), BatchNorm()])
    model.compile("sgd", "mse")
    model.fit(x[:8], x[:8], batch_size=4, verbose=0)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="expected training batches of at least 2 images"
    ):
        model.fit(x, x, batch_size=4, verbose=0)


def test_xla_which_leaves_assertions_out_gets_nan():
    compiled = tf.function(fast_ops.expect_two, jit_compile=True)
    assert np.isnan(compiled(normal(1, 3), "two")).all()
    np.testing.assert_array_equal(compiled(normal(2, 3), "two"), normal(2, 3))


@pytest.mark.parametrize("shape", [(16, 3), (4, 5, 4, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float16", 3e-3), ("bfloat16", 3e-2)])
def test_batch_norm_of_every_precision(shape, dtype, tolerance):
    """In float64 all is float64; in half precision only the output is, and steps beyond 2048 are counted."""
    layer, x = BatchNorm(0.5, dtype=dtype), keras.ops.cast(3 * normal(*shape) + 1, dtype)
    values = np.asarray(keras.ops.cast(x, "float64"))
    axes = tuple(range(len(shape) - 1))
    expected = (values - values.mean(axes)) / np.sqrt(values.var(axes) + 1e-3)
    trained, used = layer(x, training=True), layer(x, training=False)
    for y in (trained, used):
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        np.testing.assert_allclose(keras.ops.cast(y, "float64"), expected, rtol=tolerance, atol=tolerance)
    layer.steps.assign(3000)
    layer(x, training=True)
    assert float(layer.steps) == 3001
