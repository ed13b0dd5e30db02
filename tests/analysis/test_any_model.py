"""Reports of models from outside this package: every layer is found or named, every call counts, values are correct."""

import keras
import numpy as np
import pytest
from keras import layers

from bnn import geometry
from bnn.analysis import ReportError, report
from bnn.console.errors import ConfigError
from bnn.geometry.named_quantizers import named
from bnn.layers import Sign
from bnn.models import build_model
from bnn.settings.config import ModelConfig
from tests.support import KINDS

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((40, 6)).astype(np.float32)
IMAGES = RNG.standard_normal((12, 8, 8, 3)).astype(np.float32)


def names(model, images=IMAGES, **kwargs):
    """(names analyzed, names refused)"""
    found = report.analyze(model, images, **kwargs)
    return [layer.name for layer in found], sorted(found.unanalyzed)


def correlation(x, y):
    return np.corrcoef(np.ravel(x), np.ravel(y))[0, 1]


def sign(x):
    return np.where(x >= 0, 1.0, -1.0)


# what is measured


def test_a_dense_network_is_measured_as_numpy_does():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="relu", bias_initializer="ones"),
            layers.Dense(4),
        ]
    )
    first, second = (layer.numpy() for layer in (model.layers[0].kernel, model.layers[1].kernel))
    hidden = np.maximum(ROWS @ first + 1, 0)
    for layer, a, w in zip(report.analyze(model, ROWS), (ROWS, hidden), (first, second), strict=True):
        row = layer.statistics()
        x, y = a @ sign(w), a @ w
        assert (row["d"], row["units"]) == w.shape
        assert row["r_weights"] == pytest.approx(correlation(x, y), abs=1e-5)
        assert row["slope"] == pytest.approx(np.polyfit(x.ravel(), y.ravel(), 1)[0], rel=1e-4)
        assert row["sign_flips"] == pytest.approx(np.mean(x * y < 0), abs=2 / x.size)
        cosines = np.sum(np.abs(w), axis=0) / np.sqrt(len(w) * np.sum(w**2, axis=0))
        assert row["angle_mean_deg"] == pytest.approx(np.degrees(np.arccos(cosines)).mean(), abs=1e-4)
        assert row["r_activations"] is None


@pytest.mark.parametrize(
    ("quantizer", "reference"),
    [
        ("sign", sign),
        ("ternary:0.2", lambda w: np.sign(w) * (np.abs(w) > 0.2)),
        ("ternary", lambda w: np.sign(w) * (np.abs(w) > 0.612 * w.std())),
        (lambda w: np.round(4 * w), lambda w: np.round(4 * w)),
        (Sign(), sign),
    ],
)
def test_the_quantizer_can_be_chosen(quantizer, reference):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    (layer,) = report.analyze(model, ROWS, quantizer=quantizer)
    w = model.layers[0].kernel.numpy()
    np.testing.assert_array_equal(layer.kernels.quantized, reference(w))
    assert layer.weights.r == pytest.approx(correlation(ROWS @ reference(w), ROWS @ w), abs=1e-5)
    assert np.isnan(layer.theory_angle()) == callable(quantizer)


def test_more_levels_give_a_larger_r():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(6, 3)])
    rows = [report.analyze(model, IMAGES, quantizer=f"lloyd-max:{k}")[0].statistics() for k in (2, 4, 16)]
    for key, order in (
        ("r_weights", 1),
        ("angle_mean_deg", -1),
        ("angle_theory_deg", -1),
        ("sign_flips", -1),
    ):
        values = [order * row[key] for row in rows]
        assert values == sorted(values) and values[0] < values[2]


def test_activations_are_standardized_and_then_quantized():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    inputs = 3 * ROWS + [5, -5, 0, 0, 1, 2]
    inputs[:, 3] = 7  # a constant channel
    (layer,) = report.analyze(model, inputs, activations="sign", batch_size=7)
    a = inputs.astype(np.float32)
    real = (a - a.mean(0)) / np.where(a.std(0) > 1e-3, a.std(0), 1)
    w = sign(model.layers[0].kernel.numpy())
    expected = correlation(sign(np.round(real, 5)) @ w, real @ w)
    assert layer.statistics()["r_activations"] == pytest.approx(expected, abs=1e-4)
    assert layer.activations.count == 40 * 5


@pytest.mark.parametrize("name", ["ternary", "ternary:0.3", "lloyd-max:4"])
def test_activations_do_not_depend_on_the_batch(name):
    """The unit of a threshold is the deviation over all images, which here have different contrasts."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    inputs = ROWS * np.geomspace(0.1, 10, len(ROWS))[:, None]
    found = [
        report.analyze(model, inputs, activations=name, batch_size=size)[0].r_activations
        for size in (1, 7, 40)
    ]
    assert found == pytest.approx(found[:1] * 3, abs=1e-6)
    a = inputs.astype(np.float32)
    real = (a - a.mean(0)) / a.std(0)
    w = sign(model.layers[0].kernel.numpy())
    assert found[0] == pytest.approx(correlation(named(name)(real) @ w, real @ w), abs=1e-4)


def test_images_may_be_in_bfloat16():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    rounded = ROWS.astype("bfloat16")
    found, expected = (report.analyze(model, x)[0] for x in (rounded, rounded.astype(np.float32)))
    assert found.r_weights == pytest.approx(expected.r_weights, abs=1e-6)


def test_large_products_are_measured():
    kernel = np.random.default_rng(1).standard_normal((6, 5))
    large, usual = (report.from_arrays(kernel, scale * ROWS) for scale in (1e19, 1))
    assert (large.r_weights, large.gain) == pytest.approx((usual.r_weights, usual.gain), rel=1e-4)


def test_arrays_without_a_quantizer_get_the_sign():
    kernel = np.random.default_rng(1).standard_normal((6, 5))
    found = [report.from_arrays(kernel, ROWS, quantizer=name).r_weights for name in (None, "sign")]
    assert found[0] == found[1]


def test_quantized_networks_keep_their_activation_quantizers():
    config = ModelConfig(input_shape=(7, 7, 2), conv=(4,), max_pool=(0,), fc=())
    model, images = build_model(config), RNG.integers(0, 256, (6, 7, 7, 2), dtype=np.uint8)
    first, second = (report.analyze(model, images, activations=a) for a in (None, "sign"))
    assert first[1].activations.r == second[1].activations.r
    assert first[0].activations.count == 0 and second[0].activations.count > 0


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), (9, 8)),
        (lambda: layers.Conv2D(6, (3, 2), groups=2, strides=2), (12, 6)),
        (lambda: layers.Conv1D(6, 3, dilation_rate=2, padding="causal"), (12, 6)),
        (lambda: layers.DepthwiseConv1D(3), (3, 4)),
    ],
)
def test_each_group_multiplies_its_own_channels(layer, size):
    """The reference is the layer itself, with the quantized kernel and without a bias."""
    layer = layer()
    model = keras.Sequential([keras.Input((8, 4) if "1D" in type(layer).__name__ else (8, 8, 4)), layer])
    images = RNG.standard_normal((10, *model.input_shape[1:])).astype(np.float32)
    (found,) = report.analyze(model, images)
    assert found.kernels.quantized.shape == size
    kernel, real = layer.kernel.numpy(), keras.ops.convert_to_numpy(model(images))
    layer.kernel.assign(sign(kernel))
    binary = keras.ops.convert_to_numpy(model(images))
    assert found.weights.count == real.size
    assert found.weights.r == pytest.approx(correlation(binary, real), abs=1e-4)
    assert 0.2 < found.permuted.r < 1


def test_the_second_half_of_a_separable_layer_multiplies_the_output_of_the_first():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.SeparableConv2D(5, 3, data_format="channels_last")]
    )
    found = report.analyze(model, IMAGES)
    assert [layer.name.split("/")[1] for layer in found] == ["depthwise", "pointwise"]
    real = keras.ops.convert_to_numpy(model(IMAGES))
    kernel = model.layers[0].pointwise_kernel
    kernel.assign(sign(kernel.numpy()))
    binary = keras.ops.convert_to_numpy(model(IMAGES))
    assert found[1].weights.r == pytest.approx(correlation(binary, real), abs=1e-4)


# where layers are found


def test_every_call_of_a_shared_layer_counts():
    shared = layers.Conv2D(4, 3, name="shared")
    inputs = keras.Input((8, 8, 3))
    small = layers.AveragePooling2D(2, name="pool")(inputs)
    heads = [layers.GlobalMaxPooling2D()(shared(x)) for x in (inputs, small)]
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.Concatenate()(heads)))
    found = report.analyze(model, IMAGES, batch_size=5)
    assert [layer.name for layer in found] == ["shared", "head"]
    assert found[0].weights.count == 12 * (36 + 4) * 4
    pooled = keras.ops.convert_to_numpy(model.get_layer("pool")(IMAGES))
    kernel = shared.kernel.numpy()
    pairs = []
    for w in (sign(kernel), kernel):
        pairs.append(
            np.concatenate(
                [np.ravel(keras.ops.conv(x, w.astype(np.float32), padding="valid")) for x in (IMAGES, pooled)]
            )
        )
    assert found[0].weights.r == pytest.approx(correlation(*pairs), abs=1e-4)


def nested():
    backbone = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv")], name="backbone")
    inner = keras.Input((6, 6, 4))
    block = keras.Model(inner, layers.Add()([inner, layers.Conv2D(4, 1, name="conv")(inner)]), name="block")
    inputs = keras.Input((8, 8, 3))
    x = layers.Flatten()(block(block(backbone(inputs))))
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


def test_nested_models_are_analyzed_under_path_names():
    found = report.analyze(nested(), IMAGES)
    assert [layer.name for layer in found] == ["backbone/conv", "block/conv", "head"]
    assert found[1].weights.count == 2 * 12 * 36 * 4
    assert found.unanalyzed == {}


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.first, self.second = layers.Dense(5, name="first"), layers.Dense(5, name="second")
        self.unused = layers.Dense(3, name="unused")

    def call(self, inputs):
        return self.second(self.first(inputs)) if keras.ops.shape(inputs)[1] else inputs


def test_subclassed_models_are_analyzed():
    model = Subclassed()
    model.unused.build((None, 5))
    model(ROWS[:2])
    found = report.analyze(model, ROWS)
    assert [layer.name for layer in found] == ["first", "second"]
    assert found.unanalyzed == {"unused": "the model does not call it"}


def test_a_layer_over_time_counts_every_step():
    model = keras.Sequential(
        [keras.Input((4, 6)), layers.TimeDistributed(layers.Dense(3, name="d"), name="t")]
    )
    (layer,) = report.analyze(model, RNG.standard_normal((10, 4, 6)).astype(np.float32))
    assert (layer.name, layer.weights.count) == ("t/d", 10 * 4 * 3)


def test_images_folded_into_the_first_axis_stay_separate():
    inputs = keras.Input((4, 6))
    model = keras.Model(inputs, layers.Dense(3)(keras.ops.reshape(inputs, (-1, 6))))
    (layer,) = report.analyze(model, ROWS.reshape(10, 4, 6), batch_size=3)
    assert layer.weights.count == 10 * 4 * 3
    np.testing.assert_array_equal(layer.patches, ROWS)


def test_several_inputs_may_be_a_list_or_a_dict():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    shared = layers.Dense(3, name="dense")
    model = keras.Model({"a": a, "b": b}, shared(a) + shared(b))
    (layer,) = report.analyze(model, {"a": ROWS, "b": 2 * ROWS})
    listed = keras.Model([a, b], model.output)
    (other,) = report.analyze(listed, [ROWS, 2 * ROWS])
    assert layer.weights.count == 240 and layer.weights.r == other.weights.r


def test_mixed_precision_is_measured_in_float32():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, dtype="mixed_bfloat16")])
    (layer,) = report.analyze(model, ROWS)
    rounded = keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(ROWS, "bfloat16"), "float32"))
    w = model.layers[0].kernel.numpy()
    assert layer.weights.r == pytest.approx(correlation(rounded @ sign(w), rounded @ w), abs=1e-6)


def test_channels_first_equals_channels_last():
    results = []
    for form in ("channels_last", "channels_first"):
        shape = (8, 8, 3) if form == "channels_last" else (3, 8, 8)
        model = keras.Sequential([keras.Input(shape), layers.Conv2D(4, 3, data_format=form)])
        model.layers[0].kernel.assign(np.random.default_rng(1).standard_normal((3, 3, 3, 4)))
        images = IMAGES if form == "channels_last" else np.moveaxis(IMAGES, -1, 1)
        results.append(report.analyze(model, images, seed=1)[0].statistics())
    for key in set(results[0]) - {"layer", "r_activations", "cost", "cost_error"}:
        assert results[0][key] == pytest.approx(results[1][key], rel=1e-4, nan_ok=True), key


def test_a_given_quantizer_applies_to_a_continuous_network():
    config = ModelConfig(input_shape=(7, 7, 2), conv=(4,), max_pool=(0,), fc=(), **KINDS["continuous"])
    model, images = build_model(config), RNG.integers(0, 256, (6, 7, 7, 2), dtype=np.uint8)
    assert [layer.angles.max() for layer in report.analyze(model, images)] == pytest.approx([0, 0], abs=1e-6)
    for layer in report.analyze(model, images, quantizer="sign"):
        kernel = layer.kernels.latent
        np.testing.assert_array_equal(layer.kernels.quantized, sign(kernel))
        np.testing.assert_allclose(layer.angles, geometry.angle(sign(kernel), kernel, axis=0))


def test_images_are_read_batch_by_batch():
    class Counted:
        shape, largest = IMAGES.shape, 0

        def __len__(self):
            return 12

        def __getitem__(self, rows):
            part = IMAGES[rows]
            self.largest = max(self.largest, len(part))
            return part

    images = Counted()
    report.analyze(nested(), images, batch_size=4, activations="sign")
    assert images.largest == 4


# what is refused


def test_layers_that_cannot_be_analyzed_are_named_with_the_reason():
    class Own(layers.Dense):
        def call(self, inputs):
            return keras.ops.matmul(inputs, self.kernel**2)

    class Custom(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 3))

        def call(self, inputs):
            return keras.ops.matmul(inputs, self.w)

    inputs = keras.Input((4, 6))
    x = layers.EinsumDense("abc,c->abc", (None, 6), name="einsum")(inputs)
    x = layers.RNN([layers.LSTMCell(5), layers.LSTMCell(5)], return_sequences=True, name="rnn")(x)
    x = layers.Conv1D(4, 2, name="conv")(x)
    model = keras.Model(inputs, Custom(name="custom")(Own(3, name="own")(x)))
    images = ROWS[:40].reshape(10, 4, 6)
    found = report.analyze(model, images)
    assert [layer.name for layer in found] == ["conv"]
    assert found.unanalyzed == {
        "einsum": "its equation contracts no axis of the kernel",
        "rnn": "its cell, a StackedRNNCells, is none of Keras's SimpleRNNCell, LSTMCell and GRUCell",
        "own": "Own has a call of its own, which may not multiply by the kernel",
        "custom": "a Custom is none of the layers that are analyzed; it holds w",
    }


def test_compiled_functions_and_other_batch_sizes_are_reported():
    class Compiled(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = layers.Dense(3, name="inner")

        def build(self, shape):
            self.inner.build(shape)

        def call(self, inputs):
            import tensorflow as tf

            return tf.function(self.inner)(inputs)

    inputs = keras.Input((6,))
    model = keras.Model(inputs, [layers.Dense(2, name="plain")(inputs), Compiled(name="compiled")(inputs)])
    found = report.analyze(model, ROWS)
    assert [layer.name for layer in found] == ["plain"]
    assert "compiled function" in found.unanalyzed["compiled/inner"]

    class First(layers.Layer):
        def call(self, inputs):
            return inputs[:3]

    model = keras.Model(
        inputs, [layers.Dense(2, name="plain")(inputs), layers.Dense(2, name="few")(First()(inputs))]
    )
    found = report.analyze(model, ROWS)
    assert found.unanalyzed == {"few": "40 images become 3 inputs, which cannot be matched to the images"}


def test_layers_that_keras_has_quantized_are_named():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="a"), layers.Dense(4, name="b")])
    model.layers[0].quantize("int8")
    found = report.analyze(model, ROWS)
    assert [layer.name for layer in found] == ["b"]
    assert found.unanalyzed == {"a": "Keras has quantized it to int8: its real weights are gone"}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: keras.Sequential([keras.Input((6,)), layers.ReLU()]), "received none with a kernel"),
        (
            lambda: keras.Sequential(
                [keras.Input((6,)), layers.Reshape((1, 6)), layers.RNN([layers.LSTMCell(2)], name="l")]
            ),
            r"received l \(its cell, a StackedRNNCells",
        ),
    ],
)
def test_models_without_anything_to_analyze_are_refused(model, message):
    with pytest.raises(ReportError, match=f"expected a layer with a kernel that can be analyzed, {message}"):
        report.analyze(model(), ROWS)


def test_non_finite_weights_are_refused():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, name="a"), layers.BatchNormalization(name="b")]
    )
    model.layers[1].moving_mean.assign([0, np.nan, 0, 0])
    with pytest.raises(ReportError, match="b/moving_mean: expected finite weights, received nan"):
        report.analyze(model, ROWS)


def test_quantizers_are_checked():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4)])
    with pytest.raises(ConfigError, match="received 'binary'"):
        report.analyze(model, ROWS, quantizer="binary")
    with pytest.raises(ConfigError, match=r"expected to get shape \(6, 4\) back, received \(6,\)"):
        report.analyze(model, ROWS, quantizer=lambda w: w.mean(axis=1))
    own = build_model(ModelConfig(input_shape=(6, 1, 1), conv=(), max_pool=(), fc=()))
    with pytest.raises(ReportError, match="expected kernels without a quantizer of their own"):
        report.analyze(own, np.zeros((2, 6, 1, 1), np.uint8), quantizer="sign")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[:, :4], r"expected shape \(n, 8, 8, 3\) with n >= 1, received \(12, 4, 8, 3\)"),
        (IMAGES[0], r"received \(8, 8, 3\)"),
        (IMAGES[:0], r"received \(0, 8, 8, 3\)"),
        (IMAGES * np.nan, "expected finite values, received nan"),
        (IMAGES.astype(str), "expected numbers, received <U"),
        ([IMAGES, IMAGES], "expected an array for each of 1 inputs, received 2"),
        (np.float32(1), r"received \(\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, message):
    with pytest.raises(ReportError, match=f"images: .*{message}"):
        report.analyze(nested(), images)


class Failing(layers.Layer):
    def compute_output_shape(self, shape):
        return shape

    def call(self, inputs):
        if not isinstance(inputs, keras.KerasTensor):
            raise RuntimeError("on purpose")
        return inputs


def test_the_model_is_not_changed():
    model = nested()
    before = [weight.numpy() for weight in model.weights]

    def broken(w):
        raise ZeroDivisionError

    report.analyze(model, IMAGES)
    with pytest.raises(RuntimeError, match="on purpose"):
        report.analyze(keras.Sequential([model, Failing()]), IMAGES)
    with pytest.raises(ZeroDivisionError):
        report.analyze(model, IMAGES, quantizer=broken)
    every = [layer for part in (model, *model.layers) for layer in getattr(part, "layers", ())]
    assert len(every) > 6 and not any("call" in vars(layer) for layer in every)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))


# arrays


def test_arrays_give_the_same_result_as_the_model():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="kernel")])
    row = report.analyze(model, ROWS, batch_size=40)[0].statistics()
    other = report.from_arrays(model.layers[0].kernel.numpy(), ROWS).statistics()
    assert (other["layer"], other["r_activations"], other["r_scores"]) == ("kernel", None, None)
    assert row["residual_rest_gain"] is other["residual_rest_gain"] is None  # one weight per channel
    skipped = {"layer", "r_activations", "r_scores", "cost", "cost_error"}
    skipped |= {"r_permuted", "r_rotated", "residual_rest_gain"}
    for key in set(row) - skipped:
        assert other[key] == pytest.approx(row[key], rel=1e-5), key


def test_values_before_the_quantizer_give_the_activation_statistics():
    w = RNG.standard_normal((6, 5))
    layer = report.from_arrays(w, sign(ROWS), before=ROWS)
    assert layer.activations.r == pytest.approx(correlation(sign(ROWS) @ sign(w), ROWS @ sign(w)), abs=1e-6)
    with pytest.raises(ReportError, match="before: expected 40 rows, as inputs has, received 39"):
        report.from_arrays(w, ROWS, before=ROWS[1:])


@pytest.mark.parametrize(
    ("kernel", "inputs", "message"),
    [
        (np.ones(6), ROWS, r"kernel: expected shape \(d, units\), received \(6,\)"),
        (np.ones((6, 0)), ROWS, r"kernel: expected shape \(d, units\), received \(6, 0\)"),
        (np.ones((5, 2)), ROWS, r"inputs: expected shape \(n, 5\), received \(40, 6\)"),
        (np.full((6, 2), np.inf), ROWS, "kernel: expected finite values, received inf"),
        (np.ones((6, 2)), ROWS * np.nan, "inputs: expected finite values, received nan"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(kernel, inputs, message):
    with pytest.raises(ReportError, match=message):
        report.from_arrays(kernel, inputs)
