"""Quantizers with k levels: Max's published table, optimality and Monte Carlo (4.5 standard errors, fixed seeds)."""

import numpy as np
import pytest
from scipy import integrate, stats

from bnn.geometry import (
    LIMIT_COS,
    best_ternary_threshold,
    lloyd_max,
    quantizer_angle,
    quantizer_angle_std,
    quantizer_cos,
    quantizer_cos_std,
    sample_angles,
    sign,
    std_angle_sign,
    step_quantizer,
    ternary_cos,
    ternary_zeros,
)

pytestmark = pytest.mark.filterwarnings("error")

LEVELS = [2, 3, 4, 8, 16]


@pytest.mark.parametrize(
    ("levels", "degrees", "distortion"),
    [(2, 37.07, 0.3634), (3, 25.85, 0.1902), (4, 20.04, 0.1175), (8, 10.71, 0.03454), (16, 5.59, 0.009497)],
)
def test_lloyd_max_published(levels, degrees, distortion):
    assert lloyd_max(levels)[2] == pytest.approx(distortion, rel=1e-3)  # Max 1960, table I
    assert np.degrees(np.arccos(np.sqrt(1 - lloyd_max(levels)[2]))) == pytest.approx(degrees, abs=5e-3)


@pytest.mark.parametrize("levels", [*LEVELS, 5, 64])
def test_lloyd_max_conditions(levels):
    thresholds, values, distortion = lloyd_max(levels)
    assert thresholds.shape == (levels - 1,) and values.shape == (levels,)
    np.testing.assert_allclose(thresholds, (values[:-1] + values[1:]) / 2, atol=1e-12)
    np.testing.assert_allclose(values, -values[::-1], atol=1e-12)
    means = [stats.truncnorm.mean(a, b) for a, b in zip([-9, *thresholds], [*thresholds, 9], strict=True)]
    np.testing.assert_allclose(values, means, atol=1e-8)
    assert quantizer_cos(thresholds, values) == pytest.approx(np.sqrt(1 - distortion), rel=1e-12)


def test_lloyd_max_degenerate():
    thresholds, values, distortion = lloyd_max(1)
    assert thresholds.size == 0 and values == [0] and distortion == 1
    assert np.isnan(quantizer_cos(thresholds, values)) and np.isnan(quantizer_cos_std(thresholds, values, 10))
    with pytest.raises(ValueError, match=r"levels: expected .* received 0"):
        lloyd_max(0)


def test_best_ternary_threshold():
    t = best_ternary_threshold()
    assert t == pytest.approx(0.6120, abs=5e-5)
    assert ternary_cos(t) == pytest.approx(0.8999, abs=5e-5)
    assert ternary_zeros(t) == pytest.approx(0.459, abs=5e-4)
    assert ternary_cos(t) > max(ternary_cos(t - 1e-4), ternary_cos(t + 1e-4))


def test_step_quantizer():
    q = step_quantizer([-1, 1], [-2, 0, 3])
    np.testing.assert_array_equal(q(np.array([[-1.5, -1], [0.9, 1]])), [[-2, 0], [0, 3]])
    x = np.array([-1.0, -0.0, 0.0, 2.0])
    np.testing.assert_array_equal(step_quantizer([0], [-1, 1])(x), sign(x))


def test_cos_std_of_sign_equals_the_closed_form():
    expected = np.sqrt((1 - 3 / np.pi) / np.array([1, 50]))
    np.testing.assert_allclose(quantizer_cos_std([0], [-1, 1], [1, 50]), expected, rtol=1e-12)
    np.testing.assert_allclose(quantizer_cos_std([0], [-7, 7], 50), expected[1], rtol=1e-12)


def test_angle_of_sign_equals_the_closed_form():
    assert quantizer_angle([0], [-1, 1]) == pytest.approx(np.arccos(LIMIT_COS), rel=1e-14)
    assert quantizer_angle_std([0], [-1, 1], 50) == pytest.approx(std_angle_sign(50), rel=1e-12)


@pytest.mark.parametrize(("thresholds", "values"), [([-0.5, 0.8], [-1, 0.2, 2]), ([0.3], [1, 4])])
def test_cos_std_of_any_quantizer_equals_the_integral(thresholds, values):
    q = step_quantizer(thresholds, values)
    cells = list(zip([-12, *thresholds], [*thresholds, 12], strict=True))

    def mean(f):
        return sum(integrate.quad(lambda x: f(x, q(x)) * stats.norm.pdf(x), *cell)[0] for cell in cells)

    power = mean(lambda x, y: y**2)
    cosine = mean(lambda x, y: x * y) / np.sqrt(power)
    variance = mean(lambda x, y: (x * y / np.sqrt(power) - cosine / 2 * (x**2 + y**2 / power)) ** 2)
    assert quantizer_cos(thresholds, values) == pytest.approx(cosine, rel=1e-7)
    assert quantizer_cos_std(thresholds, values, 1) == pytest.approx(np.sqrt(variance), rel=1e-7)


@pytest.mark.parametrize("levels", LEVELS)
def test_cosines_sampled(levels):
    d, n = 1000, 4000
    thresholds, values, _ = lloyd_max(levels)
    cosines = np.cos(sample_angles(d, n, step_quantizer(thresholds, values), np.random.default_rng(levels)))
    spread = quantizer_cos_std(thresholds, values, d)
    assert cosines.std() == pytest.approx(spread, rel=4.5 / np.sqrt(2 * n) + 2 / d)
    # The leading order alone would be wrong by O(1/d).
    assert cosines.mean() == pytest.approx(
        quantizer_cos(thresholds, values), abs=4.5 * spread / np.sqrt(n) + 1 / d
    )
