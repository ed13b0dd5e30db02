"""The correlation of scores with and without a layer's quantizer, compared with NumPy and with rebuilt networks."""

import keras
import numpy as np
import pytest
from keras import layers

from bnn.analysis import ablation, report
from bnn.analysis.score_agreement import score_agreement
from bnn.config import ModelConfig
from bnn.models import build_model
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
