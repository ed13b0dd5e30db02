"""The parts of figures: what is drawn, where, and from which arrays."""

import numpy as np
import pytest
from matplotlib.text import Text

from bnn import plots
from bnn.geometry import Histogram2D
from bnn.plots import primitives
from tests.plots.reading import drawn

pytestmark = pytest.mark.filterwarnings("error")


def test_density_integrates_to_one_and_ignores_nan(ax):
    plots.density(ax, [0.1, 0.2, 0.9, np.nan, np.inf], bins=[0, 0.5, 1])
    vertices = ax.patches[0].get_xy()
    assert np.max(vertices[:, 1]) == pytest.approx(4 / 3)


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("align", ["left", "right"])
def test_a_reference_line_is_drawn_at_its_value(ax, axis, align):
    plots.reference(ax, 0.3, "here", axis=axis, align=align)
    line = ax.get_lines()[0]
    assert set(line.get_xdata() if axis == "x" else line.get_ydata()) == {0.3}
    assert ax.texts[0].get_text() == "here"


def test_pairs_draw_x_on_the_horizontal_axis_and_shade_sign_flips(ax):
    histogram = Histogram2D([-2, 0, 2], [-1, 0, 1]).update([1, 1, -1], [0.5, 0.5, 0.5])
    mesh = primitives.pairs(ax, histogram)
    np.testing.assert_array_equal(mesh.get_array().filled(0), [[0, 0], [1, 2]])
    corners = {tuple(np.sign(shade.get_paths()[0].vertices.mean(axis=0))) for shade in ax.collections[:2]}
    assert corners == {(-1.0, 1.0), (1.0, -1.0)}


def test_an_empty_histogram_can_be_drawn(ax):
    primitives.pairs(ax, Histogram2D([-1, 0, 1], [-1, 0, 1]))


def test_the_key_explains_color_shading_and_line():
    fig, ax = plots.figure()
    primitives.pairs_key(fig, [ax], primitives.pairs(ax, Histogram2D([-2, 0, 2], [-1, 0, 1])))
    _, bar = drawn(fig)
    assert [label.get_text() for label in bar.get_yticklabels()] == ["1", "most"]
    assert [text.get_text() for text in fig.legends[0].texts] == [
        "shaded: the two signs differ",
        "least squares",
    ]


@pytest.mark.parametrize("count", [2, 9, 60])
def test_labels_do_not_cover_points_or_each_other(ax, rng, count):
    x, y = rng.uniform(0.2, 0.8, (2, count))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.plot(x, y, "o")
    names = [f"conv_{i}" for i in range(count)]
    primitives.labels(ax, x, y, names)
    drawn(ax.figure)
    boxes = [
        Text.get_window_extent(text) for text in ax.texts
    ]  # the text only, without the line to the point
    assert len(boxes) == count or count == 60
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert not any(box.contains(*spot) for box in boxes for spot in ax.transData.transform(np.c_[x, y]))
    frame = ax.get_window_extent()
    assert all(frame.contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_a_label_that_does_not_fit_is_omitted(ax):
    ax.set(xlim=(0, 1), ylim=(0, 1))
    primitives.labels(ax, [0.5], [0.5], ["x" * 500])
    assert not ax.texts


def test_plain_log_labels_an_axis_without_powers(ax):
    ax.set(xscale="log", xlim=(1, 100))
    primitives.plain_log(ax.xaxis)
    drawn(ax.figure)
    assert {"2", "5", "10", "50"} <= {label.get_text() for label in ax.get_xticklabels()}


def test_legends_of_given_axes_are_placed_within_them(ax):
    ax.plot([1], label="one")
    primitives.legend_below(None, ax, columns=2)
    primitives.shared_labels(None, [ax], "x", "y")
    assert ax.get_legend() is not None
    assert not ax.figure.legends
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")


@pytest.mark.parametrize(("letters", "columns"), [(3, 3), (60, 1)])
def test_a_legend_with_long_labels_has_fewer_columns_and_fits(letters, columns):
    figure, ax = plots.figure(1)
    for letter in "abc":
        ax.plot([1], label=letter * letters)
    primitives.legend_below(figure, ax, columns=3)
    drawn(figure)
    (legend,) = figure.legends
    assert len({round(text.get_window_extent().x0) for text in legend.get_texts()}) == columns
    assert legend.get_window_extent().width <= figure.bbox.width
