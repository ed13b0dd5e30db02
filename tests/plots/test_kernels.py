"""Angles, spreads and weights of a network: one row, point or panel per layer."""

from types import SimpleNamespace

import numpy as np
import pytest

from bnn import plots
from tests.plots.reading import drawn


def altered(layer, **attributes):
    """A copy of a layer report with some attributes changed."""
    copy = SimpleNamespace(**{name: getattr(layer, name) for name in dir(layer) if name[0] != "_"})
    vars(copy).update(attributes)
    return copy


def marks(ax):
    """The positions of the orange marks."""
    lines = [line for line in ax.lines if line.get_color() == plots.ORANGE and len(line.get_xdata()) == 2]
    return [line.get_xdata()[0] for line in lines]


def test_angles_have_a_row_and_a_mark_for_every_layer(network):
    whole, zoomed = drawn(plots.angles(network.report))
    names = [layer.name for layer in network.report]
    assert [t.get_text().split(",")[0] for t in zoomed.get_yticklabels()] == names
    assert marks(zoomed) == pytest.approx([layer.angle_theory_deg for layer in network.report])
    assert whole.get_xlim() == (0, 90)


def test_the_zoomed_range_is_shaded_in_the_whole_range(network):
    whole, zoomed = drawn(plots.angles(network.report))
    (shade,) = whole.patches
    box = shade.get_extents().transformed(whole.transData.inverted())
    assert (box.x0, box.x1) == pytest.approx(zoomed.get_xlim())
    ends = [(patch.xy1[0], patch.xy2[0]) for patch in whole.figure.artists]
    assert np.ravel(ends) == pytest.approx([box.x0, 0, box.x1, 1])
    assert box.x0 >= 0


def test_an_unquantized_layer_is_named_and_does_not_widen_the_zoom(network):
    layers = list(network.report)
    expected = drawn(plots.angles(layers[1:] or layers))[1].get_xlim()
    real = altered(layers[0], angles=np.zeros(4))
    _, zoomed = drawn(plots.angles([real, *(layers[1:] or layers)]))
    assert zoomed.get_xlim() == pytest.approx(expected)
    assert "unchanged by quantization: 0°" in [text.get_text() for text in zoomed.texts]
    zero = altered(layers[0], angles=np.full(4, np.nan))
    _, zoomed = drawn(plots.angles([zero, *(layers[1:] or layers)]))
    assert [text.get_text() for text in zoomed.texts] == ["no angle: all kernels become 0"]


def test_spread_has_a_cross_at_its_theory_and_names_its_points(network):
    layers = list(network.report)
    (ax,) = drawn(plots.angle_spread(layers))
    crosses = [line for line in ax.lines if line.get_marker() == "x" and len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in crosses] == [layer.d for layer in layers]
    if len(layers[0].thresholds()) == 1:
        d = layers[0].d
        assert crosses[0].get_ydata()[0] == pytest.approx(20.18 / np.sqrt(d), rel=1e-3)
    assert {text.get_text() for text in ax.texts} == {layer.name for layer in layers}
    assert len(ax.get_legend().texts) == 1


def test_latent_weights_have_a_panel_for_every_layer(network):
    layers = list(network.report)
    panels = [ax for ax in drawn(plots.latent_weights(layers)) if ax.axison]
    assert [ax.get_title("left").split(",")[0] for ax in panels] == [layer.name for layer in layers]
    for ax, layer in zip(panels, layers, strict=True):
        assert sum(bar.get_height() * bar.get_width() for bar in ax.patches) == pytest.approx(1)
        edges = [line.get_xdata()[0] for line in ax.lines if line.get_color() == plots.ORANGE]
        assert edges == pytest.approx([edge for edge in layer.thresholds() if edge])


def test_layers_without_a_spread_can_be_drawn(network):
    layers = [altered(layer, angles=np.full(3, value)) for layer in network.report for value in (np.nan, 0.6)]
    drawn(plots.angles(layers))
    drawn(plots.angle_spread(layers))
