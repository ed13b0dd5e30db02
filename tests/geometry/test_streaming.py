"""Streamed statistics equal direct ones for any division into batches, also at the limits of float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from bnn.geometry import (
    CoordinateMoments,
    CorrelationStatistics,
    Histogram2D,
    SecondMoments,
    UnitMoments,
    even_edges,
    streaming,
)

pytestmark = pytest.mark.filterwarnings("error")

CUTS = st.lists(st.integers(0, 60), max_size=5).map(sorted)
VALUES = arrays(np.float64, (2, 60), elements=st.floats(-1e3, 1e3, width=16))


def test_updates_return_the_accumulator():
    for statistics in (CorrelationStatistics(), Histogram2D([0, 1], [0, 1])):
        assert statistics.update([1], [2]) is statistics
    assert SecondMoments(1).update([[3.0]]).mean == 3


def streamed(x, y, cuts=()):
    statistics = CorrelationStatistics()
    for pair in zip(np.split(x, cuts), np.split(y, cuts), strict=True):
        statistics.update(*pair)
    return statistics


def assert_same(a, b):
    assert a.count == b.count
    for name in ("r", "slope", "sign_flips", "mean", "std"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8])
def test_correlation_equals_scipys(dtype):
    rng = np.random.default_rng(0)
    x = (10 * rng.standard_normal((7, 50, 300)) + 3).astype(dtype)
    y = (0.5 * x + 5 * rng.standard_normal(x.shape)).astype(dtype)
    statistics = streamed(x, y)
    x, y = x.ravel().astype(float), y.ravel().astype(float)
    fit = stats.linregress(x, y)
    assert statistics.count == x.size > streaming.CHUNK
    assert statistics.r == pytest.approx(fit.rvalue, rel=1e-12)
    assert statistics.slope == pytest.approx(fit.slope, rel=1e-12)
    assert statistics.sign_flips == np.mean(x * y < 0)
    np.testing.assert_allclose(statistics.mean, [x.mean(), y.mean()], rtol=1e-12)
    np.testing.assert_allclose(statistics.std, [x.std(), y.std()], rtol=1e-12)


@given(VALUES, CUTS)
def test_correlation_does_not_depend_on_the_batches(pair, cuts):
    assert_same(streamed(*pair, cuts), streamed(*pair))


@given(VALUES, st.integers(0, 60))
def test_correlation_merges(pair, cut):
    (x, y), merged = pair, CorrelationStatistics()
    merged.merge(streamed(x[:cut], y[:cut]))
    merged.merge(streamed(x[cut:], y[cut:]))
    assert_same(merged, streamed(x, y))


@given(VALUES, st.sampled_from([2.0**-20, 0.5, 8.0, 2.0**30]))
def test_correlation_ignores_scale(pair, factor):
    x, y = pair
    scaled, plain = streamed(factor * x, y), streamed(x, y)
    np.testing.assert_allclose([scaled.r, scaled.sign_flips], [plain.r, plain.sign_flips], rtol=1e-9)
    np.testing.assert_allclose(scaled.slope * factor, plain.slope, rtol=1e-9)


def test_correlation_survives_a_large_mean(monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 100)
    x, noise = np.random.default_rng(1).standard_normal((2, 1000))
    plain, moved = streamed(x, x + noise), streamed(x + 1e9, x + noise - 1e9)
    assert moved.r == pytest.approx(plain.r, rel=1e-6)
    assert moved.slope == pytest.approx(plain.slope, rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-300, 1e300])
@pytest.mark.parametrize("cuts", [(), (1, 17, 40)])
def test_correlation_with_a_constant_is_nan(constant, cuts):
    x, y = np.arange(59.0) - 30, np.full(59, constant)
    statistics = streamed(x, y, cuts)
    assert np.isnan(statistics.r) and statistics.slope == 0
    statistics = streamed(y, x, cuts)
    assert np.isnan(statistics.r) and np.isnan(statistics.slope)


def test_correlation_without_data():
    statistics = streamed(np.empty((0, 3)), np.empty((0, 3)))
    statistics.merge(CorrelationStatistics())
    assert statistics.count == 0
    assert np.isnan(
        [statistics.r, statistics.slope, statistics.sign_flips, *statistics.mean, *statistics.std]
    ).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e308])
def test_correlation_with_values_beyond_float64_is_nan(bad):
    x = np.array([1.0, -2.0, bad, -bad, 3.0])
    statistics = streamed(x, np.array([1.0, 2.0, 3.0, 4.0, 5.0]), (2, 4))
    assert statistics.count == 5
    assert np.isnan([statistics.r, statistics.slope]).all() or bad == 1e308


def test_sign_flips_count_neither_zeros_nor_underflow():
    statistics = streamed(np.array([0.0, -0.0, 1e-200, -1.0]), np.array([-1.0, 1.0, -1e-200, -1.0]))
    assert statistics.sign_flips == 0.25


def test_correlation_refuses_unequal_shapes():
    with pytest.raises(ValueError, match=r"equal shapes, received \(2,\) and \(1, 2\)"):
        streamed(np.zeros(2), np.zeros((1, 2)))


def moments_of(rows, cuts=()):
    moments = SecondMoments(rows.shape[1])
    for batch in np.split(rows, cuts):
        moments.update(batch)
    return moments


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 5e-6)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_second_moments_equal_numpys(dtype, tolerance, offset, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS", 256)
    rng = np.random.default_rng(2)
    rows = (rng.standard_normal((5000, 20)) @ rng.standard_normal((20, 20)) + offset).astype(dtype)
    moments, exact = moments_of(rows, (1000, 1001, 3333)), rows.astype(np.float64)
    expected, std = np.cov(exact.T, bias=True), exact.std(axis=0)
    assert moments.count == 5000
    assert np.max(np.abs(moments.covariance - expected) / np.outer(std, std)) < tolerance
    assert np.max(np.abs(moments.mean - exact.mean(axis=0)) / (std + offset)) < tolerance
    np.testing.assert_allclose(moments.second_moment, exact.T @ exact / 5000, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(moments.covariance, moments.covariance.T)


def test_second_moments_of_signs():
    rows = np.random.default_rng(3).choice([-1, 1], (4096, 8)).astype(np.int8)
    np.testing.assert_allclose(moments_of(rows).second_moment, rows.T.astype(float) @ rows / 4096, atol=1e-5)


@given(arrays(np.float64, (60, 3), elements=st.floats(-1e3, 1e3, width=16)), CUTS)
def test_second_moments_do_not_depend_on_the_batches(rows, cuts):
    cut, whole = moments_of(rows, cuts), moments_of(rows)
    merged = moments_of(rows[:25])
    merged.merge(moments_of(rows[25:]))
    for other in (cut, merged):
        np.testing.assert_allclose(other.mean, whole.mean, atol=1e-10)
        np.testing.assert_allclose(other.covariance, whole.covariance, rtol=1e-9, atol=1e-8)


def test_second_moments_degenerate():
    moments = SecondMoments(2)
    moments.update(np.empty((0, 2)))
    moments.merge(SecondMoments(2))
    assert np.isnan(moments.mean).all() and np.isnan(moments.second_moment).all()
    for dtype in (np.float32, np.float64):
        moments = moments_of(np.full((7, 2), 0.1, dtype), (1, 3))
        np.testing.assert_array_equal(moments.covariance, 0)
    moments = moments_of(np.array([[1.0, np.nan], [2.0, 1.0]]))
    np.testing.assert_array_equal(moments.mean, [1.5, np.nan])
    assert moments.covariance[0, 0] == 0.25
    for shape in ((3,), (4, 3)):
        with pytest.raises(ValueError, match=r"expected shape \(n, 2\), received"):
            SecondMoments(2).update(np.zeros(shape))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_histogram_equals_numpys(dtype, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK", 1000)
    x, y = np.random.default_rng(4).standard_normal((2, 11, 331)).astype(dtype)
    histogram = Histogram2D(even_edges(1, 16, widths=2), even_edges(0.7, 9))
    histogram.update(x[:4], y[:4])
    histogram.update(x[4:], y[4:])
    expected = np.histogram2d(x.ravel(), y.ravel(), [histogram.x_edges, histogram.y_edges])[0]
    np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.outside == x.size - expected.sum() > 0


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 300), st.integers(1, 4))
def test_evenly_spaced_values_fill_cells_evenly(bins, std, step):
    edges = even_edges(std, bins, step=step)
    assert edges[-1] == -edges[0] >= 4 * std * (1 - 1e-12)
    width = edges[1] - edges[0]
    assert width % step == 0
    for offset in (0, 1):
        lattice = np.arange(edges[0], edges[-1], step) + offset % step
        histogram = Histogram2D(edges, [-1, 1])
        histogram.update(lattice, np.zeros_like(lattice))
        np.testing.assert_array_equal(histogram.counts, width / step)


def test_histogram_edges_and_outliers():
    histogram = Histogram2D([0, 1, 2], [0, 1])
    x = np.array([0, 1, 2, -0.1, np.nan, np.inf, -np.inf, 1e308, 0.5])
    histogram.update(x, np.append(np.zeros(x.size - 1), np.nan))
    np.testing.assert_array_equal(histogram.counts, [[1], [1]])
    assert histogram.outside == 7
    for edges in ([0], [0, 1, 3], [1, 0], [0, np.nan], [[0, 1]]):
        with pytest.raises(ValueError, match="x_edges: expected"):
            Histogram2D(edges, [0, 1])
    with pytest.raises(ValueError, match="equal shapes"):
        histogram.update(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize("std", [0.0, float("nan")])
def test_even_edges_of_a_constant(std):
    np.testing.assert_array_equal(even_edges(std, 4, widths=2), [-2, -1, 0, 1, 2])


@given(st.integers(1, 30), st.integers(1, 10))
def test_coordinate_moments_equal_numpys_for_any_batches(n, size):
    rows = np.random.default_rng(n).normal(1e4, [0, 1, 5], (n, 3))
    moments = CoordinateMoments(3)
    for start in range(0, n, size):
        moments.update(rows[start : start + size])
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0))
    np.testing.assert_allclose(moments.std, rows.std(axis=0), atol=1e-9)


@given(st.integers(1, 6), st.integers(1, 8), st.booleans())
def test_unit_moments_of_merged_groups_equal_those_of_their_pairs(groups, count, constant):
    pairs = np.random.default_rng(groups).normal(1e3, [[0.01], [4]], (groups, count, 2, 3))
    if constant:
        pairs[..., 1] = 0.1
    mean = pairs.mean(axis=1)
    if constant:
        mean[..., 1] = 0.1
    x, y = np.moveaxis(pairs - mean[:, None], 2, 0)
    scatter = np.stack([(x * x).sum(axis=1), (x * y).sum(axis=1), (y * y).sum(axis=1)], axis=1)
    rows = pairs.reshape(-1, 2, 3)
    expected = UnitMoments(3).update(rows[:, 0], rows[:, 1])
    merged = UnitMoments(3)
    for part in np.array_split(np.arange(groups), 2):
        if len(part):
            merged.merge(count, mean[part], scatter[part])
    assert merged.count == groups * count
    np.testing.assert_allclose(merged.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.covariance, expected.covariance, atol=1e-12, rtol=1e-8)
    np.testing.assert_array_equal(np.isnan(merged.r), np.isnan(expected.r))


@given(st.integers(2, 50), st.integers(1, 5))
def test_pooled_unit_moments_are_those_of_all_pairs(n, units):
    x = np.random.default_rng(n).normal(100, 1, (n, units)) + 5 * np.arange(units)
    y = x + np.random.default_rng(units).normal(0, 1, x.shape)
    pooled = UnitMoments(units).update(x, y).pooled()
    expected = CorrelationStatistics().update(x, y)
    assert pooled.count == expected.count == x.size
    np.testing.assert_allclose(pooled.mean[:, 0], expected.mean)
    np.testing.assert_allclose(pooled.r, expected.r)


def test_pooled_unit_moments_of_a_constant_or_of_nothing_are_nan():
    constant = UnitMoments(3).update(np.full((7, 3), 0.1), np.full((7, 3), 0.3))
    for moments in (constant, UnitMoments(3)):
        assert np.isnan(moments.pooled().r).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_moments_equal_those_of_all_rows_at_once(dtype):
    rng = np.random.default_rng(5)
    rows = (rng.normal(size=(9000, 7)) @ rng.normal(size=(7, 7)) + 1000).astype(dtype)
    moments = streaming.CrossMoments(3, 4)
    for part in (slice(0, 1), slice(1, 5000), slice(5000, 5000), slice(5000, 9000)):
        moments.update(rows[part, :3], rows[part, 3:])
    expected = np.cov(rows.astype(np.float64), rowvar=False, bias=True)
    np.testing.assert_allclose(np.concatenate(moments.means), rows.mean(axis=0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(np.hstack(moments.covariances), expected[:3], rtol=1e-4, atol=1e-4)
    constant = streaming.CrossMoments(1, 1).update(np.full((5, 1), 0.1, dtype), np.ones((5, 1), dtype))
    assert not np.any(constant.covariances) and np.isnan(streaming.CrossMoments(1, 1).covariances).all()
