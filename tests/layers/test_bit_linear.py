"""BitLinear, the layer of 1-bit language models: NumPy forward passes, gradients, saving, and its analysis."""

import keras
import numpy as np
import pytest

import bnn
from bnn.layers import AbsmaxIntegers, BitLinear, CenteredSign, gradients

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((5, 7, 12)) * RNG.lognormal(size=(5, 7, 1))).astype(np.float32)


array = keras.ops.convert_to_numpy


def built(**options):
    keras.utils.set_random_seed(0)
    layer = BitLinear(6, **options)
    layer.build((None, 7, 12))
    layer.norm.scale.assign(RNG.uniform(0.5, 2, 12))
    return layer


def integers(x, bits):
    unit = np.abs(x).max(axis=-1, keepdims=True) / (2 ** (bits - 1) - 1)
    return np.round(x / unit) * unit


def expected(layer, x, levels, bits):
    w = array(layer.dense.kernel).astype(np.float64)
    normed = x / np.sqrt(np.mean(x.astype(np.float64) ** 2, axis=-1, keepdims=True) + layer.norm.epsilon)
    normed = normed * array(layer.norm.scale)
    scale = np.abs(w).mean()
    if levels == 2:
        w = np.where(w >= w.mean(), scale, -scale)
    elif levels == 3:
        w = np.clip(np.round(w / scale), -1, 1) * scale
    return (normed if bits is None else integers(normed, bits)) @ w


@pytest.mark.parametrize("levels", [2, 3, None])
@pytest.mark.parametrize("bits", [4, 8, None])
def test_forward_is_that_of_the_papers(levels, bits):
    layer = built(levels=levels, activation_bits=bits)
    found = array(layer(X))
    # A value near the middle of two integers may be rounded the other way in float32: allow one unit of one input.
    unit = 0 if bits is None else 12 / (2 ** (bits - 1) - 1) * np.abs(array(layer.dense.kernel)).max()
    errors = np.abs(found - expected(layer, X, levels, bits))
    assert np.mean(errors > 1e-5) < 0.02 and errors.max() <= unit + 1e-5


def test_without_quantizers_it_is_keras_norm_and_dense():
    layer = built(levels=None, activation_bits=None)
    dense = keras.layers.Dense(6, use_bias=False)
    dense.build((None, 7, 12))
    dense.kernel.assign(layer.dense.kernel)
    np.testing.assert_allclose(layer(X), dense(layer.norm(X)), rtol=1e-6)


@pytest.mark.parametrize("quantizer", [AbsmaxIntegers(8), CenteredSign()])
def test_gradients_pass_unchanged(quantizer):
    _, derivatives = gradients.pointwise_gradient(quantizer, X)
    np.testing.assert_array_equal(derivatives, np.ones_like(X))


def test_tokens_do_not_depend_on_each_other():
    """A token of zeros and one of large values are quantized with units of their own."""
    x = np.stack([X[0, 0], 1000 * X[0, 1], 0 * X[0, 2]])
    found = array(AbsmaxIntegers(8)(x))
    np.testing.assert_array_equal(found[0], array(AbsmaxIntegers(8)(x[:1]))[0])
    assert not found[2].any()


def test_a_saved_network_is_loaded_with_the_same_outputs(tmp_path):
    inputs = keras.Input((7, 12))
    model = keras.Model(inputs, BitLinear(4, levels=2)(BitLinear(6)(inputs)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_the_analysis_has_r_of_activations_before_and_after_rounding():
    inputs = keras.Input((7, 12))
    model = keras.Model(
        inputs, BitLinear(40, activation_bits=3, kernel_initializer="random_normal", name="first")(inputs)
    )
    (row,) = bnn.analyze(model, X)
    layer = model.get_layer("first")
    real = array(layer.norm(X))
    kernel = array(layer.dense.quantized_kernel())
    r = np.corrcoef((integers(real, 3) @ kernel).ravel(), (real @ kernel).ravel())[0, 1]
    assert row.r_activations == pytest.approx(r, abs=1e-3) and row.r_activations < 0.999
    latent = array(layer.dense.kernel)
    cosines = np.sum(latent * kernel, axis=0) / np.sqrt(np.sum(latent**2, axis=0) * np.sum(kernel**2, axis=0))
    assert row.angle_mean_deg == pytest.approx(np.degrees(np.arccos(cosines)).mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "units: expected a positive whole number, received 0"),
        ({"units": 3, "levels": 4}, "levels: expected 2, 3 or None, received 4"),
        ({"units": 3, "activation_bits": 1}, "bits: expected a whole number from 2 to 16, received 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BitLinear(**options)
