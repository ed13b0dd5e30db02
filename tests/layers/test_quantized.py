"""Quantized layers compared with Keras layers that hold the quantized weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bnn import geometry, models
from bnn.layers import (
    BatchNorm,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    QuantDepthwiseConv2D,
    Rotation,
    Sign,
    Ternary,
    WeightClip,
    Whitening,
    fast_ops,
)
from tests.layers.layer_runs import normal, run

THRESHOLD = 0.3
QUANTIZERS = {
    "binary": (Sign(), geometry.sign),
    "ternary": (Ternary(THRESHOLD), lambda w: geometry.ternarize(w, THRESHOLD)),
    "none": (None, lambda w: w),
}
KINDS = pytest.mark.parametrize("kind", QUANTIZERS)


def assert_equals_keras(layer, reference, x, quantized):
    """Compare with the Keras layer on quantized weights, forward and backward.

    Some latent weights lie beyond 1, where the straight-through gradient is 0.
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


@KINDS
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("strides", [2, 3])
def test_strided_conv_equals_keras_on_quantized_weights(kind, size, strides):
    quantizer, quantized = QUANTIZERS[kind]
    reference = keras.layers.Conv2D(4, size, strides, use_bias=False, padding="same")
    layer = QuantConv2D(4, size, quantizer, strides=strides)
    assert_equals_keras(layer, reference, normal(2, 7, 6, 3), quantized)
    assert QuantConv2D.from_config(layer.get_config()).strides == strides
    assert layer.compute_output_shape((None, 7, None, 3)) == (None, -(-7 // strides), None, 4)


@pytest.mark.parametrize(
    ("kind", "size", "options"),
    [
        ("binary", 3, {"padding": "valid"}),
        ("ternary", 2, {"padding": "valid", "strides": 2}),
        ("none", 1, {"padding": "valid", "strides": 3}),
        ("binary", 3, {"dilation_rate": 2}),
        ("none", 2, {"dilation_rate": 2, "padding": "valid"}),
        ("ternary", 3, {"groups": 2, "strides": 2}),
    ],
    ids=str,
)
def test_other_convolutions_equal_keras_on_quantized_weights(kind, size, options):
    quantizer, quantized = QUANTIZERS[kind]
    reference = keras.layers.Conv2D(4, size, use_bias=False, **{"padding": "same"} | options)
    layer = QuantConv2D(4, size, quantizer, sign_inputs=True, **options)
    assert_equals_keras(layer, reference, normal(2, 7, 6, 4), quantized)
    assert QuantConv2D.from_config(layer.get_config()).get_config() == layer.get_config()
    assert layer.compute_output_shape((None, None, 6, 4)) == (
        None,
        None,
        *layer(normal(1, 7, 6, 4)).shape[2:],
    )


@KINDS
@pytest.mark.parametrize("options", [{}, {"strides": 2, "padding": "valid", "depth_multiplier": 2}], ids=str)
def test_depthwise_conv_equals_keras_on_quantized_weights(kind, options):
    quantizer, quantized = QUANTIZERS[kind]
    layer = QuantDepthwiseConv2D(3, quantizer, sign_inputs=True, **options)
    reference = keras.layers.DepthwiseConv2D(3, use_bias=False, **{"padding": "same"} | options)
    x = normal(2, 7, 6, 4)
    layer.build(x.shape)
    reference.build(x.shape)
    latent = normal(*layer.kernel.shape, seed=1) * 0.8
    layer.kernel.assign(latent)
    reference.kernel.assign(np.reshape(quantized(latent), reference.kernel.shape))
    upstream = normal(*layer.compute_output_shape(x.shape), seed=2)
    y, (x_gradient, gradient) = run(layer, x, upstream, training=True)
    expected, (expected_x_gradient, expected_gradient) = run(reference, x, upstream)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(x_gradient, expected_x_gradient, rtol=1e-5, atol=1e-5)
    passed = np.abs(latent) <= 1 if quantizer is not None else True
    expected_gradient = np.where(passed, np.reshape(expected_gradient, latent.shape), 0)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-4)
    again = QuantDepthwiseConv2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.compute_output_shape((None, 7, 6, 4)) == (None, *y.shape[1:])


@pytest.mark.parametrize("padded", [1, -1])
@pytest.mark.parametrize(
    ("size", "options"), [(3, {}), (2, {"strides": 2}), (3, {"dilation_rate": 2})], ids=str
)
def test_padding_may_consist_of_signs(padded, size, options):
    """K * x = K * (x - p) + p sum(K), where the padding of x - p is 0 if that of x is p."""
    layer = QuantConv2D(4, size, Sign(), sign_inputs=True, pad_values=padded, **options)
    x, upstream = normal(2, 7, 6, 3), normal(*layer.compute_output_shape((2, 7, 6, 3)), seed=1)
    y, gradients = run(layer, x, upstream, training=True)
    reference = keras.layers.Conv2D(4, size, use_bias=False, padding="same", **options)
    reference.build(x.shape)
    reference.kernel.assign(geometry.sign(np.asarray(layer.kernel)))

    def shifted(x):
        return reference(x - padded) + padded * tf.reduce_sum(reference.kernel, (0, 1, 2))

    shifted.trainable_weights = reference.trainable_weights
    expected, expected_gradients = run(shifted, x, upstream)
    for ours, theirs in zip((y, *gradients), (expected, *expected_gradients), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_an_earlier_configuration_means_zeros_that_keep_the_size():
    config = QuantConv2D(4, 3, Sign(), sign_inputs=True).get_config()
    later = {"padding": "same", "dilation_rate": 1, "groups": 1, "pad_values": 0}
    assert later.items() <= config.items()
    earlier = {key: value for key, value in config.items() if key not in later}
    assert QuantConv2D.from_config(earlier).get_config() == config


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"padding": "causal"}, None, "padding: expected same or valid, received 'causal'"),
        ({"pad_values": 2}, None, "pad_values: expected 0, 1 or -1, received 2"),
        ({"pad_values": 1, "padding": "valid"}, None, "pad_values: expected 0 with the padding valid, received 1"),
        ({"strides": 2, "dilation_rate": 2}, None, "dilation_rate: expected 1 with strides, received 2"),
        ({"groups": 3}, None, "groups: expected a divisor of the 4 filters, received 3"),
        ({"groups": 2}, (1, 5, 5, 3), "q: expected channels that 2 groups divide, received 3"),
        ({"padding": "valid"}, (1, 5, 2, 3), "q: expected images of at least 3x3, .*, received 5x2"),
        ({"pad_values": 1, "strides": 2}, (1, None, 5, 3), "q: expected images of known size, .* received Nonex5"),
    ],
)  # fmt: skip
def test_convolutions_that_do_not_exist_are_named(options, shape, message):
    with pytest.raises(ValueError, match=message):
        QuantConv2D(4, 3, name="q", **options).build(shape)


@pytest.mark.parametrize("strides", [0, -1, 1.5, (2, 2), None])
def test_strides_are_a_positive_whole_number(strides):
    with pytest.raises(ValueError, match="strides: expected a positive whole number, received"):
        QuantConv2D(4, 3, strides=strides)


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
    """Sums of at most 256 signs are whole numbers that bfloat16 represents exactly."""
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


def test_training_multiplies_bits_only_where_both_factors_are_signs(monkeypatch):
    """Behind the first layer of a binary network, and the trained weights do not depend on it."""

    def trained(product, levels=2):
        used = []
        monkeypatch.setattr(
            fast_ops, "sign_conv2d", lambda x, kernel: used.append(x.shape[-1]) or product(x, kernel)
        )
        keras.utils.set_random_seed(0)
        settings = dict(input_shape=(4, 4, 3), conv=(128, 8), max_pool=(0, 0), fc=(), levels=levels)
        model = models.build(**settings, threshold=0.1 * (levels == 3))
        model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=levels == 3)
        images = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), np.uint8)
        model.fit(images, np.eye(10)[:4], epochs=2, verbose=0)
        return used, model.get_weights()

    used, weights = trained(fast_ops.sign_conv2d)
    _, expected = trained(fast_ops.conv2d)
    ternary, _ = trained(fast_ops.sign_conv2d, levels=3)
    assert set(used) == {128} and not ternary
    for found, reference in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(found, reference)


@pytest.mark.parametrize("clip", [1.0, 0.25])
@pytest.mark.parametrize("layer", [QuantDense, lambda units, *args, **kw: QuantConv2D(units, 2, *args, **kw)])
def test_latent_weights_stay_within_the_clip(layer, clip):
    layer = layer(3, Sign(), clip=clip)
    x = normal(4, 5, 5, 2)
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(10.0), "mse", run_eagerly=True)  # test_networks.py has a traced step
    model.build(x.shape)
    layer.kernel.assign(geometry.sign(normal(*layer.kernel.shape)) * 0.9 * clip)
    before = np.asarray(layer.kernel)
    model.train_on_batch(x, 10 * normal(*layer.compute_output_shape(x.shape)))
    after = np.asarray(layer.kernel)
    assert np.abs(after).max() == clip
    assert not np.array_equal(after, before)


def test_weight_clip_leaves_values_within_the_limit():
    w = np.array([-2, -1, -0.5, 0, 1, 1.5], np.float32)
    np.testing.assert_array_equal(WeightClip()(tf.constant(w)), [-1, -1, -0.5, 0, 1, 1])
    np.testing.assert_array_equal(WeightClip(0.5)(tf.constant(w)), [-0.5, -0.5, -0.5, 0, 0.5, 0.5])


@pytest.mark.parametrize("layer", [QuantDense, lambda units, *args, **kw: QuantConv2D(units, 1, *args, **kw)])
def test_latent_kernel_is_quantized_before_rounding(layer):
    """A weight just above the threshold would equal it if it were rounded to bfloat16 first."""
    layer = layer(2, Ternary(0.25), dtype="mixed_bfloat16")
    x = np.ones((1, 1, 1, 1), np.float32)
    layer.build(x.shape)
    above = np.nextafter(np.float32(0.25), np.float32(1))
    assert float(tf.cast(above, tf.bfloat16)) == 0.25
    layer.kernel.assign(np.reshape([above, -above], layer.kernel.shape))
    assert layer.kernel.dtype == "float32"
    assert layer.quantized_kernel().dtype == layer(x).dtype == tf.bfloat16
    np.testing.assert_array_equal(np.ravel(layer(x)), [1, -1])


def test_latent_gradients_are_computed_from_unrounded_float32_weights():
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
        "ternary": geometry.ternarize(x, THRESHOLD),
        "none": np.clip(x, -1, 1),
    }
    for kind, (quantizer, _) in QUANTIZERS.items():
        y, (gradient,) = run(QuantActivation(quantizer, dtype=dtype), x, upstream)
        assert y.dtype == (tf.float32 if dtype == "float32" else tf.bfloat16)
        np.testing.assert_array_equal(tf.cast(y, tf.float32), expected[kind])
        np.testing.assert_array_equal(gradient, np.where(np.abs(x) <= 1, upstream, 0))


def test_the_initializer_sets_the_latent_kernel():
    layer = QuantDense(2000, Sign(), kernel_initializer=keras.initializers.RandomUniform(-0.3, 0.3))
    layer.build((1, 5))
    kernel = np.asarray(layer.kernel)
    assert 0.299 < np.abs(kernel).max() <= 0.3
    assert kernel.std() == pytest.approx(0.3 / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    "make",
    [lambda q: QuantDense(3, q), lambda q: QuantConv2D(3, 2, q), QuantActivation],
    ids=["dense", "conv", "act"],
)
def test_a_user_defined_quantizer_may_have_a_custom_gradient(make):
    """TensorFlow's custom gradient accepts only tensors, but a kernel is a variable."""

    @keras.ops.custom_gradient
    def step(x):
        return keras.ops.cast(
            x > 0.1, x.dtype
        ), lambda *args, upstream=None: 7 * (args[0] if args else upstream)

    layer = make(step)
    x = normal(2, 4, 4, 5)
    layer.build(x.shape)
    y, (x_gradient, *kernel_gradients) = run(layer, x)
    if isinstance(layer, QuantActivation):
        np.testing.assert_array_equal(y, x > 0.1)
        np.testing.assert_array_equal(x_gradient, np.full_like(x, 7))
    else:
        np.testing.assert_array_equal(layer.quantized_kernel(), np.asarray(layer.kernel) > 0.1)
        assert np.abs(kernel_gradients[0]).max() > 0


# ---- configuration ----


@pytest.mark.parametrize(
    "layer",
    [
        QuantDense(3, name="a"),
        QuantDense(3, Sign()),
        QuantConv2D(4, 3, Sign(), sign_inputs=True),
        QuantConv2D(4, 5, Ternary(0.1), kernel_initializer="he_normal", clip=2.5),
        Rotation(3),
        Whitening(2),
        QuantActivation(),
        QuantActivation(Ternary(0.2)),
        BatchNorm(0.5, 1e-5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_can_be_restored_from_their_config(layer):
    saved = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is type(layer)
    assert keras.saving.serialize_keras_object(again) == saved
    assert again.compute_output_shape((2, 8, 8, 3)) == layer(tf.zeros((2, 8, 8, 3))).shape


def test_weight_clip_can_be_restored_from_its_config():
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
        (lambda: QuantDense(2, "sing"), "received 'sing'; did you mean sign"),
        (lambda: QuantActivation(3), "quantizer: expected None, a name or a callable, received 3"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
