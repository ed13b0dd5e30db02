"""Networks built from a config: names, order, shapes, counts and values of layers, and saved files."""

import dataclasses
import math

import keras
import numpy as np
import pytest

from bnn.analysis import report
from bnn.geometry.estimators import ESTIMATORS
from bnn.layers import (
    BatchNorm,
    MaxPool2x2,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    QuantLSTM,
    Rotation,
    Sign,
    StochasticSign,
    SwishSign,
    optimizers,
)
from bnn.layers.quantizer_functions import ABSMEAN_RATIO, BEST_RATIO
from bnn.models import build, build_model
from bnn.settings.config import ConfigError, ModelConfig, resolve, settings_for
from bnn.training import compile_model, one_hot
from tests.support import call, small_data, small_settings

SMALL = ModelConfig(input_shape=(8, 8, 3), classes=4, conv=(6, 5), max_pool=(0, 1), fc=(7,), filter_size=3)
TERNARY = dataclasses.replace(SMALL, levels=3, threshold=0.1)
CONTINUOUS = dataclasses.replace(SMALL, continuous=True)
REAL_FIRST = dataclasses.replace(SMALL, first_layer="real", clip=0.5)
ROTATED = dataclasses.replace(TERNARY, first_layer="rotated")
DENSE = {"conv": (), "max_pool": ()}
EVERY_KIND = pytest.mark.parametrize("config", [SMALL, TERNARY, CONTINUOUS], ids=lambda config: config.kind)


def images(config, count=5):
    return np.random.default_rng(0).integers(0, 256, (count, *config.input_shape), np.uint8)


def quantized_layers(model):
    return [layer for layer in model.layers if isinstance(layer, QuantConv2D | QuantDense)]


def names(model):
    return [layer.name for layer in model.layers]


def outputs_of(model, kind, x):
    """Outputs of all layers of a class, as float32 arrays."""
    tensors = [layer.output for layer in model.layers if isinstance(layer, kind)]
    return [np.asarray(keras.ops.cast(y, "float32")) for y in keras.Model(model.input, tensors)(x)]


def scramble(model):
    """Give all weights random values, different from the initial ones."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1 if "variance" in weight.path else -1, 1, weight.shape))


def test_the_papers_network_for_cifar_10():
    config, _ = settings_for({})
    model = build_model(config)
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 10)
    kernels = {layer.name: tuple(layer.kernel.shape) for layer in quantized_layers(model)}
    assert kernels == {
        "conv_1": (3, 3, 3, 128),
        "conv_2": (3, 3, 128, 128),
        "conv_3": (3, 3, 128, 256),
        "conv_4": (3, 3, 256, 256),
        "conv_5": (3, 3, 256, 512),
        "conv_6": (3, 3, 512, 512),
        "dense_1": (4 * 4 * 512, 1024),
        "dense_2": (1024, 1024),
        "dense_3": (1024, 10),
    }
    # Besides kernels: per channel an offset and two moving averages, per layer a step counter. No bias, no scale.
    channels = [128, 128, 256, 256, 512, 512, 1024, 1024, 10]
    assert model.count_params() == sum(map(np.prod, kernels.values())) + 3 * sum(channels) + len(channels)
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert model.count_params() - trainable == 2 * sum(channels) + len(channels)
    assert all(layer.decay == 0.999 for layer in model.layers if isinstance(layer, BatchNorm))


def test_blocks_are_convolution_pooling_norm_quantizer():
    assert names(build_model(SMALL)) == [
        "images",
        "scale",
        "conv_1",
        "conv_1_norm",
        "conv_1_activation",
        "conv_2",
        "conv_2_pool",
        "conv_2_norm",
        "conv_2_activation",
        "flatten",
        "dense_1",
        "dense_1_norm",
        "dense_1_activation",
        "dense_2",
        "dense_2_norm",
    ]


def test_no_convolutions_give_a_dense_net():
    model = build_model(dataclasses.replace(SMALL, conv=(), max_pool=(), fc=(7, 6)))
    assert names(model) == [
        "images",
        "scale",
        "flatten",
        "dense_1",
        "dense_1_norm",
        "dense_1_activation",
        "dense_2",
        "dense_2_norm",
        "dense_2_activation",
        "dense_3",
        "dense_3_norm",
    ]
    assert [layer.kernel.shape for layer in quantized_layers(model)] == [(192, 7), (7, 6), (6, 4)]


def test_no_hidden_layers_give_a_linear_classifier():
    model = build_model(dataclasses.replace(SMALL, conv=(), max_pool=(), fc=()))
    assert names(model) == ["images", "scale", "flatten", "dense_1", "dense_1_norm"]


@EVERY_KIND
def test_the_kind_determines_every_quantizer_and_nothing_else(config):
    model = build_model(config)
    assert model.name == config.kind
    activations = [layer for layer in model.layers if isinstance(layer, QuantActivation)]
    quantizers = [layer.kernel_quantizer for layer in quantized_layers(model)]
    quantizers += [layer.quantizer for layer in activations]
    assert len(quantizers) == 4 + 3
    if config.continuous:
        assert set(quantizers) == {None}
    else:
        assert {(q.levels, q.threshold) for q in quantizers} == {(config.levels, config.threshold)}
    twin = build_model(SMALL)
    assert names(model) == names(twin)
    assert model.count_params() == twin.count_params()


@pytest.mark.parametrize(
    ("config", "values"), [(SMALL, {-1, 1}), (TERNARY, {-1, 0, 1})], ids=["binary", "ternary"]
)
def test_kernels_and_activations_have_the_levels(config, values):
    model = build_model(config)
    for layer in quantized_layers(model):
        kernel = np.asarray(layer.quantized_kernel())
        assert set(np.unique(kernel)) == values
        assert np.abs(np.asarray(layer.kernel)).max() <= 1
    for y in outputs_of(model, QuantActivation, images(config)):
        assert set(np.unique(y)) <= values


def test_activations_of_the_continuous_twin_are_real_and_bounded():
    for y in outputs_of(build_model(CONTINUOUS), QuantActivation, images(CONTINUOUS)):
        assert np.abs(y).max() <= 1
        assert len(np.unique(y)) > 3


@pytest.mark.parametrize("shape", [{}, DENSE], ids=["conv", "dense"])
def test_with_a_real_first_layer_only_its_kernel_is_not_quantized(shape):
    first, *others = quantized_layers(build_model(dataclasses.replace(REAL_FIRST, **shape)))
    assert first.kernel_quantizer is None
    np.testing.assert_array_equal(first.quantized_kernel(), first.kernel)
    assert all(isinstance(layer.kernel_quantizer, Sign) for layer in others)
    assert {layer.kernel.constraint.limit for layer in (first, *others)} == {0.5}


@pytest.mark.parametrize(("shape", "name", "d"), [({}, "conv_1", 27), (DENSE, "dense_1", 192)])
def test_a_rotated_first_layer_follows_a_rotation(shape, name, d):
    model = build_model(dataclasses.replace(ROTATED, **shape))
    rotations = [layer for layer in model.layers if isinstance(layer, Rotation)]
    assert [layer.name for layer in rotations] == [f"{name}_rotation"]
    first = quantized_layers(model)[0]
    assert first.input is rotations[0].output
    assert math.prod(first.kernel.shape[:-1]) == d == rotations[0].rotation.shape[0]
    assert model.count_params() == build_model(dataclasses.replace(SMALL, **shape)).count_params() + d**2


def test_a_rotated_first_kernel_has_the_usual_initial_range():
    largest = []
    for first in ("quantized", "rotated"):
        model = build_model(dataclasses.replace(SMALL, conv=(2000, 5), first_layer=first))
        largest.append(np.abs(model.get_layer("conv_1").kernel).max())
    assert largest == pytest.approx([math.sqrt(6 / (27 + 9 * 2000))] * 2, rel=1e-3)


def test_the_glorot_clip_follows_the_fans_of_each_layer():
    """1 / W_LR_scale of BinaryNet's code, also where a convolution follows a rotation; not in real layers."""
    options = {"input_shape": (8, 8, 3), "conv": (16, 32), "max_pool": (1, 1), "fc": (20,), "clip": "glorot"}
    limits = {
        "conv_1": math.sqrt(1.5 / (9 * (3 + 16))),
        "conv_2": math.sqrt(1.5 / (9 * (16 + 32))),
        "dense_1": math.sqrt(1.5 / (2 * 2 * 32 + 20)),
        "dense_2": math.sqrt(1.5 / (20 + 10)),
    }
    for first_layer in ("quantized", "rotated"):
        model = build(**options, first_layer=first_layer)
        for name, limit in limits.items():
            layer = model.get_layer(name)
            latent = np.asarray(layer.kernel)
            assert layer.get_config()["clip"] == pytest.approx(limit)
            assert 0.97 * limit < np.abs(latent).max() <= np.float32(limit)
            assert latent.std() == pytest.approx(limit / math.sqrt(3), rel=0.1)
            clipped = np.asarray(layer.kernel_clip(2 * latent))
            np.testing.assert_array_equal(clipped, np.clip(2 * latent, -np.float32(limit), np.float32(limit)))
    real = build(**options, first_layer="real", last_layer="real")
    for name in ("conv_1", "dense_2"):
        assert real.get_layer(name).get_config()["clip"] == 1
        assert np.abs(real.get_layer(name).kernel).max() > 1.9 * limits[name]


def test_a_step_with_the_glorot_clip_is_a_scaled_step_of_the_first_authors():
    """Their latent weights are those of the layer in units of its limit, and their rate is divided by it."""
    options = {
        "input_shape": (6, 6, 1),
        "conv": (),
        "max_pool": (),
        "fc": (8,),
        "bn_scale": True,
        "bn_decay": 0.9,
    }
    ours, theirs = build(**options, clip="glorot"), build(**options)
    kernels = [layer.name for layer in ours.layers if hasattr(layer, "kernel_quantizer")]
    limits = {name: ours.get_layer(name).kernel_clip.limit for name in kernels}
    theirs.set_weights(ours.get_weights())
    for name in kernels:
        theirs.get_layer(name).kernel.assign(ours.get_layer(name).kernel / limits[name])
    rng = np.random.default_rng(0)
    batches = rng.integers(0, 256, (6, 20, 6, 6, 1), dtype=np.uint8)
    targets = np.eye(10, dtype=np.float32)[rng.integers(0, 10, (6, 20))]
    for model in (ours, theirs):
        adam = keras.optimizers.Adam(0.01, epsilon=1e-8)
        model.compile(adam, keras.losses.SquaredHinge(), jit_compile=False)
    for x, y in zip(batches, targets, strict=True):
        before = {name: np.asarray(theirs.get_layer(name).kernel) for name in kernels}
        for model in (ours, theirs):
            model.train_on_batch(x, y)
        for name, w in before.items():
            kernel = theirs.get_layer(name).kernel
            kernel.assign(np.clip(w + (np.asarray(kernel) - w) / limits[name], -1, 1))
            np.testing.assert_allclose(
                np.asarray(ours.get_layer(name).kernel) / limits[name], kernel, rtol=1e-3, atol=1e-3
            )


def test_a_rotated_first_layer_has_its_angle_and_r_in_the_report():
    """The statistics are those of the generalized binarization theta_R on unrotated patches."""
    x = images(SMALL, 30)
    model = build_model(dataclasses.replace(SMALL, first_layer="rotated"))
    row = report.analyze(model, x)[0].statistics()
    layer, inputs = model.get_layer("conv_1"), keras.Model(model.input, model.get_layer("conv_1").input)(x)
    w, a = np.asarray(layer.kernel).reshape(27, -1), np.asarray(inputs).reshape(-1, 27)
    r = np.asarray(model.get_layer("conv_1_rotation").rotation).T
    w_c, w_b = r.T @ w, r.T @ np.sign(w)
    cosines = np.sum(w_c * w_b, axis=0) / np.linalg.norm(w_c, axis=0) / np.linalg.norm(w_b, axis=0)
    assert row["angle_mean_deg"] == pytest.approx(np.degrees(np.arccos(cosines)).mean(), abs=1e-3)
    patches = a @ r
    assert row["r_weights"] == pytest.approx(
        np.corrcoef((patches @ w_b).ravel(), (patches @ w_c).ravel())[0, 1], abs=1e-5
    )


@pytest.mark.parametrize("input_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_pixels_are_scaled_to_the_input_range(input_range):
    model = build_model(dataclasses.replace(SMALL, input_range=input_range))
    x = np.zeros((2, 8, 8, 3), np.uint8)
    x[1] = 255
    scaled = np.asarray(model.get_layer("scale")(x))
    np.testing.assert_allclose(scaled[0], input_range[0], atol=1e-6)
    np.testing.assert_allclose(scaled[1], input_range[1], atol=1e-6)


def test_bfloat16_is_used_for_products_only():
    model = build_model(SMALL, "bfloat16")
    assert {w.dtype for w in model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in quantized_layers(model)} == {"bfloat16"}
    assert (
        model.get_layer("scale").compute_dtype == "float32"
    )  # bfloat16 cannot represent all 256 pixel values
    scores = model(images(SMALL))
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"


def test_the_seed_determines_the_initial_weights():
    weights = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        weights.append(np.asarray(build_model(SMALL).get_layer("conv_2").kernel))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


# ---- estimators ----


def settings(estimator):
    model, training = small_settings()
    return dataclasses.replace(model, levels=ESTIMATORS[estimator].levels[0], estimator=estimator), training


@pytest.fixture(scope="module")
def data():
    return small_data()


@pytest.mark.parametrize("estimator", ["magnitude_aware_sign", "absmean"])
def test_networks_train_and_give_the_same_scores_after_loading(estimator, data, tmp_path):
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
        ("absmean", "AbsmeanTernary", "Ternary"),
    ],
)
def test_an_estimator_determines_both_quantizers(estimator, kernels, activations):
    layers = build_model(settings(estimator)[0]).layers
    assert {type(x.kernel_quantizer).__name__ for x in layers if hasattr(x, "kernel_quantizer")} == {kernels}
    quantizers = [x.quantizer for x in layers if isinstance(x, QuantActivation)]
    assert {type(q).__name__ for q in quantizers} == {activations}
    assert len({id(q) for q in quantizers}) == len(quantizers) == 2  # each has its own random generator
    ratio = {"optimal_ternary": BEST_RATIO, "absmean": ABSMEAN_RATIO}.get(estimator)
    assert ratio is None or {q.threshold for q in quantizers} == {ratio}


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_kernels_and_activations_may_have_different_estimators(name, levels):
    entry = ESTIMATORS[name]
    if levels not in entry.levels:
        with pytest.raises(
            ConfigError, match=f"levels: expected {entry.levels[0]} with the estimator {name}"
        ):
            build(kernel_quantizer=name, levels=levels)
        return
    plain = dict.fromkeys(("kernel", "activation"), {2: "Sign", 3: "Ternary"}[levels])
    for place in plain:
        model = build(**SIZES, levels=levels, **{f"{place}_quantizer": name})
        made_by = getattr(entry, place)[levels]
        expected = plain | {place: "Ternary" if made_by.startswith("unit_") else made_by}
        assert classes(model) == expected
        assert model.name == {2: "binary", 3: "ternary"}[levels]


# ---- build ----

SIZES = {"input_shape": (8, 8, 3), "classes": 4, "conv": [6, 5], "max_pool": [0, 1], "fc": [7]}


def classes(model):
    """The class names of the quantizers of kernels and of activations; None if there are several of one."""
    kernels = {type(layer.kernel_quantizer).__name__ for layer in quantized_layers(model)}
    activations = {type(x.quantizer).__name__ for x in model.layers if isinstance(x, QuantActivation)}
    return (
        {"kernel": kernels.pop(), "activation": activations.pop()} if len(kernels | activations) < 3 else None
    )


def step(x):
    return keras.ops.where(x > 0.05, 1.0, -0.5)


def test_build_accepts_the_fields_of_the_config():
    ours, theirs = build(**SIZES, levels=3, threshold=0.1), build_model(TERNARY)
    assert [layer.get_config() for layer in ours.layers] == [layer.get_config() for layer in theirs.layers]
    assert ours.name == theirs.name
    assert names(build(conv=[], fc=[])) == ["images", "scale", "flatten", "dense_1", "dense_1_norm"]
    assert quantized_layers(build(**SIZES, precision="bfloat16"))[0].compute_dtype == "bfloat16"


def test_a_built_network_can_be_compiled_and_fitted_with_keras(capsys):
    model = build(**SIZES, levels=3, threshold=0.02)
    model.compile(optimizers.Adam(1e-2), "squared_hinge")
    x, y = images(SMALL, 60), 2 * np.eye(4, dtype=np.float32)[np.arange(60) % 4] - 1
    losses = model.fit(x, y, epochs=8, batch_size=20, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    model.summary()
    assert "conv_2_activation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("quantizer", "shared"),
    [(step, True), (StochasticSign, False), (SwishSign(2.0), True)],
    ids=["function", "class", "object"],
)
def test_build_accepts_user_defined_quantizers(quantizer, shared):
    model = build(**SIZES, kernel_quantizer=quantizer, activation_quantizer=quantizer)
    found = [layer.kernel_quantizer for layer in quantized_layers(model)]
    found += [layer.quantizer for layer in model.layers if isinstance(layer, QuantActivation)]
    assert len(found) == 4 + 3
    assert len({id(q) for q in found}) == (1 if shared else 7)
    assert model.name == "quantized"


def test_an_unregistered_quantizer_can_be_passed_to_keras_for_loading(tmp_path):
    model = build(**SIZES, kernel_quantizer=step)
    model.save(tmp_path / "model.keras")
    with pytest.raises(Exception, match="step"):
        keras.saving.load_model(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"step": step})
    np.testing.assert_array_equal(again(images(SMALL)), model(images(SMALL)))
    assert set(np.unique(quantized_layers(again)[0].quantized_kernel())) == {-0.5, 1}


def test_a_continuous_network_refuses_a_user_defined_quantizer():
    with pytest.raises(
        ConfigError, match=r"activation_quantizer: expected None, .* continuous net.*'Custom>step'"
    ):
        build(**SIZES, continuous=True, activation_quantizer=step)


def test_unknown_settings_are_refused():
    with pytest.raises(TypeError, match="epochs"):
        build(**SIZES, epochs=3)
    with pytest.raises(TypeError, match=r"input_shap: .*did you mean input_shape\?"):
        build(input_shap=(28, 28, 1))


def test_a_clip_that_leaves_no_weight_above_the_threshold_is_refused():
    with pytest.raises(
        ConfigError, match=r"clip: expected more than the threshold, 0\.1, .* received 0\.05;"
    ):
        build(**SIZES, levels=3, threshold=0.1, clip=0.05)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="precision: expected one of float32, bfloat16, received 'auto'"):
        build(**SIZES, precision="auto")


def test_pooling_has_one_kind_of_window():
    with pytest.raises(ValueError, match="MaxPool2x2: expected its defaults, received"):
        MaxPool2x2(padding="same")
    again = MaxPool2x2.from_config(MaxPool2x2(name="pool").get_config())
    assert (again.name, again.pool_size, again.strides) == ("pool", (2, 2), (2, 2))


def test_sizes_of_the_wrong_number_are_refused():
    with pytest.raises(ConfigError, match=r"input_shape: expected 3 whole numbers, received \(28, 28\)"):
        build(input_shape=(28, 28))


# ---- files ----

LOADER = """
import sys
import numpy as np
from bnn import backend
backend.load()
import keras
import bnn.layers
folder = sys.argv[1]
images = np.load(f"{folder}/images.npy", allow_pickle=False)
for kind in sys.argv[2:]:
    model = keras.saving.load_model(f"{folder}/{kind}.keras")
    np.save(f"{folder}/{kind}.npy", model(images))
"""


def test_files_load_in_another_process_with_the_same_predictions(tmp_path):
    x = images(SMALL, 20)
    np.save(tmp_path / "images.npy", x)
    models = {config.kind: build_model(config) for config in (SMALL, TERNARY, CONTINUOUS)}
    models["bfloat16"] = build_model(TERNARY, "bfloat16")
    models |= {config.first_layer: build_model(config) for config in (REAL_FIRST, ROTATED)}
    for kind, model in models.items():
        scramble(model)
        model.save(tmp_path / f"{kind}.keras")
    process = call("-c", LOADER, tmp_path, *models)
    assert process.returncode == 0, process.stderr
    for kind, model in models.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{kind}.npy"), model(x), err_msg=kind)


def test_a_loaded_model_is_the_same_model(tmp_path):
    model = build_model(TERNARY)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert names(again) == names(model)
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(layer.kernel.constraint is not None for layer in quantized_layers(again))
    assert [layer.kernel_quantizer.threshold for layer in quantized_layers(again)] == [0.1] * 4


def test_the_state_of_a_recurrent_network_can_stay_real():
    small = {"network": "lstm", "input_shape": (4, 3, 1), "units": (2, 2)}
    for real in (False, True):
        config = resolve(small | {"real_state": real})
        cells = [layer.cell for layer in config.build().layers if isinstance(layer, QuantLSTM)]
        assert [cell.state_quantizer is None for cell in cells] == [real, real]
        assert all(cell.kernel_quantizer and cell.recurrent_kernel_quantizer for cell in cells)
        assert config.network.label == ("lstm2-2-real-state" if real else "lstm2-2")
