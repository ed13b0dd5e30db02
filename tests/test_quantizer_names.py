"""The same names of quantizers in settings, layers, `analyze` and `build`."""

import keras
import numpy as np
import pytest

import bnn
from bnn.commands import analyze, train
from bnn.geometry import estimators
from bnn.geometry.estimators import ESTIMATORS
from bnn.geometry.named_quantizers import named
from bnn.layers import LloydMax, QuantActivation, QuantConv2D, QuantDense, Sign, Ternary, quantizers
from bnn.settings.config import ConfigError, resolve
from tests.support import ROOT

NAMES = (*ESTIMATORS, "sign", "ternary", "ternary:0.1", "lloyd-max:2", "lloyd-max:3", "lloyd-max:8")
SMALL = {"input_shape": (8, 8, 1), "conv": (4,), "max_pool": (1,), "fc": ()}


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_and_an_array_are_quantized_alike(name):
    x = np.random.default_rng(0).normal(0, 0.4, (70, 5)).astype("float32")
    np.testing.assert_allclose(np.asarray(quantizers.get(name)(x)), named(name)(x), atol=1e-6)
    standard = x / x.std()  # the quantizer of activations has the unit 1
    ours = np.asarray(quantizers.get(name, "quantizer")(standard))
    theirs = named(name, "activations")(standard)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_quantizers_of_a_name_have_the_values_of_the_literature():
    w = np.float32([-2, -0.9, -0.2, 0, 0.3, 1.4])
    assert named("ste")(w).tolist() == named("approx_sign")(w).tolist() == [-1, -1, -1, 1, 1, 1]
    m = np.abs(w).mean()
    np.testing.assert_allclose(named("absmean")(w), [-m, -m, 0, 0, 0, m], rtol=1e-6)
    columns = np.stack([w, 3 * w], axis=1)
    np.testing.assert_allclose(named("magnitude_aware_sign")(columns)[-1], [m, 3 * m], rtol=1e-6)
    assert named("ternary")(w).tolist() == named("optimal_ternary")(w).tolist() == [-1, -1, 0, 0, 0, 1]


def test_lloyd_max_has_the_values_of_max_and_the_gradient_of_ste():
    x = keras.ops.convert_to_tensor(np.linspace(-3, 3, 601, dtype="float32"))
    values, gradient = bnn.layers.pointwise_gradient(LloydMax(4, relative=False), np.asarray(x))
    np.testing.assert_allclose(
        np.unique(values), [-1.510, -0.4528, 0.4528, 1.510], atol=5e-4
    )  # Max 1960, table I
    np.testing.assert_array_equal(gradient, np.abs(x) <= 1)
    zeros = np.zeros((3, 2), "float32")
    np.testing.assert_allclose(np.asarray(LloydMax(4)(zeros)), named("lloyd-max:4")(zeros))
    for levels in (1, 257, 2.0, "4"):
        with pytest.raises(ValueError, match="levels: expected a whole number from 2 to 256, received"):
            LloydMax(levels)


def test_layers_take_names_and_are_saved_with_their_quantizers(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            QuantConv2D(3, 3, kernel_quantizer="ternary:0.1"),
            QuantActivation("absmean"),
            keras.layers.Flatten(),
            QuantDense(3, "lloyd-max:8"),
            QuantActivation("sign"),
            QuantDense(2, "bnn>Sign"),
        ]
    )
    convolution, activation, _, dense, signs, last = model.layers
    assert isinstance(convolution.kernel_quantizer, Ternary) and convolution.kernel_quantizer.threshold == 0.1
    assert isinstance(activation.quantizer, Ternary) and activation.quantizer.threshold == pytest.approx(
        0.3989423
    )
    assert isinstance(signs.quantizer, Sign) and isinstance(last.kernel_quantizer, Sign)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    assert again.layers[3].kernel_quantizer.get_config() == {"levels": 8, "relative": True}
    report = bnn.analyze(again, x)
    assert report[1].theory_angle() == pytest.approx(named("lloyd-max:8").angle(108, 1.0))
    assert report[1].angle_mean_deg == pytest.approx(np.rad2deg(report[1].theory_angle()), abs=2)
    assert dense.kernel_quantizer.values == again.layers[3].kernel_quantizer.values


def test_a_name_in_settings_is_the_same_network():
    def settings(**given):
        return resolve(given, preset={}).to_json()["quantization"]

    assert settings(estimator="sign") == settings() == settings(estimator="ste")
    assert settings(estimator="ternary") == settings(estimator="optimal_ternary")
    assert settings(estimator="ternary:0.1") == settings(levels=3, threshold=0.1)
    eight = settings(estimator="lloyd-max:8")
    assert eight["kernel_quantizer"] == eight["activation_quantizer"] == "lloyd-max:8"
    model = bnn.build(**SMALL, estimator="lloyd-max:4")
    assert model.name == "quantized"
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel_quantizer")]
    assert [len(np.unique(layer.quantized_kernel())) for layer in kernels] == [4, 4]
    assert (
        bnn.build(**SMALL, kernel_quantizer="ternary:0.1", activation_quantizer="ternary").name == "ternary"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"estimator": "sign", "levels": 3}, "levels: expected 2 with the estimator sign, received 3"),
        ({"estimator": "ternary:0.1", "threshold": 0.2}, "threshold: expected 0.1 with .* received 0.2"),
        ({"estimator": "ternary:2"}, r"threshold: expected a value in \[0, 1\), received 2.0"),
        ({"estimator": "absmeen"}, "estimator: expected .* received 'absmeen'; did you mean absmean?"),
        ({"kernel_quantizer": "ternary:0.5", "clip": 0.4}, "clip: expected more than the threshold, 0.5"),
    ],
)
def test_contradictions_and_unknown_names_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(given, preset={})


@pytest.mark.parametrize(
    "make", [lambda n: QuantDense(3, n), QuantActivation, lambda n: QuantConv2D(3, 3, n)]
)
@pytest.mark.parametrize(("name", "meant"), [("Sign", "sign"), ("binary", "sign"), ("absmeen", "absmean")])
def test_a_layer_refuses_an_unknown_name_with_a_similar_one(make, name, meant):
    with pytest.raises(
        ValueError, match=rf"quantizer: expected .*, received '{name}'; did you mean {meant}\?$"
    ):
        make(name)


def test_programs_take_the_names(capsys):
    assert train.parse(["--quantizer", "ternary:0.1"])[0] == {"estimator": "ternary:0.1"}
    assert train.parse(["--estimator", "swish_sign"])[0] == {"estimator": "swish_sign"}
    with pytest.raises(SystemExit):
        train.parse(["--quantizer", "sing"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "received 'sing'; did you mean sign?" in error
    network = str(ROOT / "results" / "mnist-conv-binary" / "seed0")
    with pytest.raises(ConfigError, match=r"^--quantizer: .*'absmeen'; did you mean absmean"):
        analyze.main([network, "--quantizer", "absmeen"])


def test_analyze_takes_an_estimator():
    model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(7, use_bias=False)])
    x = np.random.default_rng(0).normal(size=(50, 40)).astype("float32")
    (layer,) = bnn.analyze(model, x, quantizer="absmean", activations="absmean")
    w = np.asarray(model.layers[0].kernel)
    m = np.abs(w).mean()
    np.testing.assert_allclose(
        layer.kernels.quantized.reshape(w.shape), m * np.round(np.clip(w / m, -1, 1)), rtol=1e-6
    )
    assert layer.thresholds() == pytest.approx([-m / 2, m / 2], rel=1e-5)
    assert estimators.get("absmean") is ESTIMATORS["absmean"]
