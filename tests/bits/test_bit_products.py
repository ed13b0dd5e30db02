"""Products of bits equal plain integer arithmetic, with and without numba."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnn import bits
from tests.bits.bit_arithmetic import ENGINES, activations, convolution, draw, draw_thresholds, pooled, using

LEVELS = st.booleans()  # True means ternary
CHANNELS = st.sampled_from([1, 2, 3, 31, 63, 64, 65, 100, 128, 130])
UNITS = st.sampled_from([1, 5, 33, 64, 70, 128])
IMAGES = st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(1, 9))
WINDOWS = st.tuples(st.integers(1, 5), st.integers(1, 5))
SEEDS = st.integers(0, 2**32 - 1)

each_engine = pytest.mark.parametrize("engine", ENGINES)


def check(product, expected, rng, ternary, **options):
    """Check the sums of a product, and its bits."""
    sums = product(**options)
    assert sums.dtype == np.int32
    np.testing.assert_array_equal(sums, expected)
    thresholds = draw_thresholds(rng, expected, ternary)
    out = product(thresholds=thresholds, **options)
    np.testing.assert_array_equal(bits.unpack(out), activations(expected, thresholds))
    assert out.ternary == ternary
    # The bits after the last channel are 0, as in all packed values.
    np.testing.assert_array_equal(out.planes, bits.pack(bits.unpack(out), ternary).planes)
    np.testing.assert_array_equal(out.planes, bits.binarize(sums, thresholds).planes)


@each_engine
@given(SEEDS, IMAGES, CHANNELS, UNITS, WINDOWS, LEVELS, LEVELS, LEVELS)
@settings(max_examples=80)
@example(0, (2, 8, 8), 128, 64, (3, 3), False, False, False)
@example(0, (1, 1, 1), 1, 1, (5, 4), True, True, True)
@example(0, (0, 3, 3), 3, 5, (3, 3), True, False, True)
def test_convolution(engine, seed, images, channels, units, window, x3, w3, out3):
    rng = np.random.default_rng(seed)
    x, kernel = draw(rng, (*images, channels), x3), draw(rng, (*window, channels, units), w3)
    expected = convolution(x, kernel)
    with using(engine):
        packed = bits.pack(x, x3)
        weights = bits.convolution_kernel(bits.pack(kernel.swapaxes(2, 3), w3))
        for pool in (False, True):
            check(
                lambda **options: bits.convolve(packed, weights, **options),
                pooled(expected) if pool else expected,
                rng,
                out3,
                pool=pool,
            )


@each_engine
@given(SEEDS, IMAGES, st.sampled_from([1, 3, 4, 30]), UNITS, WINDOWS, LEVELS, LEVELS, st.booleans())
@settings(max_examples=60)
@example(0, (1, 5, 5), 30, 5, (5, 5), False, True, True)  # more products than fit into an int16 sum
def test_convolution_of_integers(engine, seed, images, channels, units, window, w3, out3, signed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-255 if signed else 0, 256, (*images, channels), np.int16)
    x[rng.random(x.shape) < 0.5] = 255
    x = x if signed else x.astype(np.uint8)
    kernel = draw(rng, (*window, channels, units), w3)
    expected = convolution(x, kernel)
    with using(engine):
        weights = bits.convolution_kernel(bits.pack(kernel.swapaxes(2, 3), w3))
        for pool in (False, True):
            check(
                lambda **options: bits.convolve_integers(x, weights, **options),
                pooled(expected) if pool else expected,
                rng,
                out3,
                pool=pool,
            )


@each_engine
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_of_integers_are_exact(engine, sign):
    x = np.full((1, 3, 3, 200), 255, np.uint8)
    kernel = bits.convolution_kernel(bits.pack(np.full((3, 3, 2, 200), sign)))
    with using(engine):
        assert bits.convolve_integers(x, kernel)[0, 1, 1].tolist() == [sign * 9 * 200 * 255] * 2
        assert bits.convolve_integers(-x.astype(np.int16), kernel)[0, 1, 1, 0] == -sign * 9 * 200 * 255


@each_engine
@given(
    SEEDS,
    st.integers(0, 70),
    st.sampled_from([(1,), (64,), (500,), (3, 2, 5), (2, 65)]),
    UNITS,
    LEVELS,
    LEVELS,
    LEVELS,
)
@settings(max_examples=60)
@example(0, 0, (5,), 3, True, True, True)
def test_dense(engine, seed, n, axes, units, x3, w3, out3):
    rng = np.random.default_rng(seed)
    x, kernel = draw(rng, (n, *axes), x3), draw(rng, (units, *axes), w3)
    with using(engine):
        packed, weights = bits.pack(x, x3), bits.dense_kernel(bits.pack(kernel, w3))
        check(
            lambda **options: bits.dense(packed, weights, **options),
            x.reshape(n, np.prod(axes)) @ kernel.reshape(units, -1).T,
            rng,
            out3,
        )


@each_engine
@given(SEEDS, st.integers(0, 70), st.sampled_from([1, 64, 784]), UNITS, LEVELS, LEVELS)
@settings(max_examples=20)
def test_dense_of_integers(engine, seed, n, channels, units, w3, out3):
    rng = np.random.default_rng(seed)
    rows, kernel = rng.integers(0, 256, (n, channels), np.uint8), draw(rng, (units, channels), w3)
    with using(engine):
        weights = bits.dense_kernel(bits.pack(kernel, w3))
        check(
            lambda **options: bits.dense_integers(rows, weights, **options),
            rows.astype(int) @ kernel.T,
            rng,
            out3,
        )


@each_engine
@given(SEEDS, IMAGES, CHANNELS, LEVELS)
@settings(max_examples=40)
def test_max_pool(engine, seed, images, channels, ternary):
    rng = np.random.default_rng(seed)
    x, falling = draw(rng, (*images, channels), ternary), rng.random(channels) < 0.5
    with using(engine):
        packed = bits.pack(x, ternary)
        np.testing.assert_array_equal(bits.unpack(bits.max_pool(packed)), pooled(x))
        expected = np.where(falling, pooled(x, np.min), pooled(x))
        np.testing.assert_array_equal(bits.unpack(bits.max_pool(packed, falling)), expected)


@each_engine
def test_pooling_sums_equals_pooling_their_bits(engine):
    rng = np.random.default_rng(0)
    x = bits.pack(rng.choice([-1, 1], (2, 7, 6, 70)))
    kernel = bits.convolution_kernel(bits.pack(rng.choice([-1, 1], (3, 3, 65, 70))))
    with using(engine):
        thresholds = draw_thresholds(rng, bits.convolve(x, kernel), ternary=False)
        fused = bits.convolve(x, kernel, thresholds, pool=True)
        apart = bits.max_pool(bits.convolve(x, kernel, thresholds), falling=~thresholds.rising)
    np.testing.assert_array_equal(fused.planes, apart.planes)


@pytest.mark.skipif("numba" not in ENGINES, reason="numba is not installed")
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same(threads):
    import numba

    rng = np.random.default_rng(0)
    x = rng.choice([-1, 1], (1, 9, 9, 130))
    kernel = rng.choice([-1, 1], (3, 3, 130, 70))
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        with using("numba"):
            sums = bits.convolve(bits.pack(x), bits.convolution_kernel(bits.pack(kernel.swapaxes(2, 3))))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(sums, convolution(x, kernel))


@pytest.mark.parametrize(
    "call",
    [
        lambda x, kernel, rows, units: bits.convolve(x, units),
        lambda x, kernel, rows, units: bits.convolve(rows, kernel),
        lambda x, kernel, rows, units: bits.convolve(bits.pack(np.ones((1, 4, 4, 6))), kernel),
        lambda x, kernel, rows, units: bits.convolve(bits.pack(np.ones((1, 0, 4, 5))), kernel),
        lambda x, kernel, rows, units: bits.convolve(x, kernel, bits.Thresholds(np.zeros(4), np.ones(4))),
        lambda x, kernel, rows, units: bits.dense(rows, kernel),
        lambda x, kernel, rows, units: bits.dense(x, units),
        lambda x, kernel, rows, units: bits.convolve_integers(np.ones((1, 4, 4, 5)), kernel),
        lambda x, kernel, rows, units: bits.convolve_integers(np.full((1, 4, 4, 5), 256, np.int16), kernel),
        lambda x, kernel, rows, units: bits.dense_integers(np.full((1, 7), -256, np.int16), units),
        lambda x, kernel, rows, units: bits.max_pool(rows),
        lambda x, kernel, rows, units: bits.max_pool(x, falling=[True]),
        lambda x, kernel, rows, units: bits.binarize(
            np.zeros((2, 3), np.int64), bits.Thresholds([0] * 3, [1] * 3)
        ),
        lambda x, kernel, rows, units: bits.binarize(
            np.zeros((2, 3), np.int32), bits.Thresholds([0], [True])
        ),
        lambda x, kernel, rows, units: bits.pack(np.zeros((3, 0))),
        lambda x, kernel, rows, units: bits.pack(1.0),
        lambda x, kernel, rows, units: bits.dense_kernel(bits.pack(np.ones((0, 3)))),
        lambda x, kernel, rows, units: bits.convolution_kernel(rows),
        lambda x, kernel, rows, units: bits.Thresholds([[0, 0], [0, -1]], [True, True]),
        lambda x, kernel, rows, units: bits.Thresholds([[0], [1]], [False]),
        lambda x, kernel, rows, units: bits.Thresholds([0, 1], [True]),
        lambda x, kernel, rows, units: bits.Thresholds([], []),
        lambda x, kernel, rows, units: bits.Thresholds([2**31], [True]),
        lambda x, kernel, rows, units: bits.Thresholds([0.5], [True]),
        lambda x, kernel, rows, units: bits.Thresholds([float("nan")], [True]),
        lambda x, kernel, rows, units: bits.Bits(np.zeros((1, 3, 2), np.uint64), 64),
        lambda x, kernel, rows, units: bits.Bits(np.zeros((1, 3, 1), np.int64), 64),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call):
    x, rows = bits.pack(np.ones((1, 4, 4, 5))), bits.pack(np.ones((2, 7)))
    kernel = bits.convolution_kernel(bits.pack(np.ones((3, 3, 8, 5))))
    with pytest.raises(ValueError, match="expected"):
        call(x, kernel, rows, bits.dense_kernel(bits.pack(np.ones((8, 7)))))
