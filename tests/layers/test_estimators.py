"""Estimators against their formulas in NumPy: values, gradients, random draws, and networks that train with them."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from bnn import geometry
from bnn.analysis import report
from bnn.config import ESTIMATORS
from bnn.geometry import levels
from bnn.layers import QuantActivation, QuantConv2D, QuantDense, pointwise_gradient
from bnn.layers import quantizers as quantize
from bnn.models import build_model
from bnn.training import compile_model, one_hot
from tests.support import small_data, small_settings

TINY = np.finfo(np.float32).tiny
# Zeros, the clip edges and their neighbours in bfloat16 and float32, and values far beyond them.
EDGES = np.array([0, TINY, 0.25, 0.5, 1 - 2**-8, 1 - 2**-24, 1, 1 + 2**-23, 1 + 2**-7, 3, 30], np.float32)
EDGES = np.concatenate([EDGES, -EDGES])
DTYPES = pytest.mark.parametrize(("dtype", "epsilon"), [("float32", 2.0**-22), ("bfloat16", 2.0**-7)])


def swish(x, beta):
    """SS'(x) as the paper writes it, in float64."""
    return beta * (2 - beta * x * np.tanh(beta * x / 2)) / (1 + np.cosh(beta * x))


def within(x):
    return (np.abs(x) <= 1).astype(float)


def magnitude(x):
    return np.mean(np.abs(x), axis=0)


# The quantizer, its values and its derivative.
FORMULAS = {
    "ste_sign": (quantize.Sign(), geometry.sign, within),
    "approx_sign": (quantize.ApproxSign(), geometry.sign, lambda x: within(x) * (2 - 2 * np.abs(x))),
    "swish_sign": (quantize.SwishSign(), geometry.sign, lambda x: swish(x, 5.0)),
    "swish_sign 2": (quantize.SwishSign(beta=2.0), geometry.sign, lambda x: swish(x, 2.0)),
    "identity_sign": (quantize.IdentitySign(), geometry.sign, np.ones_like),
    "magnitude_aware_sign": (
        quantize.MagnitudeAwareSign(),
        lambda x: magnitude(x) * geometry.sign(x),
        lambda x: magnitude(x) * within(x),
    ),
    "optimal_ternary": (
        quantize.OptimalTernary(),
        lambda x: geometry.ternary(x, levels.best_ternary_threshold() * x.std()),
        within,
    ),
}
EVERY_FORMULA = pytest.mark.parametrize("name", FORMULAS)


def rounded(x, dtype):
    """Values that the dtype holds, as float32."""
    return ops.convert_to_numpy(ops.cast(ops.cast(x, dtype), "float32"))


@DTYPES
@EVERY_FORMULA
def test_values_and_gradients_are_the_formulas(name, dtype, epsilon):
    quantizer, values, derivative = FORMULAS[name]
    rng = np.random.default_rng(0)
    x = rounded(np.stack([EDGES, rng.standard_normal(len(EDGES))], axis=1), dtype)
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
def test_gradients_are_derivatives_of_the_functions_that_approximate_the_sign(name, surrogate):
    x = np.linspace(-2, 2, 401) + 0.003  # beside the kinks
    slope = (surrogate(x + 1e-5) - surrogate(x - 1e-5)) / 2e-5
    np.testing.assert_allclose(pointwise_gradient(FORMULAS[name][0], x)[1], slope, atol=1e-4)


@pytest.mark.parametrize("name", ["approx_sign", "swish_sign", "identity_sign"])
def test_infinities_have_a_sign_and_a_finite_gradient(name):
    quantizer, _, derivative = FORMULAS[name]
    y, gradient = pointwise_gradient(quantizer, [np.inf, 1e38, -1e38, -np.inf])
    np.testing.assert_array_equal(y, [1, 1, -1, -1])
    np.testing.assert_allclose(gradient, derivative(np.array([30.0, 30, -30, -30])), atol=1e-30)


@EVERY_FORMULA
def test_a_variables_gradient_is_a_tensors(name):
    quantizer = FORMULAS[name][0]
    x = np.random.default_rng(0).uniform(-1.5, 1.5, (6, 4)).astype(np.float32)
    np.testing.assert_array_equal(quantizer(keras.Variable(x)), quantizer(ops.convert_to_tensor(x)))


@EVERY_FORMULA
def test_quantizers_come_back_from_their_config(name):
    quantizer = FORMULAS[name][0]
    again = quantize.get(keras.saving.serialize_keras_object(quantizer))
    assert type(again) is type(quantizer)
    assert again.get_config() == quantizer.get_config()


# magnitude-aware sign and optimal ternary: what depends on all values


def test_the_magnitude_is_a_units_own():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 5, 4)).astype(np.float32)
    quantized = ops.convert_to_numpy(quantize.magnitude_aware_sign(ops.convert_to_tensor(kernel)))
    for unit in range(4):
        sizes = np.unique(np.abs(quantized[..., unit]))
        np.testing.assert_allclose(sizes, np.abs(kernel[..., unit]).mean(), rtol=1e-6)
    np.testing.assert_array_equal(np.sign(quantized), geometry.sign(kernel))


def test_the_ratio_is_the_best():
    assert pytest.approx(levels.best_ternary_threshold(), rel=1e-12) == quantize.BEST_RATIO


@pytest.mark.parametrize("sigma", [0.01, 0.2])
def test_optimal_ternary_turns_gaussian_weights_by_the_least_angle(sigma):
    x = sigma * np.random.default_rng(0).standard_normal((1_000_000, 1)).astype(np.float32)
    quantizer = quantize.OptimalTernary()
    y = ops.convert_to_numpy(quantizer(ops.convert_to_tensor(x)))
    thresholds, values, _ = levels.lloyd_max(3)
    spread = np.degrees(levels.quantizer_angle_std(thresholds, values, len(x)))
    assert np.mean(y == 0) == pytest.approx(0.459, abs=0.005)
    assert np.degrees(geometry.angle(x, y, axis=0)) == pytest.approx(25.85, abs=5 * spread)
    assert np.abs(x[y == 0]).max() == pytest.approx(0.612 * sigma, rel=0.01)


@pytest.mark.parametrize("beta", [0, -1.0, np.nan])
def test_swish_wants_a_positive_beta(beta):
    with pytest.raises(ValueError, match="beta: expected a positive number, received"):
        quantize.SwishSign(beta)


# stochastic sign


def test_draws_have_the_probability_of_the_hard_sigmoid():
    x, n = np.array([-1.5, -1, -0.5, 0, 0.3, 1, 2], np.float32), 40_000
    draws = quantize.stochastic_sign(ops.tile(ops.convert_to_tensor(x), (n, 1)), seed=1)
    draws = ops.convert_to_numpy(draws)
    assert set(np.unique(draws)) == {-1, 1}
    expected = np.clip(x, -1, 1)  # 2 p - 1
    error = np.sqrt((1 - expected**2) / n)
    assert (np.abs(draws.mean(axis=0) - expected) <= 5 * error).all()
    assert (error[[0, 1, 5, 6]] == 0).all()


@DTYPES
def test_draws_pass_gradients_straight_through(dtype, epsilon):
    x = rounded(EDGES, dtype)
    draw = quantize.StochasticSign(seed=0).draw
    y, gradient = pointwise_gradient(lambda t: ops.cast(draw(ops.cast(t, dtype)), "float32"), x)
    assert set(np.unique(y)) == {-1, 1}
    np.testing.assert_array_equal(gradient, within(x))


LAYERS = pytest.mark.parametrize(
    "make",
    [
        lambda: QuantActivation(quantize.StochasticSign(seed=3)),
        lambda: QuantDense(50, quantize.StochasticSign(seed=3)),
        lambda: QuantConv2D(50, 1, quantize.StochasticSign(seed=3)),
    ],
    ids=["activation", "dense", "convolution"],
)


def network(make):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1, 1, 50))
    return keras.Model(inputs, make()(inputs))


@LAYERS
def test_layers_draw_in_training_only(make):
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
def test_random_numbers_go_on_after_saving(make, tmp_path):
    model = network(make)
    x = np.random.default_rng(0).uniform(-1, 1, (8, 1, 1, 50)).astype(np.float32)
    for _ in range(3):
        model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.count_params() == model.count_params() == sum(w.size for w in model.get_weights())
    for _ in range(2):
        np.testing.assert_array_equal(again(x, training=True), model(x, training=True))


# networks


def test_the_report_knows_the_threshold_that_was_used():
    layer = QuantDense(4000, quantize.OptimalTernary())
    model = keras.Sequential([keras.Input((50,)), layer])
    layer.kernel.assign(0.1 * np.random.default_rng(0).standard_normal((50, 4000)))
    (row,) = (one.statistics() for one in report.analyze(model, np.ones((2, 50), np.float32)))
    assert row["angle_theory_deg"] == pytest.approx(25.85, abs=0.05)
    assert row["angle_mean_deg"] == pytest.approx(25.85, abs=0.5)


def test_the_report_sees_scaled_signs_as_signs():
    """But for the slope, and for histograms of which a lattice of whole numbers is no use."""
    reports = []
    for quantizer in (quantize.Sign(), quantize.MagnitudeAwareSign()):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((51,)), QuantActivation(quantize.Sign()), QuantDense(40, quantizer)]
        )
        x = np.random.default_rng(0).standard_normal((100, 51)).astype(np.float32)
        (one,) = report.analyze(model, x)
        reports.append(one)
    rows = [one.statistics() for one in reports]
    for name in ("angle_mean_deg", "angle_theory_deg", "sign_flips", "zeros"):
        assert rows[1][name] == pytest.approx(rows[0][name], abs=1e-3)
    assert rows[1]["r_weights"] == pytest.approx(rows[0]["r_weights"], abs=0.02)
    used = [np.count_nonzero(one.histograms["weights"].counts.sum(axis=1)) for one in reports]
    assert used[1] > used[0] > 10


def settings(estimator):
    model, training = small_settings()
    return dataclasses.replace(model, levels=ESTIMATORS[estimator][0], estimator=estimator), training


@pytest.fixture(scope="module")
def data():
    return small_data()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_networks_train_and_load_as_they_were(estimator, data, tmp_path):
    keras.utils.set_random_seed(0)
    model_config, train_config = settings(estimator)
    model = build_model(model_config)
    compile_model(model, train_config)
    x, y = data.train.images, one_hot(data.train.labels)
    losses = model.fit(x, y, batch_size=20, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize(
    ("estimator", "kernels", "activations"),
    [
        ("ste", "Sign", "Sign"),
        ("approx_sign", "Sign", "ApproxSign"),
        ("swish_sign", "Sign", "SwishSign"),
        ("identity_sign", "Sign", "IdentitySign"),
        ("stochastic_sign", "Sign", "StochasticSign"),
        ("magnitude_aware_sign", "MagnitudeAwareSign", "Sign"),
        ("optimal_ternary", "OptimalTernary", "Ternary"),
    ],
)
def test_an_estimator_decides_both_quantizers(estimator, kernels, activations):
    layers = build_model(settings(estimator)[0]).layers
    assert {type(x.kernel_quantizer).__name__ for x in layers if hasattr(x, "kernel_quantizer")} == {kernels}
    quantizers = [x.quantizer for x in layers if isinstance(x, QuantActivation)]
    assert {type(q).__name__ for q in quantizers} == {activations}
    assert len({id(q) for q in quantizers}) == len(quantizers) == 2  # each draws its own random numbers
    if estimator == "optimal_ternary":
        assert {q.threshold for q in quantizers} == {quantize.BEST_RATIO}
