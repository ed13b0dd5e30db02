"""Replaced gradients of functions of tensors and variables, measured with `pointwise_gradient`."""

import keras
import numpy as np
import pytest
from keras import ops

from bnn.layers import pointwise_gradient, straight_through, with_gradient

X = np.array([-2, -1, -0.5, 0, 0.5, 1, 2], np.float32)


def test_pointwise_gradient_gives_values_and_derivatives():
    values, derivatives = pointwise_gradient(lambda x: x**3, X)
    np.testing.assert_allclose(values, X**3)
    np.testing.assert_allclose(derivatives, 3 * X**2)


def test_with_gradient_replaces_the_gradient():
    values, derivatives = pointwise_gradient(with_gradient(ops.floor, lambda x, upstream: upstream * x), X)
    np.testing.assert_array_equal(values, np.floor(X))
    np.testing.assert_array_equal(derivatives, X)


def test_the_upstream_gradient_is_passed_to_the_replacement():
    floor = with_gradient(ops.floor, lambda x, upstream: 2 * upstream)
    np.testing.assert_allclose(pointwise_gradient(lambda x: floor(x) ** 2, X)[1], 4 * np.floor(X))


def test_straight_through_passes_gradients_between_minus_1_and_1():
    values, derivatives = pointwise_gradient(straight_through(ops.floor), X)
    np.testing.assert_array_equal(values, np.floor(X))
    np.testing.assert_array_equal(derivatives, np.abs(X) <= 1)


@pytest.mark.parametrize("kind", [keras.Variable, ops.convert_to_tensor])
def test_variables_and_tensors_are_accepted(kind):
    floor = with_gradient(ops.floor, lambda x, upstream: upstream)
    np.testing.assert_array_equal(floor(kind(X)), np.floor(X))
