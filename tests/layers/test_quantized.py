"""Quantized layers against Keras' own on quantized weights, and batch norm against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bnn import geometry
from bnn.analysis.linear_maps import Convolution
from bnn.layers import (
    BatchNorm,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    Rotation,
    Sign,
    Ternary,
    WeightClip,
)

THRESHOLD = 0.3
QUANTIZERS = {
    "binary": (Sign(), geometry.sign),
    "ternary": (Ternary(THRESHOLD), lambda w: geometry.ternary(w, THRESHOLD)),
    "none": (None, lambda w: w),
}
KINDS = pytest.mark.parametrize("kind", QUANTIZERS)
BFLOAT16_EPSILON = 2.0**-8


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def run(layer, x, upstream=None, **kwargs):
    """Output, and gradients of its product with `upstream` with respect to input and trainable weights."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **kwargs)
        upstream = tf.ones_like(y) if upstream is None else tf.cast(upstream, y.dtype)
    return y, tape.gradient(y, [x, *(w.value for w in layer.trainable_weights)], output_gradients=upstream)


def assert_equals_keras(layer, reference, x, quantized):
    """Compare with the Keras layer on quantized weights, forward and backward.

    Latent weights here reach beyond 1, where the straight-through gradient is 0.
    """
    layer.build(x.shape)
    reference.build(x.shape)
    latent = normal(*layer.kernel.shape, seed=1) * 0.8
    latent.flat[:5] = 0, 1, -1, np.nextafter(np.float32(1), np.float32(2)), 1.5
    layer.kernel.assign(latent)
    reference.kernel.assign(quantized(latent))
    upstream = normal(*layer.compute_output_shape(x.shape), seed=2)
    y, (x_gradient, gradient) = run(layer, x, upstream)
    expected, (expected_x_gradient, expected_gradient) = run(reference, x, upstream)
    assert y.shape == upstream.shape
    assert layer.count_params() == reference.count_params()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(x_gradient, expected_x_gradient, rtol=1e-5, atol=1e-5)
    if layer.kernel_quantizer is not None:
        expected_gradient = np.where(np.abs(latent) <= 1, expected_gradient, 0)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-4)


@KINDS
@pytest.mark.parametrize("shape", [(6, 9), (2, 5, 9)])
def test_dense_equals_keras_on_quantized_weights(kind, shape):
    quantizer, quantized = QUANTIZERS[kind]
    reference = keras.layers.Dense(4, use_bias=False)
    assert_equals_keras(QuantDense(4, quantizer), reference, normal(*shape), quantized)


@KINDS
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_conv_equals_keras_on_quantized_weights(kind, size):
    quantizer, quantized = QUANTIZERS[kind]
    reference = keras.layers.Conv2D(4, size, use_bias=False, padding="same")
    assert_equals_keras(QuantConv2D(4, size, quantizer), reference, normal(2, 7, 6, 3), quantized)


@pytest.mark.parametrize("x_values", ["real", "binary"])
def test_conv_in_a_compiled_graph(x_values):
    layer, reference = QuantConv2D(8, 3, Sign()), keras.layers.Conv2D(8, 3, use_bias=False, padding="same")
    x = normal(2, 8, 8, 16) if x_values == "real" else geometry.sign(normal(2, 8, 8, 16))
    layer.build(x.shape)
    reference.build(x.shape)
    reference.kernel.assign(geometry.sign(np.asarray(layer.kernel)))
    upstream = normal(2, 8, 8, 8, seed=1)
    results = [tf.function(lambda layer=layer: run(layer, x, upstream))() for layer in (layer, reference)]
    for ours, theirs in zip(*map(tf.nest.flatten, results), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [3, 8, 9])
def test_conv_in_bfloat16_is_exact_on_signs(size, side):
    """Sums of at most 256 signs are whole numbers that bfloat16 holds."""
    layer = QuantConv2D(8, size, Sign(), dtype="mixed_bfloat16")
    reference = keras.layers.Conv2D(8, size, use_bias=False, padding="same")
    x = geometry.sign(normal(2, side, side, 4))
    layer.build(x.shape)
    reference.build(x.shape)
    reference.kernel.assign(geometry.sign(np.asarray(layer.kernel)))
    upstream = geometry.sign(normal(2, side, side, 8, seed=1))
    results = [tf.function(lambda layer=layer: run(layer, x, upstream))() for layer in (layer, reference)]
    for ours, theirs in zip(*map(tf.nest.flatten, results), strict=True):
        np.testing.assert_array_equal(tf.cast(ours, tf.float32), theirs)


@pytest.mark.parametrize("clip", [1.0, 0.25])
@pytest.mark.parametrize("layer", [QuantDense, lambda units, *args, **kw: QuantConv2D(units, 2, *args, **kw)])
def test_latent_weights_stay_within_the_clip(layer, clip):
    layer = layer(3, Sign(), clip=clip)
    x = normal(4, 5, 5, 2)
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(10.0), "mse")
    model.build(x.shape)
    layer.kernel.assign(geometry.sign(normal(*layer.kernel.shape)) * 0.9 * clip)
    before = np.asarray(layer.kernel)
    model.train_on_batch(x, 10 * normal(*layer.compute_output_shape(x.shape)))
    after = np.asarray(layer.kernel)
    assert np.abs(after).max() == clip
    assert not np.array_equal(after, before)


def test_weight_clip_keeps_what_lies_inside():
    w = np.array([-2, -1, -0.5, 0, 1, 1.5], np.float32)
    np.testing.assert_array_equal(WeightClip()(tf.constant(w)), [-1, -1, -0.5, 0, 1, 1])
    np.testing.assert_array_equal(WeightClip(0.5)(tf.constant(w)), [-0.5, -0.5, -0.5, 0, 0.5, 0.5])


@pytest.mark.parametrize("layer", [QuantDense, lambda units, *args, **kw: QuantConv2D(units, 1, *args, **kw)])
def test_latent_kernel_is_quantized_before_rounding(layer):
    """A weight just above the threshold would fall on it if it were rounded to bfloat16 first."""
    layer = layer(2, Ternary(0.25), dtype="mixed_bfloat16")
    x = np.ones((1, 1, 1, 1), np.float32)
    layer.build(x.shape)
    above = np.nextafter(np.float32(0.25), np.float32(1))
    assert float(tf.cast(above, tf.bfloat16)) == 0.25
    layer.kernel.assign(np.reshape([above, -above], layer.kernel.shape))
    assert layer.kernel.dtype == "float32"
    assert layer.quantized_kernel().dtype == layer(x).dtype == tf.bfloat16
    np.testing.assert_array_equal(np.ravel(layer(x)), [1, -1])


def test_latent_gradient_reaches_float32_past_bfloat16_rounding():
    layer = QuantDense(1, Sign(), dtype="mixed_bfloat16")
    layer.build((1, 2))
    just_outside = np.nextafter(np.float32(1), np.float32(2))
    layer.kernel.assign([[1.0], [just_outside]])
    _, (_, gradient) = run(layer, np.ones((1, 2), np.float32))
    assert gradient.dtype == tf.float32
    np.testing.assert_array_equal(np.ravel(gradient), [1, 0])


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_activation_is_the_quantizer_or_hard_tanh(dtype):
    x = np.array([[-2, -1, -0.5, -0.0, 0.0, 0.25, 1, 1.5]], np.float32)
    upstream = np.arange(8, dtype=np.float32)[None]
    expected = {
        "binary": geometry.sign(x),
        "ternary": geometry.ternary(x, THRESHOLD),
        "none": np.clip(x, -1, 1),
    }
    for kind, (quantizer, _) in QUANTIZERS.items():
        y, (gradient,) = run(QuantActivation(quantizer, dtype=dtype), x, upstream)
        assert y.dtype == (tf.float32 if dtype == "float32" else tf.bfloat16)
        np.testing.assert_array_equal(tf.cast(y, tf.float32), expected[kind])
        np.testing.assert_array_equal(gradient, np.where(np.abs(x) <= 1, upstream, 0))


def test_the_initializer_makes_the_latent_kernel():
    layer = QuantDense(2000, Sign(), kernel_initializer=keras.initializers.RandomUniform(-0.3, 0.3))
    layer.build((1, 5))
    kernel = np.asarray(layer.kernel)
    assert 0.299 < np.abs(kernel).max() <= 0.3
    assert kernel.std() == pytest.approx(0.3 / np.sqrt(3), rel=0.02)


# ---- rotation ----


def built_rotation(size, shape, seed=0):
    keras.utils.set_random_seed(seed)
    layer = Rotation(size)
    layer.build(shape)
    return layer, np.asarray(layer.rotation, np.float64).T  # R, a row each component


@pytest.mark.parametrize(("size", "shape"), [(3, (2, 6, 5, 3)), (2, (2, 4, 4, 1)), (1, (2, 30))])
def test_rotation_is_orthogonal_fixed_and_seeded(size, shape):
    layer, r = built_rotation(size, shape)
    np.testing.assert_allclose(r @ r.T, np.eye(len(r)), atol=1e-5)
    assert len(r) == layer.compute_output_shape(shape)[-1] == size**2 * shape[-1]
    assert layer.trainable_weights == []
    np.testing.assert_array_equal(built_rotation(size, shape)[1], r)
    assert not np.allclose(built_rotation(size, shape, seed=1)[1], r, atol=0.1)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_rotation_turns_the_patches_that_a_convolution_multiplies(size):
    x = normal(2, 5, 4, 3)
    layer, r = built_rotation(size, x.shape)
    places = np.stack(np.unravel_index(np.arange(2 * 20), (2, 20)), axis=1)
    (patches,) = Convolution((size, size), (1, 1), (1, 1), "same").patches(x, places)
    turned = np.asarray(layer(x)).reshape(len(places), -1)
    np.testing.assert_allclose(turned, patches @ r.T, rtol=1e-4, atol=1e-5)


def test_rotation_of_vectors_keeps_their_lengths_and_angles():
    x = normal(6, 40)
    layer, r = built_rotation(1, x.shape)
    turned = np.asarray(layer(x))
    np.testing.assert_allclose(turned, x @ r.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(turned @ turned.T, x @ x.T, rtol=1e-4, atol=1e-4)


def test_a_convolution_behind_a_rotation_is_one_by_the_generalized_binarization():
    """theta_R(w) = R' theta(R w) (paper, section 3), forward and backward."""
    x, w = normal(2, 5, 4, 3), normal(27, 8, seed=1)
    rotation, r = built_rotation(3, x.shape)
    behind = QuantConv2D(8, 1, Sign())
    behind.build((2, 5, 4, 27))
    behind.kernel.assign((r @ w).reshape(1, 1, 27, 8))
    binarized = r.T @ geometry.sign(r @ w)
    reference = keras.layers.Conv2D(8, 3, use_bias=False, padding="same")
    reference.build(x.shape)
    reference.kernel.assign(binarized.reshape(3, 3, 3, 8))
    upstream = normal(2, 5, 4, 8, seed=2)
    y, (_, gradient) = run(behind, rotation(x), upstream)
    expected, (_, reference_gradient) = run(reference, x, upstream)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    turned = r @ np.reshape(reference_gradient, (27, 8))
    passed = np.where(np.abs(r @ w) <= 1, turned, 0)
    np.testing.assert_allclose(np.reshape(gradient, (27, 8)), passed, rtol=1e-3, atol=1e-3)


def test_the_generalized_binarization_restores_the_angle_of_random_vectors():
    """Kernels with most of their length in few components: 37 degrees in a random basis, far more in their own."""
    d, units = 27, 4000
    w = np.exp(-np.arange(d))[:, None] * normal(d, units)
    _, r = built_rotation(3, (1, 5, 5, 3))
    own = geometry.angle(geometry.sign(w), w, axis=0)
    rotated = geometry.angle(r.T @ geometry.sign(r @ w), w, axis=0)
    theory = np.arccos(geometry.expected_cos_sign(d))
    assert np.degrees(own.mean()) > 60
    # One rotation is one sample for the leading components, so the mean need not be the theory's exactly.
    assert np.degrees(rotated.mean()) == pytest.approx(np.degrees(theory), abs=4)


# ---- batch norm ----


@pytest.mark.parametrize("shape", [(64, 5), (8, 4, 3, 5)])
def test_batch_norm_against_numpy(shape):
    x, offset, decay, epsilon = 2 * normal(*shape) + 3, normal(5, seed=1), 0.9, 1e-3
    layer = BatchNorm(decay, epsilon)
    layer.build(shape)
    layer.offset.assign(offset)
    flat = x.reshape(-1, 5).astype(np.float64)
    mean, variance = flat.mean(0), flat.var(0)  # The biased variance, of the batch as it is.

    trained = layer(x, training=True)
    np.testing.assert_allclose(
        trained, (x - mean) / np.sqrt(variance + epsilon) + offset, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-4)  # The start weighs nothing.
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)

    moving_mean, moving_variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    inferred = layer(x, training=False)
    expected = (x - moving_mean) / np.sqrt(moving_variance + epsilon) + offset
    np.testing.assert_allclose(inferred, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, moving_mean)  # Inference learns nothing.
    np.testing.assert_array_equal(layer(x), inferred)


def test_batch_norm_averages_all_steps_until_they_outnumber_the_decays_memory():
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
        for weight, value in zip(layer.weights, weights, strict=False):  # Keras counts no steps.
            weight.assign(value)
        results.append((run(layer, x, upstream, training=training), layer.get_weights()[:3]))
    for mine, other in zip(*map(tf.nest.flatten, results), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (1, 1, 1, 3), (2, 2, 2, 3)])
def test_batch_norm_of_constant_channels_gives_the_offset(shape):
    layer = BatchNorm()
    layer.build(shape)
    layer.offset.assign([1, 2, 3])
    y = layer(np.full(shape, 7, np.float32), training=True)
    np.testing.assert_allclose(y, np.broadcast_to(np.float32([1, 2, 3]), shape), atol=1e-4)
    assert np.isfinite(layer.moving_variance).all()


# ---- configuration ----


@pytest.mark.parametrize(
    "layer",
    [
        QuantDense(3, name="a"),
        QuantDense(3, Sign()),
        QuantConv2D(4, 5, Ternary(0.1), kernel_initializer="he_normal", clip=2.5),
        Rotation(3),
        QuantActivation(),
        QuantActivation(Ternary(0.2)),
        BatchNorm(0.5, 1e-5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_come_back_from_their_config(layer):
    saved = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is type(layer)
    assert keras.saving.serialize_keras_object(again) == saved
    assert again.compute_output_shape((2, 8, 8, 3)) == layer(tf.zeros((2, 8, 8, 3))).shape


def test_weight_clip_comes_back_from_its_config():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(WeightClip(0.5)))
    assert again.get_config() == {"limit": 0.5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantDense(0), "units: expected a positive whole number, received 0"),
        (lambda: QuantDense(2.5), "units: expected a positive whole number, received 2.5"),
        (lambda: QuantConv2D(-1, 3), "filters: expected a positive whole number, received -1"),
        (lambda: Rotation(0), "kernel_size: expected a positive whole number, received 0"),
        (lambda: QuantDense(2, clip=0), "limit: expected a positive number, received 0"),
        (lambda: QuantConv2D(1, 0), "kernel_size: expected a positive whole number, received 0"),
        (lambda: QuantConv2D(1, (3, 3)), r"kernel_size: expected a positive whole number, received \(3, 3\)"),
        (lambda: QuantDense(2, "sign"), "quantizer: expected None or a callable, received 'sign'"),
        (lambda: QuantActivation(3), "quantizer: expected None or a callable, received 3"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
