"""Figures 3 to 5: one panel per layer that has the pairs, with its statistics and a key."""

import numpy as np
import pytest

from bnn import plots
from tests.plots.reading import drawn

KINDS = {"weights": plots.dot_products, "permuted": plots.permuted, "activations": plots.activations}


@pytest.mark.parametrize("kind", KINDS)
def test_panels_have_the_layers_statistics_and_their_line(network, kind):
    layers = [layer for layer in network.report if kind in layer.histograms]
    fig = KINDS[kind](network.report)
    panels = [ax for ax in drawn(fig) if ax.axison and ax.get_label() != "<colorbar>"]
    assert len(panels) == len(layers)
    for ax, layer in zip(panels, layers, strict=True):
        statistics = getattr(layer, kind)
        assert ax.get_title("left").startswith(f"{layer.name}: r = {statistics.r:.3f}\nslope ")
        (line,) = ax.lines
        (x0, *_, x1), (y0, *_, y1) = line.get_data()
        assert (y1 - y0) / (x1 - x0) == pytest.approx(statistics.slope)
        assert np.interp(statistics.mean[0], *line.get_data()) == pytest.approx(statistics.mean[1])


def test_a_new_figure_has_a_key(network):
    fig = plots.dot_products(network.report)
    assert fig.axes[-1].get_label() == "<colorbar>"
    assert "shaded: the two signs differ" in [text.get_text() for text in fig.legends[0].texts]


def test_given_axes_have_axis_labels_but_no_key(network):
    layers = list(network.report)
    fig, axes = plots.figure(len(layers), squeeze=False)
    assert plots.dot_products(layers, axes) is fig
    assert len(drawn(fig)) == len(layers)
    assert axes[0, 0].get_xlabel() == "a · w$_b$, quantized weights"
    assert not fig.legends


def test_without_pairs_the_figure_is_empty():
    drawn(plots.activations([]))
