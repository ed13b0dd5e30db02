"""The figures of a network: they show what they were given, for every kind of network and image."""

import numpy as np
import pytest

from bnn import paper, plots
from bnn.analysis import report
from bnn.config import ModelConfig
from bnn.geometry import components
from bnn.models import build_model
from bnn.plots import network as network_plots
from tests.support import KINDS

SHAPES = {
    "grey": {"input_shape": (8, 8, 1), "conv": (4, 6), "max_pool": (0, 1), "fc": (8,)},
    "colour": {"input_shape": (8, 8, 3), "conv": (4,), "max_pool": (1,), "fc": (8,)},
    "dense": {"input_shape": (8, 8, 1), "conv": (), "max_pool": (), "fc": (8,)},
}


@pytest.fixture(scope="module", params=[(k, s) for k in ("binary", "ternary") for s in SHAPES], ids="-".join)
def network(request):
    """(layer reports, shape of what the first kernels look at)"""
    kind, shape = request.param
    config = ModelConfig(**SHAPES[shape], **KINDS[kind])
    images = np.random.default_rng(0).integers(0, 256, (12, *config.input_shape), dtype=np.uint8)
    first = config.input_shape if shape == "dense" else (3, 3, config.input_shape[-1])
    return report.analyze(build_model(config), images), first


@pytest.fixture(autouse=True)
def styled():
    with plots.in_style():
        yield


def drawn(figure):
    figure.canvas.draw()
    return figure.axes


def test_angles_have_a_row_and_a_mark_for_every_layer(network):
    layers, _ = network
    _, zoomed = drawn(network_plots.angles(layers))
    assert [t.get_text().split(",")[0] for t in zoomed.get_yticklabels()] == [layer.name for layer in layers]
    marks = [
        line.get_xdata()[0]
        for line in zoomed.lines
        if len(line.get_xdata()) == 2 and line.get_color() == plots.ORANGE
    ]
    assert marks == pytest.approx([np.degrees(layer.theory_angle()) for layer in layers])


def test_spread_has_a_cross_at_its_theory(network):
    layers, _ = network
    (ax,) = drawn(network_plots.angle_spread(layers))
    crosses = [line for line in ax.lines if line.get_marker() == "x" and len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in crosses] == [len(layer.kernels.quantized) for layer in layers]
    if len(layers[0].thresholds()) == 1:
        d = len(layers[0].kernels.quantized)
        assert crosses[0].get_ydata()[0] == pytest.approx(20.18 / np.sqrt(d), rel=1e-3)


def test_the_remaining_figures_draw(network):
    layers, shape = network
    rows = paper.beside([layer.statistics() for layer in layers])
    fractions, vectors = components.principal_components(layers[0].patches)
    published = paper.PATCH_VARIANCE if len(fractions) == 27 else None
    assert len(drawn(network_plots.beside_paper(rows))) == 3
    assert len(drawn(network_plots.predicted_correlations(layers))) == 1
    assert len(drawn(network_plots.patch_variance(fractions, published))) == 1
    assert len(drawn(network_plots.leading_components(vectors, fractions, shape))) == 9
    assert len(drawn(network_plots.first_kernels(layers[0], shape))) == 2
    history = [
        {"epoch": e, "layer": layer.name, "angle_mean_deg": 30.0 + e, "r_weights": 0.9}
        for e in (0, 2)
        for layer in layers
    ]
    assert len(drawn(network_plots.geometry_history(history, layers))) == 2


def test_layers_without_a_spread_are_no_error(network):
    layers, _ = network
    for layer in layers:
        layer.angles = np.full(3, np.nan)
    drawn(network_plots.angles(layers))
    drawn(network_plots.angle_spread(layers))


def test_unbinarizing_bars_are_the_accuracies():
    rows = [
        {"what": what, "layer": layer, "stale": 0.1, "refitted": 0.8}
        for what, layer in (
            ("kernels", "none"),
            ("kernels", "conv_1"),
            ("kernels", "all"),
            ("activations", "all"),
        )
    ]
    left, right = drawn(network_plots.unbinarizing(rows, 100))
    assert sorted(bar.get_width() for bar in left.patches) == [0.1] * 3 + [0.8] * 3
    assert [t.get_text() for t in right.get_yticklabels()] == ["all", "none"]


def test_components_of_a_known_covariance():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20_000, 3)) * [1, 3, 2] + [5, -5, 0]
    fractions, vectors = components.principal_components(rows)
    assert fractions == pytest.approx(np.array([9, 4, 1]) / 14, abs=0.01)
    assert vectors == pytest.approx(np.eye(3)[[1, 2, 0]], abs=0.05)
    with pytest.raises(ValueError, match="expected at least 2 that vary"):
        components.principal_components(np.ones((5, 3)))


def test_pictures_keep_zero_grey_and_their_places():
    pictures = components.as_images([[-2.0, 0, 1, 2], [0, 0, 0, 0]], (2, 2, 1))
    assert pictures[0, :, :, 0] == pytest.approx(np.array([[0, 0.5], [0.75, 1]]))
    assert (pictures[1] == 0.5).all()
    canvas = components.mosaic(pictures, 1)
    assert canvas.shape == (7, 4, 3)
    assert np.array_equal(canvas[1:3, 1:3], pictures[0])
    assert np.array_equal(canvas[0, 0], components.GROUND)
