"""The figures of a trained network: reports and logs to matplotlib figures, in the manner of the paper's."""

import numpy as np
from matplotlib.figure import Figure

from bnn.files import atomic
from bnn.plots import network, primitives, style

PANEL = (2.6, 2.5)  # inches


def save_all(layers, log, folder):
    """Draw every figure of a network and save it as PNG and PDF.

    Args:
        layers: list of LayerReport.
        log: rows of log.csv, as `Run.log` gives them; None for a network that has none.
        folder: Path.

    Returns:
        list of the figures' names.
    """
    with style.in_style():
        drawn = {"angles": network.angles(layers), "latent_weights": latent_weights(layers)}
        for name, kind in (("dot_products", "weights"), ("permuted",) * 2, ("activations",) * 2):
            if any(kind in layer.histograms for layer in layers):
                drawn[name] = dot_products(layers, kind)
        if log is not None:
            drawn["training"] = history(log)
        for name, figure in drawn.items():
            for suffix in ("png", "pdf"):
                with atomic.replacing(folder / f"{name}.{suffix}") as temporary:
                    figure.savefig(temporary, dpi=160)
    return list(drawn)


def latent_weights(layers):
    """Histograms of the latent weights with the normal density of their spread, a panel a layer (paper, Fig 2d)."""
    figure, grid = _panels(len(layers))
    for layer, axes in zip(layers, grid, strict=False):
        latent = layer.kernels.latent.reshape(-1)
        axes.hist(latent, bins=81, density=True, color=style.COLOURS[0], log=True)
        bottom = axes.get_ylim()[0]
        x = np.linspace(*axes.get_xlim(), 300)
        sigma = latent.std(dtype=np.float64)
        if sigma > 0:
            normal = np.exp(-((x / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
            axes.plot(x, normal, color="black", linewidth=1)
        axes.set(title=f"{layer.name}, σ = {sigma:.3f}", ylim=(bottom, None))
        for edge in filter(None, layer.thresholds()):
            axes.axvline(edge, color=style.COLOURS[1], linewidth=1)
    figure.supxlabel("latent weight (line: normal density of the same spread)")
    figure.supylabel("density")
    return figure


def dot_products(layers, kind):
    """Two-dimensional histograms of quantized against real dot products, a panel a layer (paper, Figs 3 to 5).

    Shaded quadrants hold the pairs whose signs differ; the line is the regression of the real one on the other.

    Args:
        layers: list of LayerReport.
        kind: "weights" (Fig 3), "permuted" (Fig 4, right) or "activations" (Fig 5).

    Returns:
        Figure
    """
    shown = [layer for layer in layers if kind in layer.histograms]
    figure, grid = _panels(len(shown))
    for layer, axes in zip(shown, grid, strict=False):
        histogram, statistics = layer.histograms[kind], getattr(layer, kind)
        primitives.dot_products(axes, histogram)
        x_mean, y_mean = statistics.mean
        line = y_mean + statistics.slope * (histogram.x_edges - x_mean)
        axes.plot(histogram.x_edges, line, color=style.ORANGE, linewidth=1)
        axes.set_title(f"{layer.name}: r = {statistics.r:.3f}\nslope {statistics.slope:.3g}")
    horizontal, vertical = {
        "weights": ("a · w$_b$, quantized weights", "a · w$_c$, latent weights"),
        "permuted": ("a · w$_b$, a permuted", "a · w$_c$, a permuted"),
        "activations": ("a$_b$ · w$_b$, quantized activations", "a$_c$ · w$_b$, batch-normed activations"),
    }[kind]
    figure.supxlabel(horizontal)
    figure.supylabel(vertical)
    return figure


def history(log):
    """Accuracy, loss and flip ratio over the epochs of a training."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    accuracy, loss, flips = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in log]
    for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
        for prefix, label, colour in (("", "training", 0), ("val_", "validation", 1)):
            axes.plot(epochs, [row[prefix + name] for row in log], color=style.COLOURS[colour], label=label)
        axes.set(xlabel="epoch", ylabel=name)
    accuracy.legend()
    flips.semilogy(epochs, [max(row["flip_ratio"], 1e-9) for row in log], color=style.COLOURS[0])
    flips.set(xlabel="epoch", ylabel="flip ratio")
    return figure


def _panels(count):
    """A figure of `count` square panels in rows of at most four, and its axes; the last ones stay empty."""
    columns = min(4, max(1, count))
    rows = -(-max(1, count) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid
