"""The figure of r against gain and angle."""

import numpy as np
import pytest

from bnn import plots
from tests.plots.reading import drawn


def test_curves_are_the_two_number_formula():
    (ax,) = drawn(plots.correlation_by_gain({}, angles_deg=(20, 37)))
    for line, angle in zip(ax.lines, (20, 37), strict=True):
        gain, r = line.get_data()
        np.testing.assert_allclose(r, 1 / np.sqrt(1 + np.tan(np.radians(angle)) ** 2 / gain))
    assert [text.get_text() for text in ax.texts] == ["20°", "37°"]


def test_every_layer_is_a_point_inside_the_axes(network):
    rows = network.report.rows()
    (ax,) = drawn(plots.correlation_by_gain({"tiny": rows}, angles_deg=()))
    (points,) = ax.lines
    np.testing.assert_allclose(points.get_xydata(), [(row["gain"], row["r_within"]) for row in rows])
    for values, (low, high) in zip(points.get_data(), (ax.get_xlim(), ax.get_ylim()), strict=True):
        assert np.all((low < values) & (values < high))


def test_layers_far_from_the_formula_are_named():
    rows = [
        {"layer": "on", "gain": 5.0, "r_within": 0.95, "r_two_numbers": 0.96},
        {"layer": "off", "gain": 50.0, "r_within": 0.33, "r_two_numbers": 0.94},
    ]
    (ax,) = drawn(plots.correlation_by_gain({"a": rows, "b": rows[:1]}, angles_deg=()))
    assert [text.get_text() for text in ax.texts] == ["off"]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["a", "b"]
    assert ax.get_xlim()[1] == pytest.approx(65, rel=0.2)
