"""Figures of the law of angle and gains, and of the parts of the residual."""

import numpy as np
import pytest

from bnn import plots
from tests.plots.reading import curve, drawn


def test_units_are_drawn_against_both_laws_with_the_mean_errors(network):
    panels = [ax for ax in drawn(plots.laws(network.report)) if ax.axison]
    assert len(panels) == len(network.report)
    for ax, layer in zip(panels, network.report, strict=True):
        errors = []
        for law, label in (("r_two_numbers", "angle and gain"), ("r_three_numbers", "and residual gain")):
            x, y = curve(ax, label)
            np.testing.assert_array_equal(x, getattr(layer.gains, law))
            np.testing.assert_array_equal(y, layer.gains.r)
            errors.append(f"{np.nanmean(np.abs(x - y)):.3f}")
            for values, (low, high) in ((x, ax.get_xlim()), (y, ax.get_ylim())):
                assert np.all(np.isnan(values) | ((low <= values) & (values <= high)))
        assert ax.get_title("left").endswith(f"error {errors[0]}, {errors[1]}")


def test_the_bars_of_a_layer_add_up_to_its_residual(network):
    left, right = drawn(plots.residual_parts(network.report))
    heights = np.array([[bar.get_height() for bar in bars] for bars in left.containers])
    np.testing.assert_allclose(heights.sum(axis=0), 1)
    _, whole = curve(right, "whole residual")
    assert whole == pytest.approx([layer.residual_gain for layer in network.report])


def test_reports_without_dot_products_have_empty_figures():
    assert not any(ax.axison for ax in drawn(plots.laws([])))
    assert len(drawn(plots.residual_parts([]))) == 2
