"""In figures of the theory, samples lie on the closed forms."""

import numpy as np
import pytest

from bnn import geometry, plots
from tests.plots.reading import curve, drawn, measured

pytestmark = pytest.mark.filterwarnings("error")


def test_density_of_random_pairs_is_per_degree(rng):
    signs = {d: geometry.sample_angles(d, 100, geometry.sign, rng) for d in (5, 10)}
    pairs = {d: geometry.sample_pair_angles(d, 100, rng) for d in signs}
    _, ax = drawn(plots.random_and_sign(pairs, signs))
    x, y = curve(ax, "exact density")
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-6)
    mean = np.cos(np.radians(curve(ax, "angle of the exact mean cosine")[0][0]))
    assert mean == pytest.approx(geometry.expected_cos_sign(10))


def test_samples_lie_on_the_exact_curves(rng):
    d = [2, 10, 50]
    cosines = {k: np.cos(geometry.sample_angles(k, 20_000, geometry.sign, rng)) for k in d}
    left, right = drawn(plots.sign_dimensions(cosines))
    x, y = curve(left, "exact")
    np.testing.assert_allclose(measured(left)[0][1], np.interp(d, x, y), atol=0.3)
    x, y = curve(right, "20.18° / √d")
    np.testing.assert_allclose(measured(right)[0][1][1:], np.interp(d, x, y)[1:], rtol=0.06)


def test_the_measured_constants_are_ours_not_the_papers(rng):
    d = [2, 5, 20]
    cosines = {k: np.cos(geometry.sample_angles(k, 50_000, geometry.sign, rng)) for k in d}
    left, right = drawn(plots.sign_constants(cosines))
    for ax, ours, papers in ((left, "1/4", "paper: 5/4"), (right, "1 - 3/π", "paper: 1 - 1/π")):
        x, y = curve(ax, "exact, every d")
        np.testing.assert_allclose(measured(ax)[0][1], np.interp(d, x, y), atol=0.03)
        assert [text.get_text() for text in ax.texts] == [ours, papers]


def test_unequal_scales_have_their_exact_means(rng):
    scale = np.exp(0.1 * np.arange(1, 51))
    plain = geometry.sample_angles(50, 500, geometry.sign, rng, scale=scale)
    turn = geometry.random_rotation(50, rng)
    rotated = geometry.sample_angles(50, 500, geometry.sign, rng, scale=scale, rotation=turn)
    (ax,) = drawn(plots.rotation([scale], [plain], [rotated]))
    marks = [np.cos(np.radians(line.get_xdata()[0])) for line in ax.get_lines()]
    assert marks == pytest.approx([np.cos(plain).mean(), np.cos(rotated).mean()], abs=0.04)


def test_correlations_are_drawn_as_lines_and_points():
    fig = plots.correlations([0, 1], {"r": [0.8, 0.9]}, {"r": [0.7, 1.0]})
    (ax,) = drawn(fig)
    np.testing.assert_array_equal(curve(ax, "r")[1], [0.8, 0.9])
    np.testing.assert_array_equal(measured(ax)[0][1], [0.7, 1.0])
