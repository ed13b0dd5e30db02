"""Scores and accuracy of a network, compared with a call of the network on all images at once."""

import keras
import numpy as np
import pytest

from bnn.datasets import Split
from bnn.models import accuracy, build_model, correct, scores
from bnn.settings.config import ModelConfig

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 7, 7, 2), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_model(ModelConfig(input_shape=(7, 7, 2), conv=(4,), max_pool=(1,), fc=(6,)))


@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_scores_equal_those_of_a_call_of_the_model(model, batch_size):
    found = scores(model, IMAGES, batch_size)
    assert (found.shape, found.dtype) == ((23, 10), np.float32)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(model(IMAGES)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, model.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-6)


def test_scores_of_bfloat16_networks_are_float32():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, dtype="bfloat16")])
    assert scores(model, np.ones((4, 6), np.float32)).dtype == np.float32


def test_accuracy_is_the_fraction_of_images_with_the_highest_score_for_their_class(model):
    predicted = keras.ops.convert_to_numpy(model(IMAGES)).argmax(axis=1)
    right = np.arange(23) < 20
    split = Split(IMAGES, np.where(right, predicted, (predicted + 1) % 10))
    np.testing.assert_array_equal(correct(model, split, batch_size=7), right)
    assert accuracy(model, split, batch_size=7) == pytest.approx(20 / 23)
    assert isinstance(accuracy(model, split), float)


def test_progress_receives_every_batch(model):
    calls = []

    def shown(batches, total, unit):
        calls.append((len(list(batches)), total, unit))
        return batches

    scores(model, IMAGES, 5, shown)
    assert calls == [(5, 5, "batch")]
