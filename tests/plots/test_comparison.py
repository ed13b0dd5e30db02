"""Figures that compare a network with the paper, and with the same network without quantizers."""

import numpy as np
import pytest

from bnn import plots
from bnn.analysis import paper
from bnn.analysis.core import statistics
from tests.plots.reading import drawn


def test_the_paper_is_shown_for_layers_with_its_names(network):
    rows = paper.beside(network.report.rows())
    panels = drawn(plots.beside_paper(rows))
    names = [statistics.title(key) for key in ("r_weights", "r_permuted", "r_activations")]
    assert [ax.get_title("left").partition(" (")[0] for ax in panels] == names
    ours, theirs = panels[0].lines
    np.testing.assert_allclose(ours.get_ydata(), [row["r_weights"] for row in rows])
    published = [row["layer"] in paper.LAYERS for row in rows]
    np.testing.assert_array_equal(np.isfinite(theirs.get_ydata()), published)


def test_bars_of_unbinarizing_show_the_accuracies():
    places = (("kernels", "none"), ("kernels", "conv_1"), ("kernels", "all"), ("activations", "all"))
    rows = [{"what": what, "layer": layer, "stale": 0.1, "refitted": 0.8} for what, layer in places]
    left, right = drawn(plots.unbinarizing(rows, 100))
    assert sorted(bar.get_width() for bar in left.patches) == [0.1] * 3 + [0.8] * 3
    assert [t.get_text() for t in right.get_yticklabels()] == ["all", "none"]
    (bars,) = [c for c in left.containers if hasattr(c, "has_xerr")]
    (start, end), *_ = (segment[:, 0] for segment in bars.lines[2][0].get_segments())
    assert (end - start) / 2 == pytest.approx(0.04)


def test_unbinarizing_kernels_alone_is_one_panel():
    rows = [{"what": "kernels", "layer": name, "stale": 0.1, "refitted": 0.8} for name in ("none", "all")]
    assert len(drawn(plots.unbinarizing(rows, 100))) == 1
