"""A whitening in front of a first layer: what it multiplies has the covariance of white noise, up to epsilon."""

import numpy as np
import pytest

from bnn.layers import Whitening
from bnn.layers.transforms import EPSILON
from tests.layers.layer_runs import normal


def whitened(size, x):
    """Return (the variances along the eigenvectors, the covariance of the outputs)."""
    layer = Whitening(size)
    layer.build(x.shape)
    assert layer.trainable_weights == []
    patches = np.asarray(layer(x)).reshape(-1, layer.matrix.shape[0])  # a new layer has the identity matrix
    layer.adapt(x)
    outputs = np.asarray(layer(x), np.float64).reshape(patches.shape)
    return np.linalg.eigvalsh(np.cov(patches, rowvar=False)), np.cov(outputs, rowvar=False)


def test_vectors_are_whitened_up_to_epsilon():
    x = normal(500, 6) * np.float32([3, 1, 1, 0.3, 0.01, 0]) + 5
    variances, covariance = whitened(1, x)
    expected = variances / (variances + EPSILON * variances.mean())
    np.testing.assert_allclose(covariance, np.diag(expected), atol=1e-3)
    assert expected[-1] > 0.99 > 0.5 > expected[1] > 0.01 > abs(expected[0])


@pytest.mark.parametrize("size", [2, 3])
def test_patches_are_whitened_in_the_order_in_which_the_layer_takes_them(size):
    x = np.cumsum(normal(300, 9, 7, 3), axis=1) + 2  # neighboring pixels are similar
    _, covariance = whitened(size, x.astype(np.float32))
    np.testing.assert_allclose(covariance, np.eye(len(covariance)), atol=0.1)


def test_equal_inputs_give_a_finite_matrix():
    layer = Whitening(2)
    layer.build((None, 3, 3, 1))
    layer.adapt(np.zeros((4, 3, 3, 1), np.float32))
    assert np.isfinite(layer.matrix).all()
