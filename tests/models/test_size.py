"""Sizes of networks, compared with numbers computed by hand and with formulas of the architecture."""

import keras
import numpy as np
import pytest

from bnn.console.errors import ModelError
from bnn.layers import BatchNorm, QuantActivation, QuantConv2D, QuantDense, Sign, Ternary
from bnn.models import build_model, summary
from bnn.settings.config import ModelConfig, settings_for
from tests.support import OTHER_ESTIMATORS, ROOT, assert_refused, call, small_settings


@pytest.fixture(scope="module")
def papers():
    return summary(build_model(settings_for({})[0]))


# The paper's six convolutions: side of the output image, input channels, output channels.
CONVOLUTIONS = [(32, 3, 128), (32, 128, 128), (16, 128, 256), (16, 256, 256), (8, 256, 512), (8, 512, 512)]
DENSE = [(4 * 4 * 512, 1024), (1024, 1024), (1024, 10)]


def test_the_papers_network(papers):
    kernels = sum(9 * n * m for _, n, m in CONVOLUTIONS) + sum(n * m for n, m in DENSE)
    units = sum(m for *_, m in CONVOLUTIONS + DENSE)
    rest = 3 * units + 9  # batch norm: offset, mean and variance per unit, a step counter per layer
    total = papers.total
    assert (kernels, rest, kernels + rest) == (14_022_016, 11_559, 14_033_575)
    assert total.parameters == {1: kernels, 32: rest}
    assert total.bytes == kernels // 8 + 4 * rest == 1_798_988


def test_the_multiplications_of_the_papers_network(papers):
    # Before pooling, the output of a convolution has the size of its input.
    convolutions = [side**2 * 9 * n * m for side, n, m in CONVOLUTIONS]
    dense = [n * m for n, m in DENSE]
    counted = {size.name: size.macs for size in papers.layers if size.macs}
    names = [f"conv_{i}" for i in range(1, 7)] + [f"dense_{i}" for i in range(1, 4)]
    kinds = [(1, 32)] + 8 * [(1, 1)]
    assert counted == {n: {k: m} for n, k, m in zip(names, kinds, convolutions + dense, strict=True)}
    assert papers.total.macs == {(1, 32): 3_538_944, (1, 1): 613_427_200}


def test_the_papers_network_as_text(papers):
    lines = str(papers).splitlines()
    assert lines[0].split() == ["layer", "1-bit", "32-bit", "bytes", "MACs", "1x1", "MACs", "1x32"]
    assert lines[1].split() == ["conv_1", "3,456", "-", "432", "-", "3,538,944"]
    assert lines[2].split() == ["conv_1_norm", "-", "385", "1,540", "-", "-"]
    assert lines[-3].split() == ["total", "14,022,016", "11,559", "1,798,988", "613,427,200", "3,538,944"]
    assert lines[-2] == "1.80 MB; with 32 bits for every parameter 56.13 MB, 31.2 times as much."


@pytest.mark.parametrize(
    ("settings", "parameters", "macs"),
    [
        ({"levels": 3}, {2: 36 + 512 + 80, 32: 3 * 22 + 3}, {(2, 32): 64 * 36, (2, 2): 512 + 80}),
        ({"continuous": True}, {32: 36 + 512 + 80 + 3 * 22 + 3}, {(32, 32): 64 * 36 + 512 + 80}),
        (
            {"first_layer": "real"},
            {32: 36 + 3 * 22 + 3, 1: 512 + 80},
            {(32, 32): 64 * 36, (1, 1): 512 + 80},
        ),
        (
            {"first_layer": "whitening"},
            {32: 81 + 36 + 3 * 22 + 3, 1: 512 + 80},
            {(32, 32): 64 * (81 + 36), (1, 1): 512 + 80},
        ),
        (
            {"last_layer": "real"},
            {32: 80 + 3 * 22 + 3, 1: 36 + 512},
            {(1, 32): 64 * 36, (1, 1): 512, (32, 1): 80},
        ),
        (
            {"first_layer": "rotated"},
            {32: 81 + 3 * 22 + 3, 1: 36 + 512 + 80},
            {(32, 32): 64 * 81, (1, 32): 64 * 36, (1, 1): 512 + 80},
        ),
        *((s, None, None) for s in OTHER_ESTIMATORS.values()),
    ],
    ids=str,
)
def test_the_size_of_each_kind_of_network(settings, parameters, macs):
    """Images of 8 x 8 x 1, a 3 x 3 convolution with 4 channels, pooling, and dense layers of 8 and 10 units."""
    model = build_model(ModelConfig((8, 8, 1), conv=(4,), max_pool=(1,), fc=(8,), **settings))
    total = summary(model).total
    assert total.parameters.total() == model.count_params()
    if parameters is not None:
        assert (total.parameters, total.macs) == (parameters, macs)


def images(*shape):
    return keras.Input(shape)


@pytest.mark.parametrize(
    ("shape", "layer", "macs"),
    [
        ((9, 9, 4), keras.layers.Conv2D(6, 3), 49 * 9 * 4 * 6),
        ((9, 9, 4), keras.layers.Conv2D(6, 3, strides=2, padding="same"), 25 * 9 * 4 * 6),
        ((9, 9, 4), keras.layers.Conv2D(6, 3, groups=2), 49 * 9 * 2 * 6),
        ((9, 9, 4), keras.layers.Conv2D(6, (3, 1), dilation_rate=2), 5 * 9 * 3 * 4 * 6),
        ((9, 4), keras.layers.Conv1D(6, 3, padding="causal"), 9 * 3 * 4 * 6),
        ((5, 5, 5, 2), keras.layers.Conv3D(3, 2), 64 * 8 * 2 * 3),
        ((9, 9, 4), keras.layers.DepthwiseConv2D(3, depth_multiplier=2), 49 * 9 * 4 * 2),
        ((9, 9, 4), keras.layers.SeparableConv2D(6, 3), 49 * (9 * 4 + 4 * 6)),
        ((7,), keras.layers.Dense(5), 35),
        ((3, 7), keras.layers.Dense(5), 3 * 35),
    ],
    ids=lambda v: getattr(v, "name", str(v)),
)
def test_keras_layers_count_as_32_bit(shape, layer, macs):
    inputs = images(*shape)
    model = keras.Model(inputs, layer(inputs))
    sizes = summary(model)
    assert sizes.total.macs == {(32, 32): macs}
    assert sizes.total.parameters == {32: model.count_params()}
    assert sizes.total.bytes == 4 * model.count_params()
    assert sizes.uncounted == []


def test_layers_that_keep_values_pass_on_the_number_of_bits():
    inputs = images(8, 8, 2)
    x = QuantActivation(Ternary(0.1))(inputs)
    x = keras.layers.MaxPooling2D()(x)
    x = QuantConv2D(5, 3, Sign(), name="kept")(x)
    x = QuantActivation(Sign())(BatchNorm()(x))
    x = keras.layers.AveragePooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = QuantDense(3, Ternary(0.1), name="mixed")(x)
    sizes = summary(keras.Model(inputs, x))
    assert sizes.total.macs == {(1, 2): 16 * 9 * 2 * 5, (2, 32): 4 * 5 * 3}
    assert [size.name for size in sizes.layers if size.macs] == ["kept", "mixed"]


def test_sizes_are_rounded_up_to_whole_bytes():
    inputs = images(3)
    assert summary(keras.Model(inputs, QuantDense(3, Sign())(inputs))).total.bytes == 2
    assert summary(keras.Model(inputs, QuantDense(3, Ternary(0.1))(inputs))).total.bytes == 3


def test_nested_models_are_counted():
    inner = keras.Sequential([images(4), QuantDense(3, Sign(), name="deep")], name="inner")
    inputs = images(4)
    twice = keras.layers.Concatenate()([inner(inputs), inner(inputs)])
    sizes = summary(keras.Model(inputs, keras.layers.Dense(2, name="top")(twice)))
    assert [size.name for size in sizes.layers] == ["inner/deep", "top"]
    assert sizes.total.macs == {(1, 32): 2 * 12, (32, 32): 12}


def test_a_shared_layer_counts_at_every_call_within_the_model():
    shared, inputs = QuantDense(4, Sign()), images(4)
    first = shared(inputs)
    shared(keras.layers.Dense(4)(first))  # not a part of the model
    sizes = summary(keras.Model(inputs, shared(QuantActivation(Sign())(first))))
    assert sizes.total.macs == {(1, 32): 16, (1, 1): 16}
    assert sizes.total.parameters == {1: 16}


def test_layers_that_are_not_counted_are_named():
    inputs = images(5, 4)
    x = keras.layers.LSTM(3, name="recurrent")(keras.layers.Dense(4)(inputs))
    sizes = summary(keras.Model(inputs, x))
    assert sizes.uncounted == ["recurrent"]
    assert str(sizes).splitlines()[-1] == "Multiplications not counted: recurrent."


def test_models_that_cannot_be_counted_are_refused():
    class Loose(keras.Model):
        pass

    with pytest.raises(ModelError, match=r"loose: expected a functional or sequential .* received a Loose"):
        summary(Loose(name="loose"))
    with pytest.raises(ModelError, match="sequential model that is built"):
        summary(keras.Sequential([QuantDense(4)]))
    inputs = images(None, None, 3)
    with pytest.raises(ModelError, match=r"open: expected an output of known size, received \(None, None"):
        summary(keras.Model(inputs, QuantConv2D(2, 3, Sign(), name="open")(inputs)))


def test_a_loaded_network_has_the_same_size(tmp_path):
    model = build_model(small_settings()[0])
    model.save(tmp_path / "model.keras")
    assert str(summary(keras.saving.load_model(tmp_path / "model.keras"))) == str(summary(model))


def test_train_prints_the_summary_of_the_network_without_training(papers):
    process = call("train.py", "--summary", cwd=ROOT)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == f"{papers}\n"


def test_a_summary_makes_no_run_directory(tmp_path):
    small = call("train.py", "--summary", "--data_set", "mnist-5k", "--run_dir", tmp_path / "run")
    assert small.returncode == 0
    assert "871,556" not in small.stdout and "-bit" in small.stdout
    assert not (tmp_path / "run").exists()
    assert_refused(call("train.py", "--summary", "--resume", tmp_path / "none"), "expected a run directory")
    assert np.char.count(small.stdout, "conv_") == 8
