"""Figures of a network's dot products, with and without quantization (paper, Figs 3 to 5)."""

from bnn.plots import primitives, style
from bnn.plots.names import shortened
from bnn.plots.style import ORANGE


@style.styled
def dot_products(report, axes=None):
    """Draw dot products with quantized kernels against latent kernels, one panel per layer (paper, Fig 3).

    Pairs in the shaded quadrants differ in sign. The line is the least-squares fit of the latent product on the
    quantized product.

    Args:
        report: Report, or any iterable of layer reports.
        axes: None, or one Axes per layer.

    Returns:
        Figure
    """
    return _pairs(report, "weights", axes, "a · w$_b$, quantized weights", "a · w$_c$, latent weights")


@style.styled
def permuted(report, axes=None):
    """Draw the dot products of Fig 3 after the activations of each image have been permuted (paper, Fig 4 right).

    Args:
        report: Report, or any iterable of layer reports.
        axes: None, or one Axes per layer.

    Returns:
        Figure
    """
    names = "a · w$_b$, quantized weights, a permuted", "a · w$_c$, latent weights, a permuted"
    return _pairs(report, "permuted", axes, *names)


@style.styled
def activations(report, axes=None):
    """Draw dot products of quantized against batch-normed activations, with quantized kernels (paper, Fig 5).

    Args:
        report: Report, or any iterable of layer reports. Layers with real inputs are omitted.
        axes: None, or one Axes per layer with quantized inputs.

    Returns:
        Figure
    """
    names = "a$_b$ · w$_b$, quantized activations", "a$_c$ · w$_b$, batch-normed activations"
    return _pairs(report, "activations", axes, *names)


def _pairs(report, kind, axes, x, y):
    report = list(report)
    names = shortened([layer.name for layer in report], primitives.PANEL_LETTERS)
    layers = [(layer, name) for layer, name in zip(report, names, strict=True) if kind in layer.histograms]
    fig, panels = style.panels_for(axes, len(layers), key=0.8)
    mesh = None
    for (layer, name), ax in zip(layers, panels, strict=True):
        histogram, statistics = layer.histograms[kind], getattr(layer, kind)
        mesh = primitives.pairs(ax, histogram)
        x_mean, y_mean = statistics.mean
        line = y_mean + statistics.slope * (histogram.x_edges - x_mean)
        ax.plot(histogram.x_edges, line, color=ORANGE, linewidth=1)
        primitives.entitle(ax, name, ": ", f"r = {statistics.r:.3f}\nslope {statistics.slope:.3g}")
    primitives.shared_labels(fig if axes is None else None, panels, x, y)
    if axes is None and mesh is not None:
        primitives.pairs_key(fig, panels, mesh)
    return fig
