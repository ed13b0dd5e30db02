"""Gain, residual gain, its parts and kappa of whole layers, against NumPy on the layers' patches, in float64."""

import keras
import numpy as np
import pytest
from keras import layers

from bnn.analysis import report
from bnn.analysis.keras import capture, geometry_log, kernels
from bnn.geometry import angle, exact_r
from bnn.layers import ternary

RNG = np.random.default_rng(0)


def shared():
    """A convolution that is called twice, with maps of different sizes and means."""
    conv = layers.Conv2D(5, 3, name="layer")
    inputs = keras.Input((8, 9, 4))
    heads = [layers.GlobalMaxPooling2D()(conv(x)) for x in (inputs, layers.AveragePooling2D(2)(inputs + 1))]
    return keras.Model(inputs, layers.Concatenate()(heads))


def one(layer, shape=(8, 9, 4)):
    return lambda: keras.Sequential([keras.Input(shape), layer()])


MODELS = {
    "same": one(lambda: layers.Conv2D(5, 3, padding="same")),
    "valid, strides": one(lambda: layers.Conv2D(5, (3, 2), strides=2)),
    "same, strides": one(lambda: layers.Conv2D(5, 4, strides=3, padding="same")),
    "dilated": one(lambda: layers.Conv2D(5, 3, dilation_rate=(2, 1), padding="same")),
    "grouped": one(lambda: layers.Conv2D(6, 3, groups=2, padding="same")),
    "depthwise": one(lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")),
    "causal": one(lambda: layers.Conv1D(5, 3, dilation_rate=2, padding="causal"), (9, 4)),
    "dense": one(lambda: layers.Dense(5), (7,)),
    "dense over time": one(lambda: layers.Dense(5), (6, 7)),
    "called twice": shared,
}
QUANTIZERS = {
    "sign": None,
    "ternary": lambda w: np.asarray(ternary(w, 0.02)),
    "scaled and negated": lambda w: -0.3 * np.where(w >= 0, 1.0, -1.0),
}


def inputs_of(model):
    """Inputs whose means and standard deviations differ, especially between positions."""
    shape = model.input_shape[1:]
    return (RNG.normal(size=(40, *shape)) * RNG.uniform(0.2, 3, shape) + RNG.normal(size=shape)).astype(
        np.float32
    )


def patches_of(model, product, images):
    """(groups, m, d) float64 array: every patch of every call."""
    ((_, (calls,)),) = capture.stream(model, [product], images, len(images))
    found = []
    for inputs, *_ in calls:
        positions = int(np.prod(product.linear.positions(inputs.shape)))
        places = np.stack(np.divmod(np.arange(len(inputs) * positions), positions), axis=1)
        found.append(product.linear.patches(inputs, places))
    return np.concatenate(found, axis=1).astype(np.float64)


@pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=QUANTIZERS)
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_the_values_of_every_unit_equal_those_of_its_patches(build, quantizer):
    keras.utils.set_random_seed(1)
    model = build()
    images = inputs_of(model)
    (layer,) = report.analyze(model, images, quantizer=quantizer, batch_size=16, score_images=0)
    (product,) = kernels.find(model, quantizer)
    patches = patches_of(model, product, images)
    units = product.kernels.latent.shape[-1]
    for unit in range(layer.units):
        a = patches[unit // units]
        w_b, w_c = (kernel[:, unit].astype(np.float64) for kernel in layer.kernels)
        alpha = w_b @ w_c / (w_c @ w_c)
        e = w_b - alpha * w_c
        total = a.var(axis=0).mean()
        gain = (a @ w_c).var() / (w_c @ w_c * total)
        residual_gain = (a @ e).var() / (e @ e * total)
        kappa = np.cov(a @ e, a @ w_c, bias=True)[0, 1] / (alpha * (a @ w_c).var())
        found = layer.gains
        assert found.gain[unit] == pytest.approx(gain, rel=1e-4)
        assert found.residual_gain[unit] == pytest.approx(residual_gain, rel=1e-3)
        assert found.kappa[unit] == pytest.approx(kappa, rel=1e-3, abs=1e-4)
        r = np.corrcoef(a @ w_b, a @ w_c)[0, 1]
        assert found.r[unit] == pytest.approx(r, abs=1e-5)
        theta = angle(w_b, w_c)
        assert exact_r(theta, gain, residual_gain, kappa) == pytest.approx(r, abs=1e-6)
        assert exact_r(
            theta, found.gain[unit], found.residual_gain[unit], found.kappa[unit]
        ) == pytest.approx(found.r[unit], abs=1e-6)
        three = np.sign(alpha) / np.sqrt(1 + np.tan(theta) ** 2 * residual_gain / gain)
        assert found.r_three_numbers[unit] == pytest.approx(three, abs=1e-5)
        assert found.angle_inputs[unit] == pytest.approx(np.degrees(np.arccos(r)), abs=1e-2)
        channels = len(w_b) // int(np.prod(getattr(product.linear, "kernel_size", ())))
        expected = parts_of(e, a, channels, total)
        for values, key in zip(expected, ("share", "gain", "cross"), strict=True):
            np.testing.assert_allclose(
                getattr(layer.residual_gains, key)[:, unit], values, rtol=1e-3, atol=1e-4
            )
        assert layer.residual_gains.total[unit] == pytest.approx(residual_gain, rel=1e-3)


def parts_of(e, patches, channels, total):
    """The shares, gains and crossed terms of the parts of a residual, from the products of each part."""
    by_channel = np.array([e[i % channels :: channels].mean() for i in range(len(e))])
    parts = np.array([np.full(len(e), e.mean()), by_channel - e.mean(), e - by_channel])
    energies = (parts**2).sum(axis=1)
    there = energies > 1e-20 * (e @ e)
    covariance = np.cov(patches @ parts.T, rowvar=False, bias=True) / total
    gains = np.where(there, np.diag(covariance) / np.where(there, energies, 1), np.nan)
    cross = 2 * covariance[(0, 0, 1), (1, 2, 2)] / (e @ e)
    return np.where(there, energies, 0) / (e @ e), gains, cross


def test_the_statistics_of_a_layer_are_those_of_its_units():
    keras.utils.set_random_seed(1)
    model = MODELS["same"]()
    (layer,) = report.analyze(model, inputs_of(model), score_images=0)
    row, found, parts = layer.statistics(), layer.gains, layer.residual_gains
    expected = {
        "angle_inputs_deg": np.degrees(np.arccos(found.r)).mean(),
        "r_three_numbers": found.r_three_numbers.mean(),
        "r_two_error": np.abs(found.r_two_numbers - found.r).mean(),
        "r_three_error": np.abs(found.r_three_numbers - found.r).mean(),
        "kappa_median": np.median(found.kappa),
    }
    for place, part in enumerate(("mean", "channels", "rest")):
        expected |= {f"residual_{part}_{key}": getattr(parts, key)[place].mean() for key in ("share", "gain")}
    for key, value in expected.items():
        assert row[key] == pytest.approx(value, rel=1e-12), key
    assert sum(row[f"residual_{part}_share"] for part in ("mean", "channels", "rest")) == pytest.approx(1)


def test_means_over_units_leave_constant_units_out():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4)])
    images = RNG.normal(size=(30, 5)).astype(np.float32)
    images[:, :2] = 1.5
    kernel = model.layers[0].kernel.numpy()
    kernel[2:, 1] = 0  # w_c multiplies only constant inputs, w_b all inputs
    model.layers[0].kernel.assign(kernel)
    (layer,) = report.analyze(model, images, quantizer=lambda w: np.sign(w), score_images=0)
    assert layer.constant_units == 1
    assert np.flatnonzero(layer.gains.constant) == [1]
    others = np.delete(layer.gains.gain, 1)
    assert layer.gain == pytest.approx(others.mean()) and layer.gain_min == others.min()
    assert layer.r_within == pytest.approx(np.delete(layer.gains.r, 1).mean())


def test_a_rotated_kernel_has_the_r_of_its_angle():
    """One large latent weight per unit: sign changes its direction a lot, sign after a rotation by only 37 degrees."""
    model = keras.Sequential([keras.Input((400,)), layers.Dense(50)])
    kernel = RNG.normal(size=(400, 50)).astype(np.float32)
    kernel[0] = 40
    model.layers[0].kernel.assign(kernel)
    (layer,) = report.analyze(model, RNG.normal(size=(3000, 400)).astype(np.float32), score_images=0)
    assert layer.r_within < 0.45
    assert layer.r_rotated == pytest.approx(np.sqrt(2 / np.pi), abs=0.02)


def masked():
    """Recurrent, dense and separable layers; a mask removes steps of the first two, all of some images."""
    inputs = keras.Input((6, 4))
    x = layers.GRU(5, return_sequences=True, reset_after=False)(layers.Masking()(inputs))
    convolved = layers.SeparableConv1D(3, 2, depth_multiplier=2)(inputs)
    return keras.Model(inputs, [layers.Dense(3)(x), convolved])


LOGGED = MODELS | {
    "masked": masked,
    "transposed": one(lambda: layers.Conv2DTranspose(5, 3, strides=2)),
    "einsum": one(lambda: layers.EinsumDense("btgc,gcu->btgu", (None, 9, 5))),
    "channels first": one(lambda: layers.Conv2D(5, 3, data_format="channels_first")),
}


def logged_beside_reported(model, images):
    """Yield pairs (logged, reported) of the values that both have."""
    reported = report.analyze(model, images, score_images=0)
    for found, layer in zip(geometry_log.measure(model, images), reported, strict=True):
        assert found["layer"] == layer.name
        for key in ("gain", "r_within", "r_weights", "angle_mean_deg"):
            yield found[key], getattr(layer, key)


@pytest.mark.parametrize("build", LOGGED.values(), ids=LOGGED)
def test_the_log_has_the_values_of_the_report(build):
    keras.utils.set_random_seed(2)
    model = build()
    images = np.concatenate([inputs_of(model)] * 2)  # more than a batch of the log
    images[::3, 2:] = 0
    images[1] = 0
    for found, expected in logged_beside_reported(model, images):
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["same", "dense", "dense over time"])
def test_what_the_report_does_not_define_is_nan_in_the_log(name):
    model = MODELS[name]()
    images = np.full((60, *model.input_shape[1:]), 0.1, np.float32)
    for found, expected in logged_beside_reported(model, images):
        assert found == pytest.approx(expected, rel=1e-5, nan_ok=True)
    model.layers[0].kernel.assign(0 * model.layers[0].kernel)
    for found, expected in logged_beside_reported(model, inputs_of(model)):
        assert found == pytest.approx(expected, rel=1e-5, nan_ok=True)
