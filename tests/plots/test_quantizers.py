"""Samples of quantized vectors lie on the closed forms; the figure of gradients shows those of the backend."""

import warnings

import numpy as np
import pytest

from bnn import geometry, plots
from bnn.geometry import levels
from tests.plots.reading import curve, drawn, measured

pytestmark = pytest.mark.filterwarnings("error")


def test_ternary_samples_lie_on_the_closed_forms(rng):
    t = np.array([0.0, 0.5, 1.0])
    steps = {s: levels.step_quantizer([-s, s], [-1, 0, 1]) for s in t}
    angles = {s: geometry.sample_angles(1000, 20, step, rng) for s, step in steps.items()}
    zeros = dict(zip(t, geometry.ternary_zeros(t), strict=True))
    left, right = drawn(plots.ternary_angles(angles, zeros, {"one": 0.25, "two": 0.75}))
    for ax, tolerance in ((left, 0.7), (right, 1e-4)):
        expected = np.interp(t, *curve(ax, "closed form"))
        np.testing.assert_allclose(measured(ax)[0][1], expected, atol=tolerance)
        for name, place in (("one: 0.25", 0.25), ("two: 0.75", 0.75)):
            np.testing.assert_array_equal(curve(ax, name)[0], place)
    named = {text.get_text() for text in right.get_legend().get_texts()}
    assert named == {"closed form", "sampled", "one: 0.25", "two: 0.75"}


def test_densities_are_normal_with_the_mean_and_spread_of_theory(rng):
    quantizer = levels.lloyd_max(4)[:2]
    angles = geometry.sample_angles(300, 500, levels.step_quantizer(*quantizer), rng)
    (ax,) = drawn(plots.quantizer_angles(300, {"four": angles}, {"four": quantizer}))
    x, y = ax.get_lines()[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(x * y, x) == pytest.approx(np.degrees(angles).mean(), abs=0.3)


def test_angles_of_levels_are_labeled_and_spreads_measured(rng):
    quantizers = {k: levels.lloyd_max(k)[:2] for k in (2, 4)}
    steps = {k: levels.step_quantizer(*quantizer) for k, quantizer in quantizers.items()}
    angles = {
        k: {d: geometry.sample_angles(d, 500, step, rng) for d in (30, 300)} for k, step in steps.items()
    }
    left, right = drawn(plots.level_angles(quantizers, angles))
    assert [text.get_text() for text in left.texts] == ["37.1°", "20.0°"]
    means = [np.degrees(angles[k][300]).mean() for k in angles]
    np.testing.assert_allclose(measured(left)[0][1], means)
    for (_, spreads), samples in zip(measured(right), angles.values(), strict=True):
        np.testing.assert_allclose(spreads, [np.degrees(a).std() for a in samples.values()])


def test_staircases_show_the_values_between_the_thresholds():
    left, right = drawn(plots.staircases({2: ([0], [-1, 1]), 3: ([-1, 1], [-2, 0, 2])}))
    np.testing.assert_array_equal(left.patches[0].get_data().values, [-1, 1])
    np.testing.assert_array_equal(right.patches[0].get_data().edges, [-3, -1, 1, 3])
    assert (left.get_title("left"), right.get_title("left")) == ("2 levels", "3 levels")


def test_the_straight_through_gradient_is_that_of_the_backend():
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # TensorFlow's own warnings do not count
        from bnn.layers import pointwise_gradient, ste_sign

        x = np.array([-1.5, -1.0, -0.25, 0.0, 0.5, 1.0, 1.5])
        values, derivatives = pointwise_gradient(ste_sign, x)
        _, cubes = pointwise_gradient(lambda x: x**3, x)
    np.testing.assert_array_equal(values, geometry.sign(x))
    np.testing.assert_array_equal(derivatives, [0, 1, 1, 1, 1, 1, 0])
    np.testing.assert_allclose(cubes, 3 * x**2)
    (ax,) = drawn(plots.estimator({"binary": (x, values, derivatives)}))
    np.testing.assert_array_equal(curve(ax, "forward: value")[1], values)
    np.testing.assert_array_equal(curve(ax, "backward: derivative")[1], derivatives)
