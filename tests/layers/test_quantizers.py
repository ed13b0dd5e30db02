"""Quantizers compared with NumPy: values and gradients at zero, clip edges and thresholds; random quantizers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from keras import ops

import bnn
from bnn import geometry
from bnn.geometry import angles, levels
from bnn.layers import (
    QuantActivation,
    QuantConv2D,
    QuantDense,
    pointwise_gradient,
    quantizer_functions,
    quantizers,
)

THRESHOLD = 0.25  # exact in bfloat16
DTYPES = pytest.mark.parametrize(
    "dtype", [np.float32, tf.bfloat16.as_numpy_dtype], ids=["float32", "bfloat16"]
)
QUANTIZERS = pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (quantizers.Sign(), geometry.sign),
        (quantizers.Ternary(THRESHOLD), lambda x: geometry.ternarize(x, THRESHOLD)),
        (quantizers.Ternary(0.0), lambda x: geometry.ternarize(x, 0.0)),
    ],
    ids=["sign", "ternary", "ternary at 0"],
)
# Without subnormal numbers: TensorFlow treats them as zero.
VALUES = arrays(
    np.float32, array_shapes(max_side=8), elements=st.floats(-2, 2, width=32, allow_subnormal=False)
)


def edges(dtype):
    """Zeros, clip edges and thresholds of both signs, their neighbors in the dtype, and distant values."""
    tiny = np.finfo(np.float32).tiny  # TensorFlow treats subnormal numbers as zero
    exact = np.array([THRESHOLD, 1.0], dtype)
    around = [np.nextafter(exact, dtype(0)), exact, np.nextafter(exact, dtype(2))]
    positive = np.concatenate([*around, np.array([0, tiny, 0.5, 3, 1e38, np.inf], dtype)])
    return np.concatenate([positive, -positive])


def forward_and_gradient(quantizer, x, upstream):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = quantizer(x)
    return y, tape.gradient(y, x, output_gradients=tf.constant(upstream))


def test_the_list_of_edges_contains_the_special_values():
    for dtype in (np.float32, tf.bfloat16.as_numpy_dtype):
        x = edges(dtype)
        assert {0.0, 1.0, -1.0, THRESHOLD, -THRESHOLD} <= set(x.astype(float))
        assert np.signbit(x[x == 0]).any() and not np.signbit(x[x == 0]).all()
        assert ((x > 1) & (x < 1.01)).any() and ((x > THRESHOLD) & (x < THRESHOLD + 0.01)).any()


@DTYPES
@QUANTIZERS
def test_quantizers_at_the_edges(ours, reference, dtype):
    x = edges(dtype)
    upstream = np.linspace(-3, 5, len(x)).astype(dtype)
    y, gradient = forward_and_gradient(ours, x, upstream)
    assert y.dtype == gradient.dtype == x.dtype
    np.testing.assert_array_equal(y, reference(x.astype(np.float32)).astype(dtype))
    np.testing.assert_array_equal(gradient, np.where(np.abs(x) <= 1, upstream, dtype(0)))


@QUANTIZERS
def test_quantizers_accept_a_variable_in_a_graph(ours, reference):
    x = edges(np.float32)
    variable = keras.Variable(x)

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            y = ours(variable)
        return y, tape.gradient(y, variable.value)

    y, gradient = run()
    np.testing.assert_array_equal(y, reference(x))
    np.testing.assert_array_equal(gradient, np.abs(x) <= 1)


def test_zero_becomes_1_in_binary_and_0_in_ternary_quantizers():
    zeros = np.array([0.0, -0.0], np.float32)
    np.testing.assert_array_equal(quantizer_functions.sign(tf.constant(zeros)), [1, 1])
    np.testing.assert_array_equal(geometry.sign(zeros), [1, 1])
    np.testing.assert_array_equal(quantizer_functions.ternary(tf.constant(zeros), 0.0), [0, 0])


@QUANTIZERS
@given(x=VALUES)
def test_quantizers_equal_numpys_and_are_idempotent_and_odd(ours, reference, x):
    y = np.asarray(ours(tf.constant(x)))
    np.testing.assert_array_equal(y, reference(x))
    assert set(np.unique(y)) <= ({-1, 1} if ours.levels == 2 else {-1, 0, 1})
    np.testing.assert_array_equal(ours(tf.constant(y)), y)
    np.testing.assert_array_equal(np.asarray(ours(tf.constant(-x)))[x != 0], -y[x != 0])


@given(x=VALUES, threshold=st.floats(0, 1, exclude_max=True, width=32))
def test_ternary_is_zero_up_to_the_threshold(x, threshold):
    y = np.asarray(quantizer_functions.ternary(tf.constant(x), threshold))
    np.testing.assert_array_equal(y == 0, np.abs(x) <= threshold)
    np.testing.assert_array_equal(y, geometry.ternarize(x, threshold))


@pytest.mark.parametrize("quantizer", [quantizers.Sign(), quantizers.Ternary(0.02)])
def test_quantizers_are_saved_with_their_arguments(quantizer):
    again = quantizers.get(keras.saving.serialize_keras_object(quantizer))
    assert type(again) is type(quantizer)
    assert (again.levels, again.threshold) == (quantizer.levels, quantizer.threshold)
    assert again.get_config() == quantizer.get_config()


def test_get_accepts_none_and_callables():
    assert quantizers.get(None) is None
    assert quantizers.get(quantizer_functions.ste_sign) is quantizer_functions.ste_sign
    with pytest.raises(ValueError, match="quantizer: expected None, a name or a callable, received 3"):
        quantizers.get(3)
    with pytest.raises(ValueError, match=r"expected an object such as Sign\(\), received the class Sign"):
        QuantDense(2, quantizers.Sign)


class OtherGradient(quantizers.Sign):
    estimator = staticmethod(quantizer_functions.identity_sign)


class HalfSign(quantizers.Sign):
    def __call__(self, x):
        return 0.5 * super().__call__(x)


def test_a_subclass_of_sign_is_not_taken_for_it():
    """TensorFlow computes the sign itself in fewer passes."""
    x = [-2.0, 0.5, 2.0]
    assert pointwise_gradient(QuantActivation(OtherGradient()), x)[1].tolist() == [1, 1, 1]
    assert pointwise_gradient(QuantActivation(quantizers.Sign()), x)[1].tolist() == [0, 1, 0]
    layer = QuantDense(1, HalfSign(), kernel_initializer="ones")
    assert ops.convert_to_numpy(layer(np.ones((1, 3)))).tolist() == [[1.5]]
    assert not QuantConv2D(2, 3, HalfSign(), sign_inputs=True).multiplies_signs


@pytest.mark.parametrize(
    "name",
    ["ste_sign", "approx_sign", "swish_sign", "identity_sign", "magnitude_aware_sign", "optimal_ternary"],
)
def test_a_layer_with_a_function_as_its_quantizer_can_be_loaded(name, tmp_path):
    function = getattr(quantizer_functions, name)
    assert function.__name__ == name and function.__doc__
    model = keras.Sequential([keras.Input((3,)), QuantDense(2, function)])
    model.save(tmp_path / "m.keras")
    again = bnn.models.load_model(str(tmp_path / "m.keras"))
    assert again.layers[-1].kernel_quantizer is function


@pytest.mark.parametrize("threshold", [-0.1, 1, 1.5, np.inf, np.nan])
def test_thresholds_outside_0_to_1_are_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold: expected a value in \[0, 1\), received"):
        quantizers.Ternary(threshold)


# ---- estimators, compared with their formulas in NumPy ----

TINY = np.finfo(np.float32).tiny
# Zero, the clip edges and their neighbors in bfloat16 and float32, and values far beyond them.
NEAR_EDGES = np.array(
    [0, TINY, 0.25, 0.5, 1 - 2**-8, 1 - 2**-24, 1, 1 + 2**-23, 1 + 2**-7, 3, 30], np.float32
)
NEAR_EDGES = np.concatenate([NEAR_EDGES, -NEAR_EDGES])
PRECISIONS = pytest.mark.parametrize(("dtype", "epsilon"), [("float32", 2.0**-22), ("bfloat16", 2.0**-7)])


def swish(x, beta):
    """SS'(x) as in the paper, in float64."""
    return beta * (2 - beta * x * np.tanh(beta * x / 2)) / (1 + np.cosh(beta * x))


def within(x):
    return (np.abs(x) <= 1).astype(float)


def magnitude(x):
    return np.mean(np.abs(x), axis=0)


# The quantizer, its values and its derivative.
FORMULAS = {
    "ste_sign": (quantizers.Sign(), geometry.sign, within),
    "approx_sign": (quantizers.ApproxSign(), geometry.sign, lambda x: within(x) * (2 - 2 * np.abs(x))),
    "swish_sign": (quantizers.SwishSign(), geometry.sign, lambda x: swish(x, 5.0)),
    "swish_sign 2": (quantizers.SwishSign(beta=2.0), geometry.sign, lambda x: swish(x, 2.0)),
    "identity_sign": (quantizers.IdentitySign(), geometry.sign, np.ones_like),
    "magnitude_aware_sign": (
        quantizers.MagnitudeAwareSign(),
        lambda x: magnitude(x) * geometry.sign(x),
        lambda x: magnitude(x) * within(x),
    ),
    "optimal_ternary": (
        quantizers.OptimalTernary(),
        lambda x: geometry.ternarize(x, levels.best_ternary_threshold() * x.std()),
        within,
    ),
    "absmean": (
        quantizers.AbsmeanTernary(),
        lambda x: np.abs(x).mean() * np.clip(np.round(x / np.abs(x).mean()), -1, 1),
        np.ones_like,
    ),
    "centered_sign": (
        quantizers.CenteredSign(),
        lambda x: np.abs(x).mean() * geometry.sign(x - x.mean()),
        np.ones_like,
    ),
}
EVERY_FORMULA = pytest.mark.parametrize("name", FORMULAS)


def rounded(x, dtype):
    """Round to the dtype; return float32."""
    return ops.convert_to_numpy(ops.cast(ops.cast(x, dtype), "float32"))


@PRECISIONS
@EVERY_FORMULA
def test_values_and_gradients_follow_the_formulas(name, dtype, epsilon):
    quantizer, values, derivative = FORMULAS[name]
    rng = np.random.default_rng(0)
    x = rounded(np.stack([NEAR_EDGES, rng.standard_normal(len(NEAR_EDGES))], axis=1), dtype)
    upstream = rounded(rng.uniform(1, 3, x.shape), dtype)

    def weighted(t):
        y = quantizer(ops.cast(t, dtype))
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        return ops.cast(y, "float32") * upstream

    y, gradient = pointwise_gradient(weighted, x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(y, values(exact) * upstream, rtol=epsilon)
    expected = derivative(exact)
    largest = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(
        gradient / upstream, expected, rtol=2 * epsilon, atol=2 * epsilon * largest.min()
    )


@pytest.mark.parametrize(
    ("name", "surrogate"),
    [
        ("approx_sign", lambda x: np.where(np.abs(x) < 1, 2 * x - x * np.abs(x), np.sign(x))),
        ("swish_sign", lambda x: 2 / (1 + np.exp(-5 * x)) * (1 + 5 * x / (1 + np.exp(5 * x))) - 1),
        ("identity_sign", lambda x: x),
        ("ste_sign", lambda x: np.clip(x, -1, 1)),
    ],
)
def test_gradients_are_the_derivatives_of_the_approximations_of_the_sign(name, surrogate):
    x = np.linspace(-2, 2, 401) + 0.003  # avoids the kinks
    slope = (surrogate(x + 1e-5) - surrogate(x - 1e-5)) / 2e-5
    np.testing.assert_allclose(pointwise_gradient(FORMULAS[name][0], x)[1], slope, atol=1e-4)


@pytest.mark.parametrize("name", ["approx_sign", "swish_sign", "identity_sign"])
def test_infinities_have_a_sign_and_a_finite_gradient(name):
    quantizer, _, derivative = FORMULAS[name]
    y, gradient = pointwise_gradient(quantizer, [np.inf, 1e38, -1e38, -np.inf])
    np.testing.assert_array_equal(y, [1, 1, -1, -1])
    np.testing.assert_allclose(gradient, derivative(np.array([30.0, 30, -30, -30])), atol=1e-30)


@EVERY_FORMULA
def test_a_variable_is_quantized_like_a_tensor(name):
    quantizer = FORMULAS[name][0]
    x = np.random.default_rng(0).uniform(-1.5, 1.5, (6, 4)).astype(np.float32)
    np.testing.assert_array_equal(quantizer(keras.Variable(x)), quantizer(ops.convert_to_tensor(x)))


@EVERY_FORMULA
def test_quantizers_can_be_restored_from_their_config(name):
    quantizer = FORMULAS[name][0]
    again = quantizers.get(keras.saving.serialize_keras_object(quantizer))
    assert type(again) is type(quantizer)
    assert again.get_config() == quantizer.get_config()


# magnitude-aware sign and optimal ternary, which depend on all values of a unit


def test_each_unit_has_its_own_magnitude():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 5, 4)).astype(np.float32)
    quantized = ops.convert_to_numpy(quantizer_functions.magnitude_aware_sign(ops.convert_to_tensor(kernel)))
    for unit in range(4):
        sizes = np.unique(np.abs(quantized[..., unit]))
        np.testing.assert_allclose(sizes, np.abs(kernel[..., unit]).mean(), rtol=1e-6)
    np.testing.assert_array_equal(np.sign(quantized), geometry.sign(kernel))


def test_the_ratio_is_that_of_the_best_ternary_threshold():
    assert pytest.approx(levels.best_ternary_threshold(), rel=1e-12) == quantizer_functions.BEST_RATIO


@pytest.mark.parametrize("sigma", [0.01, 0.2])
def test_optimal_ternary_gives_the_smallest_angle_for_gaussian_weights(sigma):
    x = sigma * np.random.default_rng(0).standard_normal((1_000_000, 1)).astype(np.float32)
    quantizer = quantizers.OptimalTernary()
    y = ops.convert_to_numpy(quantizer(ops.convert_to_tensor(x)))
    thresholds, values, _ = levels.lloyd_max(3)
    spread = np.degrees(levels.quantizer_angle_std(thresholds, values, len(x)))
    assert np.mean(y == 0) == pytest.approx(0.459, abs=0.005)
    assert np.degrees(geometry.angle(x, y, axis=0)) == pytest.approx(25.85, abs=5 * spread)
    assert np.abs(x[y == 0]).max() == pytest.approx(0.612 * sigma, rel=0.01)


def test_absmean_has_the_angle_and_the_zeros_of_its_ratio_for_gaussian_weights():
    x = 0.2 * np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    y = ops.convert_to_numpy(quantizers.AbsmeanTernary()(ops.convert_to_tensor(x)))
    ratio = quantizer_functions.ABSMEAN_RATIO
    assert np.mean(y == 0) == pytest.approx(angles.ternary_zeros(ratio), abs=0.002)
    assert np.degrees(geometry.angle(x, y)) == pytest.approx(
        np.degrees(np.arccos(angles.ternary_cos(ratio))), abs=0.1
    )
    np.testing.assert_allclose(np.unique(np.abs(y)), [0, np.abs(x).mean()], rtol=1e-5)


@pytest.mark.parametrize("beta", [0, -1.0, np.nan])
def test_swish_requires_a_positive_beta(beta):
    with pytest.raises(ValueError, match="beta: expected a positive number, received"):
        quantizers.SwishSign(beta)


# stochastic sign


def test_random_signs_have_the_probability_of_the_hard_sigmoid():
    x, n = np.array([-1.5, -1, -0.5, 0, 0.3, 1, 2], np.float32), 40_000
    draws = quantizer_functions.stochastic_sign(ops.tile(ops.convert_to_tensor(x), (n, 1)), seed=1)
    draws = ops.convert_to_numpy(draws)
    assert set(np.unique(draws)) == {-1, 1}
    expected = np.clip(x, -1, 1)  # 2 p - 1
    error = np.sqrt((1 - expected**2) / n)
    assert (np.abs(draws.mean(axis=0) - expected) <= 5 * error).all()
    assert (error[[0, 1, 5, 6]] == 0).all()


@PRECISIONS
def test_random_signs_have_the_straight_through_gradient(dtype, epsilon):
    x = rounded(NEAR_EDGES, dtype)
    draw = quantizers.StochasticSign(seed=0).draw
    y, gradient = pointwise_gradient(lambda t: ops.cast(draw(ops.cast(t, dtype)), "float32"), x)
    assert set(np.unique(y)) == {-1, 1}
    np.testing.assert_array_equal(gradient, within(x))


LAYERS = pytest.mark.parametrize(
    "make",
    [
        lambda: QuantActivation(quantizers.StochasticSign(seed=3)),
        lambda: QuantDense(50, quantizers.StochasticSign(seed=3)),
        lambda: QuantConv2D(50, 1, quantizers.StochasticSign(seed=3)),
    ],
    ids=["activation", "dense", "convolution"],
)


def network(make):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1, 1, 50))
    return keras.Model(inputs, make()(inputs))


@LAYERS
def test_layers_are_random_only_in_training(make):
    model = network(make)
    x = np.random.default_rng(0).uniform(-1, 1, (8, 1, 1, 50)).astype(np.float32)
    first, second = (ops.convert_to_numpy(model(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    inferred = ops.convert_to_numpy(model(x))
    np.testing.assert_array_equal(model(x), inferred)
    layer = model.layers[-1]
    if isinstance(layer, QuantActivation):
        np.testing.assert_array_equal(inferred, geometry.sign(x))
    else:
        kernel = geometry.sign(ops.convert_to_numpy(layer.kernel)).reshape(50, 50)
        np.testing.assert_allclose(inferred, x @ kernel, rtol=1e-4, atol=1e-4)


@LAYERS
def test_the_sequence_of_random_numbers_continues_after_loading(make, tmp_path):
    model = network(make)
    x = np.random.default_rng(0).uniform(-1, 1, (8, 1, 1, 50)).astype(np.float32)
    for _ in range(3):
        model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.count_params() == model.count_params() == sum(w.size for w in model.get_weights())
    for _ in range(2):
        np.testing.assert_array_equal(again(x, training=True), model(x, training=True))
