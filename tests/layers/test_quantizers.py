"""Quantizers against NumPy: values, and gradients at zero, at the clip edges and at the threshold."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bnn import geometry
from bnn.layers import quantizers

THRESHOLD = 0.25  # exact in bfloat16 too
DTYPES = pytest.mark.parametrize(
    "dtype", [np.float32, tf.bfloat16.as_numpy_dtype], ids=["float32", "bfloat16"]
)
QUANTIZERS = pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (quantizers.Sign(), geometry.sign),
        (quantizers.Ternary(THRESHOLD), lambda x: geometry.ternary(x, THRESHOLD)),
        (quantizers.Ternary(0.0), lambda x: geometry.ternary(x, 0.0)),
    ],
    ids=["sign", "ternary", "ternary at 0"],
)
# Without subnormal numbers: TensorFlow takes them for zero.
VALUES = arrays(
    np.float32, array_shapes(max_side=8), elements=st.floats(-2, 2, width=32, allow_subnormal=False)
)


def edges(dtype):
    """Zeros, clip edges and thresholds of both signs, with their neighbours in the dtype, and far values."""
    tiny = np.finfo(np.float32).tiny  # the next to zero, for TensorFlow takes subnormal numbers for zero
    exact = np.array([THRESHOLD, 1.0], dtype)
    around = [np.nextafter(exact, dtype(0)), exact, np.nextafter(exact, dtype(2))]
    positive = np.concatenate([*around, np.array([0, tiny, 0.5, 3, 1e38, np.inf], dtype)])
    return np.concatenate([positive, -positive])


def forward_and_gradient(quantizer, x, upstream):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = quantizer(x)
    return y, tape.gradient(y, x, output_gradients=tf.constant(upstream))


def test_the_edges_hold_what_they_should():
    for dtype in (np.float32, tf.bfloat16.as_numpy_dtype):
        x = edges(dtype)
        assert {0.0, 1.0, -1.0, THRESHOLD, -THRESHOLD} <= set(x.astype(float))
        assert np.signbit(x[x == 0]).any() and not np.signbit(x[x == 0]).all()
        assert ((x > 1) & (x < 1.01)).any() and ((x > THRESHOLD) & (x < THRESHOLD + 0.01)).any()


@DTYPES
@QUANTIZERS
def test_quantizers_at_the_edges(ours, reference, dtype):
    x = edges(dtype)
    upstream = np.linspace(-3, 5, len(x)).astype(dtype)
    y, gradient = forward_and_gradient(ours, x, upstream)
    assert y.dtype == gradient.dtype == x.dtype
    np.testing.assert_array_equal(y, reference(x.astype(np.float32)).astype(dtype))
    np.testing.assert_array_equal(gradient, np.where(np.abs(x) <= 1, upstream, dtype(0)))


@QUANTIZERS
def test_quantizers_in_a_graph_and_of_a_variable(ours, reference):
    x = edges(np.float32)
    variable = keras.Variable(x)

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            y = ours(variable)
        return y, tape.gradient(y, variable.value)

    y, gradient = run()
    np.testing.assert_array_equal(y, reference(x))
    np.testing.assert_array_equal(gradient, np.abs(x) <= 1)


def test_zero_has_a_sign_in_a_binary_network_only():
    zeros = np.array([0.0, -0.0], np.float32)
    np.testing.assert_array_equal(quantizers.sign(tf.constant(zeros)), [1, 1])
    np.testing.assert_array_equal(geometry.sign(zeros), [1, 1])
    np.testing.assert_array_equal(quantizers.ternary(tf.constant(zeros), 0.0), [0, 0])


@QUANTIZERS
@given(x=VALUES)
def test_quantizers_are_numpys_idempotent_and_odd(ours, reference, x):
    y = np.asarray(ours(tf.constant(x)))
    np.testing.assert_array_equal(y, reference(x))
    assert set(np.unique(y)) <= ({-1, 1} if ours.levels == 2 else {-1, 0, 1})
    np.testing.assert_array_equal(ours(tf.constant(y)), y)
    np.testing.assert_array_equal(np.asarray(ours(tf.constant(-x)))[x != 0], -y[x != 0])


@given(x=VALUES, threshold=st.floats(0, 1, exclude_max=True, width=32))
def test_ternary_zeroes_up_to_the_threshold(x, threshold):
    y = np.asarray(quantizers.ternary(tf.constant(x), threshold))
    np.testing.assert_array_equal(y == 0, np.abs(x) <= threshold)
    np.testing.assert_array_equal(y, geometry.ternary(x, threshold))


@pytest.mark.parametrize("quantizer", [quantizers.Sign(), quantizers.Ternary(0.02)])
def test_quantizers_are_saved_by_their_arguments(quantizer):
    again = quantizers.get(keras.saving.serialize_keras_object(quantizer))
    assert type(again) is type(quantizer)
    assert (again.levels, again.threshold) == (quantizer.levels, quantizer.threshold)
    assert again.get_config() == quantizer.get_config()


def test_get_takes_none_and_callables():
    assert quantizers.get(None) is None
    assert quantizers.get(quantizers.ste_sign) is quantizers.ste_sign
    with pytest.raises(ValueError, match="quantizer: expected None or a callable, received 'sign'"):
        quantizers.get("sign")


@pytest.mark.parametrize("threshold", [-0.1, 1, 1.5, np.inf, np.nan])
def test_thresholds_outside_0_to_1_are_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold: expected a value in \[0, 1\), received"):
        quantizers.Ternary(threshold)
