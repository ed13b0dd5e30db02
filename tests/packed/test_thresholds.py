"""Thresholds agree with batch norm and quantizer, computed by Keras in float32, for every possible integer."""

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops

from bnn.bits import Thresholds
from bnn.layers import BatchNorm, Sign, Ternary
from bnn.packed import floats, thresholds
from bnn.packed.chain import Link
from tests.bits.bit_arithmetic import activations

UNITS = 6
REALS = st.floats(-100, 100, width=32) | st.sampled_from([0.0, -0.0, 1e-30, 3.0, -1e30])
COLUMN = st.lists(REALS, min_size=UNITS, max_size=UNITS)
VARIANCES = st.lists(
    st.floats(0, 1e4, width=32) | st.sampled_from([0.0, 1e-30, 1e30]), min_size=UNITS, max_size=UNITS
)
QUANTIZERS = st.sampled_from([Sign(), Ternary(0.0), Ternary(0.3), Ternary(0.9)])


def norm(kind, **weights):
    layer = kind()
    layer.build((None, UNITS))
    for name, values in weights.items():
        getattr(layer, name).assign(values)
    return layer


def check(link, largest, scale):
    """Compare for every integer from -largest to largest, times the scale."""
    every = np.arange(-largest, largest + 1)[:, None] * np.ones(UNITS, np.int64)
    found = thresholds.search(lambda sums: link.activations(sums * scale), largest, UNITS)
    values = ops.convert_to_tensor((every * scale).astype(np.float32))
    expected = ops.convert_to_numpy(link.quantizer(link.norm(values, training=False)))
    np.testing.assert_array_equal(activations(every, found), expected)


@given(
    COLUMN,
    COLUMN,
    VARIANCES,
    QUANTIZERS,
    st.sampled_from([1, 27, 1000]),
    st.sampled_from([1.0, 1 / 255, 0.0137]),
)
@settings(max_examples=10)
@example([0.0] * 6, [1, 2, 3, -1, -2, 0], [1.0] * 6, Sign(), 27, 1.0)
def test_thresholds_of_our_batch_norm(offset, mean, variance, quantizer, largest, scale):
    layer = norm(BatchNorm, offset=offset, moving_mean=mean, moving_variance=variance)
    check(Link("x", np.zeros((1, UNITS)), norm=layer, quantizer=quantizer), largest, scale)


@given(COLUMN, COLUMN, COLUMN, VARIANCES, QUANTIZERS, st.sampled_from([1, 27, 1000]))
@settings(max_examples=10)
@example([-1.0, 0, 1, -2, 2, -0.5], [0.0] * 6, [1, 2, 3, -1, -2, 0], [1.0] * 6, Ternary(0.3), 27)
def test_thresholds_of_keras_batch_norm_with_positive_and_negative_factors(
    gamma, beta, mean, variance, quantizer, largest
):
    layer = norm(
        keras.layers.BatchNormalization, gamma=gamma, beta=beta, moving_mean=mean, moving_variance=variance
    )
    check(Link("x", np.zeros((1, UNITS)), norm=layer, quantizer=quantizer), largest, 1.0)


@given(COLUMN, COLUMN, QUANTIZERS, st.lists(REALS, min_size=1, max_size=30))
@settings(max_examples=4)
def test_thresholds_of_real_sums(gamma, mean, quantizer, values):
    """The sums of a real first layer, among them the thresholds and their neighbors."""
    layer = norm(keras.layers.BatchNormalization, gamma=gamma, moving_mean=mean)
    link = Link("x", np.zeros((1, UNITS)), norm=layer, quantizer=quantizer)
    found = thresholds.search(lambda n: link.activations(floats.numbered(n)), floats.LARGEST, UNITS)
    beside = [found.at + step for step in (-1, 0, 1)]
    numbers = np.concatenate([*beside, floats.number_of(values)[:, None] * np.ones(UNITS, np.int64)])
    numbers = np.clip(numbers, -floats.LARGEST, floats.LARGEST)
    np.testing.assert_array_equal(activations(numbers, found), link.activations(floats.numbered(numbers)))


def test_functions_that_are_not_monotonic_are_refused():
    for wrong in (lambda x: np.where(np.abs(x) < 5, 1, -1), lambda x: np.where(x > 3, 2, -1), np.zeros_like):
        if wrong is np.zeros_like:  # constant: no error, a ternary activation
            assert isinstance(thresholds.search(wrong, 10, 3), Thresholds)
            continue
        with pytest.raises(ValueError, match="rise or fall"):
            thresholds.search(wrong, 10, 3)


def test_floats_are_numbered_in_their_order():
    values = np.sort(np.random.default_rng(0).standard_normal(1000).astype(np.float32) ** 31)
    values = np.unique(np.append(values, [0, -1e-45, 1e-45, -3e38, 3e38]).astype(np.float32))
    numbers = floats.number_of(values)
    assert (np.diff(numbers.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(floats.numbered(numbers), values)
    assert floats.number_of(np.float32([0.0, -0.0])).tolist() == [0, 0]
    assert floats.numbered(floats.LARGEST) == np.finfo(np.float32).max
