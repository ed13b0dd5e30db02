"""A rotation in front of a quantized layer: it is orthogonal, and gives the paper's generalized binarization."""

import keras
import numpy as np
import pytest

from bnn import geometry
from bnn.analysis.core.linear_maps import Convolution
from bnn.layers import QuantConv2D, Rotation, Sign
from tests.layers.layer_runs import normal, run


def built_rotation(size, shape, seed=0):
    keras.utils.set_random_seed(seed)
    layer = Rotation(size)
    layer.build(shape)
    return layer, np.asarray(layer.rotation, np.float64).T  # R, one row per component


@pytest.mark.parametrize(("size", "shape"), [(3, (2, 6, 5, 3)), (2, (2, 4, 4, 1)), (1, (2, 30))])
def test_rotation_is_orthogonal_not_trainable_and_set_by_the_seed(size, shape):
    layer, r = built_rotation(size, shape)
    np.testing.assert_allclose(r @ r.T, np.eye(len(r)), atol=1e-5)
    assert len(r) == layer.compute_output_shape(shape)[-1] == size**2 * shape[-1]
    assert layer.trainable_weights == []
    np.testing.assert_array_equal(built_rotation(size, shape)[1], r)
    assert not np.allclose(built_rotation(size, shape, seed=1)[1], r, atol=0.1)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_rotation_rotates_the_patches_of_a_convolution(size):
    x = normal(2, 5, 4, 3)
    layer, r = built_rotation(size, x.shape)
    places = np.stack(np.unravel_index(np.arange(2 * 20), (2, 20)), axis=1)
    (patches,) = Convolution((size, size), (1, 1), (1, 1), "same").patches(x, places)
    rotated_vectors = np.asarray(layer(x)).reshape(len(places), -1)
    np.testing.assert_allclose(rotated_vectors, patches @ r.T, rtol=1e-4, atol=1e-5)


def test_rotation_of_vectors_keeps_their_lengths_and_angles():
    x = normal(6, 40)
    layer, r = built_rotation(1, x.shape)
    rotated_vectors = np.asarray(layer(x))
    np.testing.assert_allclose(rotated_vectors, x @ r.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rotated_vectors @ rotated_vectors.T, x @ x.T, rtol=1e-4, atol=1e-4)


def test_a_convolution_after_a_rotation_uses_the_generalized_binarization():
    """theta_R(w) = R^T theta(R w) (paper, section 3), forward and backward."""
    x, w = normal(2, 5, 4, 3), normal(27, 8, seed=1)
    rotation, r = built_rotation(3, x.shape)
    behind = QuantConv2D(8, 1, Sign())
    behind.build((2, 5, 4, 27))
    behind.kernel.assign((r @ w).reshape(1, 1, 27, 8))
    binarized = r.T @ geometry.sign(r @ w)
    reference = keras.layers.Conv2D(8, 3, use_bias=False, padding="same")
    reference.build(x.shape)
    reference.kernel.assign(binarized.reshape(3, 3, 3, 8))
    upstream = normal(2, 5, 4, 8, seed=2)
    y, (_, gradient) = run(behind, rotation(x), upstream)
    expected, (_, reference_gradient) = run(reference, x, upstream)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    rotated_vectors = r @ np.reshape(reference_gradient, (27, 8))
    passed = np.where(np.abs(r @ w) <= 1, rotated_vectors, 0)
    np.testing.assert_allclose(np.reshape(gradient, (27, 8)), passed, rtol=1e-3, atol=1e-3)


def test_the_generalized_binarization_restores_the_angle_of_random_vectors():
    """Kernels with most of their length in few components: 37 degrees in a random basis, many more in their own."""
    d, units = 27, 4000
    w = np.exp(-np.arange(d))[:, None] * normal(d, units)
    _, r = built_rotation(3, (1, 5, 5, 3))
    own = geometry.angle(geometry.sign(w), w, axis=0)
    rotated = geometry.angle(r.T @ geometry.sign(r @ w), w, axis=0)
    theory = np.arccos(geometry.expected_cos_sign(d))
    assert np.degrees(own.mean()) > 60
    # A single rotation gives few independent samples, so the mean may differ from the theory's.
    assert np.degrees(rotated.mean()) == pytest.approx(np.degrees(theory), abs=4)
