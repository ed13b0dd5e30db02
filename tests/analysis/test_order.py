"""No statistic depends on the order of the images: sorted by class, interleaved or shuffled."""

import keras
import numpy as np
import pytest

from bnn import datasets
from bnn.analysis import analyze
from bnn.models import build_model
from bnn.settings.config import ModelConfig

EXACT = 1e-5  # rounding: sums in a different order
# Tolerances of statistics of random samples, at least four standard errors. No other statistic depends on a sample.
SAMPLED = {"r_permuted": 0.03, "r_rotated": 0.03, "r_scores": 0.12}
ORDERS = {
    "sorted": lambda labels: np.argsort(labels, kind="stable"),
    "interleaved": lambda labels: np.lexsort((labels, rank_in_class(labels))),
    "shuffled": lambda labels: np.random.default_rng(0).permutation(len(labels)),
}


def rank_in_class(labels):
    """For each label, the number of earlier labels of the same class."""
    return np.array([np.sum(labels[:i] == label) for i, label in enumerate(labels)])


@pytest.fixture(scope="module")
def digits():
    """(small network, test images of mnist-5k, their labels)"""
    split = datasets.load("mnist-5k").test
    keras.utils.set_random_seed(0)
    config = ModelConfig(input_shape=(28, 28, 1), conv=(8, 8), max_pool=(1, 1), fc=(16,))
    return build_model(config), split.images, split.labels


@pytest.fixture(scope="module")
def unlike():
    """A network that depends strongly on the class: for half of the inputs, latent weights equal their signs."""
    rng, labels = np.random.default_rng(1), np.repeat(np.arange(8), 50)
    images = rng.standard_normal((400, 64)).astype(np.float32) * (np.arange(64) // 8 == labels[:, None])
    kernel = rng.choice([-1.0, 1.0], (64, 32))
    kernel[32:] *= rng.lognormal(0, 1.5, (32, 32))
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(8, name="second"),
        ]
    )
    model.layers[0].kernel.assign(kernel)
    return model, images, labels


@pytest.fixture(scope="module", params=["digits", "unlike"])
def case(request):
    """(network, images, labels, report of all images)"""
    model, images, labels = request.getfixturevalue(request.param)
    return model, images, labels, analyze(model, images, score_images=len(images))


@pytest.mark.parametrize("order", ORDERS)
def test_every_statistic_is_that_of_all_images(case, order):
    model, images, labels, expected = case
    found = analyze(model, images[ORDERS[order](labels)])
    for row, reference in zip(found.rows(), expected.rows(), strict=True):
        assert (row["r_activations"] is None) == (reference["r_activations"] is None)
        for key in [key for key in row if key != "layer" and row[key] is not None]:
            tolerance = SAMPLED.get(key, EXACT)
            assert row[key] == pytest.approx(reference[key], rel=tolerance, abs=tolerance), (
                row["layer"],
                key,
            )
