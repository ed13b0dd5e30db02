"""A network with bfloat16 layers, computed in float32."""

import keras
import numpy as np
import pytest

from bnn import models


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return models.build(input_shape=(8, 8, 1), conv=(4,), max_pool=(1,), fc=(6,), precision="bfloat16")


def test_in_float32_gives_the_same_network_in_float32(network):
    copy = models.in_float32(network)
    assert {layer.compute_dtype for layer in copy.layers if layer.weights} == {"float32"}
    for ours, theirs in zip(copy.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    scores = [np.asarray(model(images)).astype(np.float32) for model in (copy, network)]
    np.testing.assert_allclose(*scores, atol=0.05)  # bfloat16 has 8 significant bits


def test_a_float32_network_is_not_copied(network):
    copy = models.in_float32(network)
    assert models.in_float32(copy) is copy is not network
    assert models.without_emulation is models.in_float32  # the older name
