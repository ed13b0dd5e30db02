"""Settings: presets, JSON, and the error for each bad value."""

import json
import math
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn.console import spelling
from bnn.settings import config, presets
from bnn.settings import training as train_config
from bnn.settings.config import ConfigError, ModelConfig, TrainConfig, from_json, settings_for, to_json

ROOT = Path(__file__).resolve().parent.parent
KINDS = (ModelConfig, TrainConfig)


def test_numbers_of_numpy_are_settings():
    plain = {"lr_start": 0.01, "epochs": 3, "conv": [4, 5], "max_pool": (0, 1), "debug": True}
    theirs = {
        "lr_start": np.float64(0.01),
        "epochs": np.int64(3),
        "conv": np.array([4, 5]),
        "max_pool": (np.int8(0), np.int8(1)),
        "debug": np.True_,
    }
    assert settings_for(theirs) == settings_for(plain)
    assert json.dumps([to_json(made) for made in settings_for(theirs)])


# ---- presets ----


def test_the_defaults_are_the_papers_for_cifar_10():
    model, training = settings_for({})
    assert (model, training) == (ModelConfig(), TrainConfig())
    assert model.conv == (128, 128, 256, 256, 512, 512)
    assert model.max_pool == (0, 1, 0, 1, 0, 1)
    assert (model.fc, model.filter_size, model.input_range) == ((1024, 1024), 3, (-1, 1))
    assert (model.kind, model.bn_decay) == ("binary", 0.999)
    assert (training.data_set, training.batch_size, training.epochs) == ("cifar-10", 50, 500)
    assert (training.lr_start, training.lr_end, training.loss_mode) == (1e-3, 3e-7, "hinge-loss")
    assert (training.schedule, training.warmup, training.augment) == ("exponential", 0, "none")
    assert (model.first_layer, model.clip) == ("quantized", 1)


def test_mnist_is_a_dense_net():
    model, training = settings_for({"data_set": "MNIST"})
    assert (model.input_shape, model.input_range) == ((28, 28, 1), (0, 1))
    assert (model.conv, model.max_pool) == ((), ())
    assert training.data_set == "MNIST"


@pytest.mark.parametrize("data_set", presets.DATA_SETS)
def test_flags_override_presets(data_set):
    given = {"data_set": data_set, "epochs": 7, "fc": (9,), "levels": 3, "threshold": 0.02, "seed": 3}
    model, training = settings_for(given)
    assert (training.data_set, training.epochs, training.seed) == (data_set, 7, 3)
    assert (model.fc, model.levels, model.threshold, model.kind) == ((9,), 3, 0.02, "ternary")


@pytest.mark.parametrize("data_set", presets.DATA_SETS)
def test_an_empty_conv_needs_no_max_pool(data_set):
    model, _ = settings_for({"data_set": data_set, "conv": ()})
    assert (model.conv, model.max_pool) == ((), ())


@pytest.mark.parametrize(
    ("given", "levels", "threshold"),
    [
        ({"levels": 3}, 3, 0.02),
        ({"levels": 3, "network": "vgg-small"}, 3, 0.02),
        ({"levels": 3, "threshold": 0.1}, 3, 0.1),
        ({"levels": 3, "threshold": 0.0}, 3, 0.0),
        ({"levels": 3, "kernel_quantizer": "Custom>f"}, 3, 0.02),  # of the activations
        ({"levels": 3, "kernel_quantizer": "Custom>f", "activation_quantizer": "Custom>f"}, 3, 0.0),
        ({"levels": 3, "estimator": "absmean"}, 3, 0.0),
        ({"estimator": "absmean"}, 3, 0.0),
        ({"estimator": "optimal_ternary", "network": "binarynet"}, 3, 0.0),
        ({"activation_quantizer": "optimal_ternary"}, 3, 0.02),
        ({"estimator": "approx_sign"}, 2, 0.0),
        ({"levels": 3, "threshold": 0.0, "clip": "glorot"}, 3, 0.0),
        ({}, 2, 0.0),
    ],
)
def test_levels_and_threshold_follow_from_the_estimator_unless_they_are_given(given, levels, threshold):
    model, _ = settings_for(given)
    assert (model.levels, model.threshold) == (levels, threshold)
    assert model.is_binary_in_effect == (given.get("threshold") == 0)


@pytest.mark.parametrize("given", [{"clip": "glorot"}, {"network": "binarynet"}])
def test_a_ternary_network_without_a_threshold_is_refused_where_the_papers_has_no_meaning(given):
    with pytest.raises(
        ConfigError, match=r"^estimator: expected optimal_ternary or absmean, .* received ste$"
    ):
        settings_for({"levels": 3} | given)


@pytest.mark.parametrize(
    "given",
    [
        {"clip": 0.02},
        {"clip": 0.01},
        {"clip": 0.3, "threshold": 0.3 * (1 + 1e-9)},
        {"clip": 0.01, "activation_quantizer": "absmean"},
    ],
)
def test_a_clip_that_leaves_no_weight_above_the_threshold_is_refused(given):
    said = r"^clip: expected more than the threshold, 0\.\d+, .* received 0\.\d+; raise "
    with pytest.raises(ConfigError, match=said + "clip or lower threshold: "):
        settings_for({"levels": 3} | given)
    with spelling.command_line(), pytest.raises(ConfigError, match=said + "--clip or lower --threshold: "):
        settings_for({"levels": 3} | given)


def test_thresholds_of_activations_alone_may_exceed_the_clip():
    for chosen in ({"kernel_quantizer": "absmean"}, {"estimator": "absmean"}, {"threshold": 0.0}):
        assert settings_for({"levels": 3, "clip": 0.01} | chosen)[0].clip == 0.01
    ModelConfig(levels=3, threshold=0.3, clip=0.1)  # as config.json of a run that an earlier version accepted


def test_an_estimator_in_a_continuous_network_is_refused_by_its_name():
    with pytest.raises(ConfigError, match=r"^estimator: expected ste, the default, in a continuous net"):
        settings_for({"estimator": "absmean", "continuous": True})


@pytest.mark.parametrize("conv", [(16, 32), [5], (8,) * 5])
@pytest.mark.parametrize("other", [{}, {"data_set": "mnist-5k"}, {"network": "vgg-small"}])
def test_the_error_for_poolings_that_nobody_typed_gives_some_that_fit(conv, other):
    given = {"conv": conv} | other
    for call, spelled in (
        (spelling.command_line(), "--max_pool ([01 ]+)"),
        (nullcontext(), r"max_pool=\((.+)\)"),
    ):
        with (
            call,
            pytest.raises(ConfigError, match=rf"^max_pool: .*, such as {spelled}, received none") as error,
        ):
            settings_for(given)
        example = re.search(rf"such as {spelled}, ", str(error.value))[1]
        pool = [int(digit) for digit in re.findall("[01]", example)]
        assert settings_for(given | {"max_pool": pool})[0].max_pool == tuple(pool)


def test_the_error_for_poolings_without_convolutions_names_both():
    message = r"^max_pool: expected one entry for each of the 4 in conv, by default 32 32 64 64, received 1; --conv "
    with spelling.command_line(), pytest.raises(ConfigError, match=message):
        settings_for({"max_pool": [1], "data_set": "mnist-5k"})


def test_an_empty_conv_with_poolings_is_refused():
    with pytest.raises(
        ConfigError, match=r"max_pool: expected one entry for each of the 0 .* received \[1\]"
    ):
        settings_for({"conv": (), "max_pool": (1,)})


def test_debug_trains_few_epochs_unless_they_are_given():
    assert settings_for({"debug": True})[1].epochs == 2
    assert settings_for({"debug": True, "epochs": 5})[1].epochs == 5


def test_a_named_network_overrides_the_preset_and_settings_by_hand_override_it():
    vgg, _ = settings_for({"network": "vgg-small"})
    paper = ModelConfig()
    assert (vgg.conv, vgg.max_pool, vgg.fc) == (paper.conv, paper.max_pool, ())
    assert (vgg.first_layer, vgg.last_layer) == ("real", "real")
    digits, training = settings_for(
        {"network": "vgg-small", "data_set": "mnist-5k", "last_layer": "quantized"}
    )
    assert (digits.conv, digits.fc, digits.input_shape) == (vgg.conv, (), (28, 28, 1))
    assert (digits.first_layer, digits.last_layer) == ("real", "quantized")
    assert training.epochs == presets.PRESETS["mnist-5k"]["epochs"]
    assert settings_for({"network": "vgg-small", "conv": []})[0].max_pool == ()
    with pytest.raises(
        ConfigError, match=r"network: expected one of vgg, vgg-small, binarynet, .*received 'vgg16'"
    ):
        settings_for({"network": "vgg16"})


def test_the_first_authors_network_has_their_training():
    model, training = settings_for({"network": "binarynet"})
    assert (model.conv, model.fc) == (ModelConfig().conv, ModelConfig().fc)
    assert (model.clip, model.bn_scale, model.bn_decay, model.bn_epsilon) == ("glorot", True, 0.9, 1e-4)
    assert (training.batch_size, training.epochs, training.clip_gradients) == (50, 500, None)
    assert (training.lr_start, training.lr_end, training.augment) == (1e-3, 3e-7, "none")
    digits, short = settings_for(
        {"network": "binarynet", "data_set": "MNIST", "bn_scale": False, "lr_start": 0.1, "debug": True}
    )
    assert (digits.conv, digits.bn_scale, digits.bn_decay) == (model.conv, False, 0.9)
    assert (short.lr_start, short.lr_end, short.epochs) == (0.1, 3e-7, 2)


def test_the_kind_of_a_network():
    assert ModelConfig(continuous=True).kind == "continuous"
    assert ModelConfig(levels=3, threshold=0.02).kind == "ternary"
    assert ModelConfig(kernel_quantizer="magnitude_aware_sign").kind == "binary"
    assert ModelConfig(activation_quantizer="Custom>f").kind == "quantized"


def test_the_error_for_an_unregistered_quantizer_says_how_to_register_it():
    with pytest.raises(
        ConfigError, match=r"kernel_quantizer: .* @keras.saving.register_keras_serializable\(\) above"
    ):
        ModelConfig(kernel_quantizer=lambda x: x)


# ---- bad values ----

HUGE = 10**400  # too large for a float
BAD_MODELS = [
    ({"input_shape": (0, 32, 3)}, "input_shape", "[0, 32, 3]"),
    ({"input_shape": (-28, 28, 1)}, "input_shape", "[-28, 28, 1]"),
    ({"input_shape": (10**9, 10**9, 3)}, "input_shape", "1000000000"),
    ({"input_shape": (28, 28)}, "input_shape", "(28, 28)"),
    ({"input_shape": [28, 28, 1]}, "input_shape", "[28, 28, 1]"),
    ({"input_range": (1.0, 1.0)}, "input_range", "(1.0, 1.0)"),
    ({"input_range": (0.0, math.inf)}, "input_range", "inf"),
    ({"classes": 0}, "classes", "0"),
    ({"classes": 10**12}, "classes", "1000000000000"),
    ({"conv": (0,), "max_pool": (0,)}, "conv", "[0]"),
    ({"conv": (8, -8), "max_pool": (0, 0)}, "conv", "[8, -8]"),
    ({"conv": (10**9,), "max_pool": (0,)}, "conv", "[1000000000]"),
    ({"conv": (8.0,), "max_pool": (0,)}, "conv", "(8.0,)"),
    ({"conv": (True,), "max_pool": (0,)}, "conv", "(True,)"),
    ({"conv": ((8,),), "max_pool": (0,)}, "conv", "((8,),)"),
    ({"conv": "8", "max_pool": (0,)}, "conv", "'8'"),
    ({"conv": (8, 8)}, "max_pool", "[0, 1, 0, 1, 0, 1]"),
    ({"max_pool": (0, 1)}, "max_pool", "[0, 1]"),
    ({"conv": (8,), "max_pool": (2,)}, "max_pool", "[2]"),
    ({"conv": (8,) * 6, "max_pool": (1,) * 6}, "max_pool", "6"),
    ({"conv": (8,) * 5, "max_pool": (1,) * 5, "input_shape": (28, 28, 1)}, "max_pool", "5"),
    ({"conv": (8,), "max_pool": (1,), "input_shape": (28, 1, 1)}, "max_pool", "1"),
    ({"conv": (1,) * 1001, "max_pool": (0,) * 1001}, "conv", "1001"),
    ({"fc": (1,) * 1001}, "fc", "1001"),
    ({"fc": (65536, 65536)}, "conv, fc", "4837068160"),
    ({"conv": (65536, 65536), "max_pool": (1, 1)}, "conv, fc", "42952501248"),
    ({"filter_size": 0}, "filter_size", "0"),
    ({"filter_size": 33}, "filter_size", "33"),
    ({"filter_size": "3"}, "filter_size", "'3'"),
    ({"fc": (1024, 0)}, "fc", "[1024, 0]"),
    ({"fc": 1024}, "fc", "1024"),
    ({"levels": 4}, "levels", "4"),
    ({"levels": 3.0}, "levels", "3.0"),
    ({"levels": 3, "threshold": 1.0}, "threshold", "1.0"),
    ({"levels": 3, "threshold": -0.1}, "threshold", "-0.1"),
    ({"levels": 3, "threshold": math.nan}, "threshold", "nan"),
    ({"threshold": 0.02}, "threshold", "0.02"),
    ({"levels": 3, "continuous": True}, "levels", "3"),
    ({"estimator": "sign"}, "estimator", "'sign'"),
    ({"estimator": "approx_sign", "levels": 3}, "levels", "3"),
    ({"estimator": "optimal_ternary"}, "levels", "2"),
    ({"estimator": "optimal_ternary", "levels": 3, "threshold": 0.1}, "threshold", "0.1"),
    ({"estimator": "swish_sign", "continuous": True}, "estimator", "'swish_sign'"),
    ({"kernel_quantizer": "sing"}, "kernel_quantizer", "'sing'; did you mean sign?"),
    ({"kernel_quantizer": "ternary:1.5", "levels": 3}, "kernel_quantizer", "'ternary:1.5'"),
    ({"kernel_quantizer": "sign", "levels": 3}, "levels", "3"),
    ({"kernel_quantizer": "ternary:0.1", "levels": 3, "clip": "glorot"}, "clip", "'glorot'"),
    ({"activation_quantizer": 2}, "activation_quantizer", "2"),
    ({"activation_quantizer": len}, "activation_quantizer", "<built-in function len>"),
    ({"activation_quantizer": "optimal_ternary"}, "levels", "2"),
    ({"kernel_quantizer": "approx_sign", "levels": 3}, "levels", "3"),
    ({"kernel_quantizer": "ste", "continuous": True}, "kernel_quantizer", "'ste'"),
    ({"kernel_quantizer": "Custom>f", "continuous": True}, "kernel_quantizer", "'Custom>f'"),
    ({"continuous": 1}, "continuous", "1"),
    ({"first_layer": "float"}, "first_layer", "'float'"),
    ({"first_layer": "real", "continuous": True}, "first_layer", "'real'"),
    ({"last_layer": "rotated"}, "last_layer", "'rotated'"),
    ({"last_layer": "real", "continuous": True}, "last_layer", "'real'"),
    ({"clip": 0.0}, "clip", "0.0"),
    ({"clip": math.inf}, "clip", "inf"),
    ({"clip": "he"}, "clip", "'he'"),
    ({"clip": None}, "clip", "None"),
    ({"clip": "glorot", "continuous": True}, "clip", "'glorot'"),
    ({"clip": "glorot", "levels": 3, "threshold": 0.02}, "clip", "'glorot'"),
    ({"bn_epsilon": 0.0}, "bn_epsilon", "0.0"),
    ({"bn_epsilon": "small"}, "bn_epsilon", "'small'"),
    ({"bn_scale": 1}, "bn_scale", "1"),
    ({"bn_decay": 1.0}, "bn_decay", "1.0"),
    ({"bn_decay": HUGE}, "bn_decay", "1000"),
    ({"bn_decay": None}, "bn_decay", "None"),
]
BAD_TRAININGS = [
    ({"data_set": "svhn"}, "data_set", "'svhn'"),
    ({"data_set": None}, "data_set", "None"),
    ({"batch_size": 0}, "batch_size", "0"),
    ({"batch_size": -50}, "batch_size", "-50"),
    ({"batch_size": 50.0}, "batch_size", "50.0"),
    ({"batch_size": HUGE}, "batch_size", "1000"),
    ({"epochs": 0}, "epochs", "0"),
    ({"epochs": True}, "epochs", "True"),
    ({"epochs": HUGE}, "epochs", "1000"),
    ({"ckpt_n": 0}, "ckpt_n", "0"),
    ({"lr_start": 0.0}, "lr_start", "0.0"),
    ({"lr_start": math.inf}, "lr_start", "inf"),
    ({"lr_start": HUGE}, "lr_start", "1000"),
    ({"lr_end": -1e-3}, "lr_end", "-0.001"),
    ({"lr_end": math.nan}, "lr_end", "nan"),
    ({"lr_end": "fast"}, "lr_end", "'fast'"),
    ({"schedule": "linear"}, "schedule", "'linear'"),
    ({"warmup": -1}, "warmup", "-1"),
    ({"warmup": 0.5}, "warmup", "0.5"),
    ({"warmup": 4, "epochs": 4}, "warmup", "4"),
    ({"augment": "flips"}, "augment", "'flips'"),
    ({"loss_mode": "l2"}, "loss_mode", "'l2'"),
    ({"loss_mode": "softmax", "label_smoothing": 1.0}, "label_smoothing", "1.0"),
    ({"loss_mode": "softmax", "label_smoothing": -0.1}, "label_smoothing", "-0.1"),
    ({"label_smoothing": 0.1}, "label_smoothing", "0.1"),
    ({"optimizer": "sgd"}, "optimizer", "'sgd'"),
    ({"optimizer": "bop", "bop_gamma": 0.0}, "bop_gamma", "0.0"),
    ({"optimizer": "bop", "bop_gamma": 1.5}, "bop_gamma", "1.5"),
    ({"optimizer": "bop", "bop_threshold": -1e-8}, "bop_threshold", "-1e-08"),
    ({"bop_gamma": 1e-3}, "bop_gamma", "0.001"),
    ({"bop_threshold": 0.0}, "bop_threshold", "0.0"),
    ({"clip_gradients": 0.0}, "clip_gradients", "0.0"),
    ({"clip_gradients": -1.0}, "clip_gradients", "-1.0"),
    ({"clip_gradients": math.inf}, "clip_gradients", "inf"),
    ({"clip_gradients": "none"}, "clip_gradients", "'none'"),
    ({"seed": -1}, "seed", "-1"),
    ({"seed": 2**32}, "seed", "4294967296"),
    ({"precision": "float16"}, "precision", "'float16'"),
    ({"deterministic": "yes"}, "deterministic", "'yes'"),
    ({"debug": 0}, "debug", "0"),
]
BAD = [(ModelConfig, *case) for case in BAD_MODELS] + [(TrainConfig, *case) for case in BAD_TRAININGS]


@pytest.mark.parametrize(("kind", "values", "name", "received"), BAD, ids=lambda v: str(v)[:40])
def test_bad_values_are_named(kind, values, name, received):
    with pytest.raises(ConfigError) as error:
        kind(**values)
    field_name, _, rest = str(error.value).partition(": expected ")
    assert field_name == name
    assert received in rest.partition(", received ")[2]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            {"levels": 3},
            "optimizer: expected adam, because the network is ternary, not binary, received 'bop'",
        ),
        ({"continuous": True}, "optimizer: expected adam, because the network is continuous, not binary, .*"),
        ({"kernel_quantizer": "Custom>f"}, "optimizer: expected adam, because the network is quantized, .*"),
        ({"kernel_quantizer": "swish_sign"}, "kernel_quantizer: expected none with .* bop, .* 'swish_sign'"),
        (
            {"clip": 0.5},
            "clip: expected 1.0, the default, with the optimizer bop, whose kernels are signs, .* 0.5",
        ),
        ({"clip": "glorot"}, "clip: expected 1.0, the default, with the optimizer bop, .* 'glorot'"),
    ],
)
def test_bop_needs_a_network_of_signs(network, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        settings_for({"optimizer": "bop"} | network)
    assert settings_for({"optimizer": "bop", "first_layer": "real"})[1].optimizer == "bop"


def test_weights_are_counted():
    assert ModelConfig().weights == 14_022_016
    assert ModelConfig(input_shape=(28, 28, 1), conv=(), max_pool=(), fc=(1024,) * 3).weights == 2_910_208


@pytest.mark.parametrize("data_set", ["svhn", "", None, ("MNIST",), ["MNIST"]])
def test_unknown_data_sets_are_refused(data_set):
    with pytest.raises(
        ConfigError,
        match=r"data_set: expected one of .*, mnist-5k, FILE.npz, FOLDER/, NAME of --use FILE.py, received",
    ):
        settings_for({"data_set": data_set})


# ---- JSON ----


def _quantizers(draw, levels):
    if levels == 2 and draw(st.booleans()):
        return {"continuous": True}
    names = st.sampled_from([None, "ste", "Custom>my_sign"])
    return {name: draw(names) for name in config.QUANTIZERS}


@st.composite
def model_configs(draw):
    sizes = st.lists(st.integers(1, 300), max_size=4).map(tuple)
    conv = draw(sizes)
    levels = draw(st.sampled_from([2, 3]))
    return ModelConfig(
        input_shape=draw(st.tuples(st.integers(16, 64), st.integers(16, 64), st.integers(1, 4))),
        input_range=draw(st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (0, 1)])),
        conv=conv,
        max_pool=tuple(draw(st.lists(st.integers(0, 1), min_size=len(conv), max_size=len(conv)))),
        fc=draw(sizes),
        levels=levels,
        threshold=draw(st.floats(0, 1, exclude_max=True)) if levels == 3 else 0.0,
        **_quantizers(draw, levels),
        bn_decay=draw(st.floats(0, 1, exclude_max=True)),
    )


train_configs = st.builds(
    TrainConfig,
    data_set=st.sampled_from(presets.DATA_SETS),
    batch_size=st.integers(1, 10**9),
    epochs=st.integers(1, 10**9),
    lr_start=st.floats(0, exclude_min=True, allow_infinity=False),
    loss_mode=st.sampled_from(train_config.LOSS_MODES),
    seed=st.integers(0, 2**32 - 1),
    deterministic=st.booleans(),
)


@given(model_configs() | train_configs)
def test_a_config_can_be_restored_from_json(made):
    assert from_json(type(made), json.loads(json.dumps(to_json(made)))) == made


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(HUGE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.data())
def test_any_json_value_of_a_field_is_kept_or_refused_by_name(kind, data):
    valid = to_json(ModelConfig(conv=(), max_pool=()) if kind is ModelConfig else TrainConfig())
    name = data.draw(st.sampled_from(sorted(valid)))
    value = data.draw(json_values)
    try:
        made = from_json(kind, valid | {name: value})
    except ConfigError as error:
        message = str(error)
        # If conv is a valid list of another length, max_pool is named; if the network is too large, conv and fc.
        others = ("max_pool: expected ",) if name == "conv" else ()
        assert message.startswith((f"{name}: expected ", "conv, fc: expected at most ", *others))
        assert ", received " in message
    else:
        assert getattr(made, name) == (tuple(value) if isinstance(value, list) else value)


@given(st.sampled_from(KINDS), json_values)
def test_json_that_is_not_a_config_is_refused(kind, value):
    with pytest.raises(ConfigError):
        from_json(kind, value)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_and_missing_keys_are_named(kind):
    values = to_json(kind())
    with pytest.raises(ConfigError, match=f"momentum: expected no such key in {kind.__name__}, received 0.9"):
        from_json(kind, values | {"momentum": 0.9})
    name = next(name for name in values if name not in config.LATER)
    del values[name]
    with pytest.raises(ConfigError, match=f"{name}: expected a value in {kind.__name__}, received"):
        from_json(kind, values)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_added_in_later_versions_may_be_missing(kind):
    values = {name: value for name, value in to_json(kind()).items() if name not in config.LATER}
    assert from_json(kind, values) == kind()


@pytest.mark.parametrize(
    ("network", "later"), [("bi-real-20", "plain"), ("react-20", "plain"), ("gru", "real_state")]
)
def test_networks_that_were_written_before_a_setting_of_theirs_load(network, later):
    made = config.resolve({"network": network})
    parts = made.to_json()
    assert parts["network"].pop(later) is False
    assert config.config_from_json(parts) == made


def test_json_with_nan_is_refused():
    text = json.dumps(to_json(TrainConfig())).replace("0.001", "NaN")
    with pytest.raises(ConfigError, match="lr_start: expected a finite number, received nan"):
        from_json(TrainConfig, json.loads(text))


# ---- modules that are not loaded ----


def modules_after(code):
    """Run `code` in a new interpreter; return the names of the loaded top-level modules, and the output."""
    report = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split()), done.stdout


def test_settings_and_geometry_load_no_deep_learning_library():
    loaded, _ = modules_after("import bnn.settings.config, bnn.geometry")
    assert "bnn" in loaded
    assert loaded.isdisjoint({"keras", "tensorflow", "jax", "torch"})


def test_settings_load_neither_numpy_nor_scipy():
    loaded, _ = modules_after("import bnn.settings.config")
    assert loaded.isdisjoint({"numpy", "scipy"})
