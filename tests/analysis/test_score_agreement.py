"""The correlation of scores with and without a layer's quantizer, compared with NumPy and with rebuilt networks."""

import dataclasses
import json
from collections import UserDict

import keras
import numpy as np
import pytest
from keras import layers

from bnn.analysis import report
from bnn.analysis.keras import ablation
from bnn.analysis.keras.scores import score_agreement
from bnn.models import build_model
from bnn.settings.config import ModelConfig
from tests.support import KINDS

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((70, 6)).astype(np.float32)
IMAGES = RNG.standard_normal((60, 8, 8, 3)).astype(np.float32)


def correlation(x, y):
    return np.corrcoef(np.ravel(x), np.ravel(y))[0, 1]


def sign(x):
    return np.where(x >= 0, 1.0, -1.0)


def agreement(model, images, **options):
    return [layer.r_scores for layer in report.analyze(model, images, **options)]


def test_a_dense_network_against_numpy():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="relu"), layers.Dense(4)])
    first, second = (layer.kernel.numpy() for layer in model.layers)
    x, y = ROWS @ sign(first), ROWS @ first
    slope = np.polyfit(x.ravel(), y.ravel(), 1)[0]
    scores = np.maximum(y, 0) @ second
    expected = [
        correlation(scores, np.maximum(slope * x, 0) @ second),
        correlation(scores, np.maximum(y, 0) @ sign(second)),
    ]
    assert agreement(model, ROWS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["binary", "ternary"])
def test_a_quantized_network_against_one_without_that_quantizer(kind):
    """Both in training mode, where our networks use the moments of the batch in batch norm and change nothing else."""
    keras.utils.set_random_seed(0)
    model = build_model(
        ModelConfig(input_shape=(8, 8, 3), conv=(8, 8), max_pool=(0, 1), fc=(16,), **KINDS[kind])
    )
    images = RNG.integers(256, size=(50, 8, 8, 3), dtype=np.uint8)
    found = report.analyze(model, images)
    before = model(images, training=True)
    for layer in found:
        other = ablation.unbinarized(model, [layer.name])
        kernel = other.get_layer(layer.name).kernel
        kernel.assign(kernel * layer.weights.r**2 / layer.weights.slope)  # the slope of quantized on latent
        assert layer.r_scores == pytest.approx(correlation(before, other(images, training=True)), abs=1e-3)
        assert layer.r_scores < 0.999


def test_every_kind_of_kernel_can_be_replaced():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.SeparableConv2D(8, 3),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3),
            keras.Sequential([layers.Conv2D(8, 3, groups=2, activation="relu"), layers.Flatten()]),
            layers.Dense(4),
        ]
    )
    found = agreement(model, IMAGES)
    assert len(found) == 5
    assert all(0 < r < 0.999 for r in found)
    assert agreement(model, IMAGES, quantizer=lambda w: w) == pytest.approx([1] * 5, abs=1e-5)


def test_the_model_is_not_changed():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    weights, scores = [w.copy() for w in model.get_weights()], model(IMAGES).numpy()
    first = agreement(model, IMAGES)
    assert agreement(model, IMAGES) == first  # dropout is not active
    found = report.analyze(model, IMAGES, score_images=0)

    def stopped(steps, **_):
        yield steps[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_agreement(model, IMAGES, found, progress=stopped)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(model(IMAGES).numpy(), scores)
    assert not any("call" in vars(layer) for layer in model.layers)


def test_moving_averages_of_batch_norm_do_not_matter():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    fresh = agreement(model, IMAGES)
    model.layers[1].moving_variance.assign(np.full(4, 1e6))
    assert agreement(model, IMAGES)[0] == pytest.approx(fresh[0], abs=1e-6)


def small_network():
    keras.utils.set_random_seed(0)
    model = build_model(
        ModelConfig(input_shape=(8, 8, 3), conv=(8,), max_pool=(1,), fc=(16,), **KINDS["binary"])
    )
    return model, np.random.default_rng(1).integers(256, size=(61, 8, 8, 3), dtype=np.uint8)


def test_the_batches_do_not_depend_on_batch_size():
    """The reference puts all images into one batch, which is that of batch norm, too."""
    model, images = small_network()
    images = images[:20]
    before = model(images, training=True)
    found = [report.analyze(model, images, batch_size=size) for size in (1, 7, 20)]
    for place, layer in enumerate(found[0]):
        other = ablation.unbinarized(model, [layer.name])
        kernel = other.get_layer(layer.name).kernel
        kernel.assign(kernel * layer.weights.r**2 / layer.weights.slope)
        expected = correlation(before, other(images, training=True))
        assert [row[place].r_scores for row in found] == pytest.approx([expected] * 3, abs=1e-3)
        assert [row[place].r_scores for row in found] == pytest.approx([layer.r_scores] * 3, abs=1e-6)


@pytest.mark.parametrize("number", [2, 51])
def test_no_batch_has_one_image(number):
    model, images = small_network()
    sizes, call = [], model.call
    found = report.analyze(model, images, batch_size=1, score_images=0)
    vars(model)["call"] = lambda x, **options: sizes.append(len(x)) or call(x, **options)
    values = score_agreement(model, images, found, n=number, batch_size=1).values
    del vars(model)["call"]
    assert min(sizes) >= 2 and sum(sizes) == number * (1 + len(found)) and all(-1 <= r < 1 for r in values)


def test_one_image_has_no_moments(tmp_path):
    model, images = small_network()
    for found in (report.analyze(model, images[:1]), report.analyze(model, images[:9], score_images=1)):
        assert np.isnan([layer.r_scores for layer in found]).all()
        assert "not defined: r_scores: batch norm uses the moments of a batch" in found.text()
        assert list(found.undefined) == list(json.loads(found.save(tmp_path).read_text())["undefined"])
    for norm in model.layers:
        norm.trainable = False  # a frozen batch norm does not use the moments of a batch
    found = report.analyze(model, images[:1])
    assert np.isfinite([layer.r_scores for layer in found]).all() and not found.undefined


@dataclasses.dataclass(slots=True)
class Output:
    scores: object
    loss: object = None


class Returning(keras.Model):
    """It returns its scores in some form, with other things."""

    def __init__(self, form):
        super().__init__()
        self.dense, self.form = layers.Dense(3), form

    def call(self, x):
        return self.form(self.dense(x))


ALIKE = {
    "loss": lambda y: (keras.ops.mean(y), y),
    "none": lambda y: [None, y],
    "first axis by chance": lambda y: (y, keras.ops.transpose(y)[:2]),
    "dict": lambda y: {
        "loss": keras.ops.mean(y, keepdims=True),
        "scores": y,
        "class": keras.ops.argmax(y, 1),
    },
    "mapping": lambda y: UserDict(loss=keras.ops.mean(y), scores=y),
    "data class": lambda y: Output(y, keras.ops.mean(y)),
    "constant": lambda y: (y, 0 * y),
    "object": lambda y: (y, object()),
}


@pytest.mark.parametrize("images", [2, 40])
def test_outputs_that_are_no_scores_do_not_count(images):
    values = {}
    for name, form in {"alone": lambda y: y, **ALIKE}.items():
        keras.utils.set_random_seed(0)
        model = Returning(form)
        model(ROWS[:3])
        values[name] = agreement(model, ROWS[:images])[0]
    assert values == pytest.approx(dict.fromkeys(values, values["alone"]), abs=1e-6)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (keras.ops.mean, "no output of the network is an array of numbers"),
        (lambda y: object(), "no output of the network is an array of numbers"),
        (lambda y: 0 * y, "the scores do not vary"),
    ],
)
def test_the_reason_is_given_if_there_are_no_scores(form, reason):
    model = Returning(form)
    model(ROWS[:3])
    found = report.analyze(model, ROWS)
    assert np.isnan(found[0].r_scores) and found.undefined["r_scores"].startswith(reason)


def test_outputs_have_equal_weight_and_are_sampled():
    inputs = keras.Input((6,))
    first, second = layers.Dense(1500, name="many")(inputs), layers.Dense(2, name="few")(inputs)
    found = agreement(keras.Model(inputs, [first, second]), ROWS)
    few = [agreement(keras.Model(inputs, output), ROWS)[0] for output in (first, second)]
    assert found == pytest.approx([(1 + r) / 2 for r in few], abs=1e-6)
    kernel = keras.Model(inputs, first).get_layer("many").kernel.numpy()
    assert few[0] == pytest.approx(correlation(ROWS @ kernel[:, ::2], ROWS @ sign(kernel[:, ::2])), abs=1e-5)


def test_cases_without_an_agreement():
    dense = layers.Dense(3)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5), dense])
    assert agreement(model, ROWS, score_images=0) == [None, None]
    dense.kernel.assign(np.zeros((5, 3)))
    assert np.isnan(agreement(model, ROWS)[0])
    dense.enable_lora(2)
    assert agreement(model, ROWS)[1] is None
    own = build_model(
        ModelConfig(input_shape=(4, 4, 1), conv=(), max_pool=(), fc=(6,), **KINDS["continuous"])
    )
    assert agreement(own, np.zeros((2, 4, 4, 1), np.uint8)) == [1, 1]
