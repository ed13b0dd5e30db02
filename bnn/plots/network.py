"""Figures of one trained network, beside theory and beside the paper: reports and tables to matplotlib figures.

The plain ones, which analyze.py draws too, are in `bnn.plots.overview`.
"""

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from scipy.stats import gaussian_kde

from bnn.geometry import components
from bnn.plots import primitives, style
from bnn.plots.style import BLACK, BLUE, GREY, ORANGE

KERNELS = 32  # shown of a first layer


def angles(layers):
    """Densities of the angle between quantized and latent kernel: over the whole range, and a row a layer (Fig 2b).

    Args:
        layers: list of LayerReport.

    Returns:
        Figure. The marks are the angles of Gaussian weights, from each layer's size, threshold and spread.
    """
    fig, (whole, zoomed) = style.figure(2, height=max(3.6, 0.55 * len(layers) + 1), width_ratios=(2, 3))
    colours = style.sequence(len(layers))
    for row, (layer, colour) in enumerate(zip(layers, colours, strict=True)):
        values = np.degrees(layer.angles[np.isfinite(layer.angles)])
        theory = np.degrees(layer.theory_angle())
        grid, density = _density(values)
        whole.plot(grid, density, color=colour)
        base = len(layers) - 1 - row
        zoomed.fill_between(
            grid, base, base + 0.8 * density / max(density.max(), 1e-9), color=colour, alpha=0.8, lw=0
        )
        zoomed.plot(values, np.full_like(values, base - 0.1), "|", color=colour, markersize=4, alpha=0.6)
        zoomed.plot(
            [theory] * 2, [base - 0.15, base + 0.85], color=ORANGE, label="" if row else "Gaussian weights"
        )
    whole.axvline(np.degrees(np.median([layer.theory_angle() for layer in layers])), color=ORANGE, zorder=0)
    whole.set(
        xlim=(0, 90),
        xticks=range(0, 91, 15),
        ylim=(0, None),
        xlabel="angle (degrees)",
        ylabel="density (per degree)",
    )
    names = [f"{layer.name}, d = {len(layer.kernels.quantized)}" for layer in layers]
    zoomed.set(yticks=range(len(layers))[::-1], yticklabels=names, xlabel="angle (degrees), zoomed")
    zoomed.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    zoomed.tick_params(axis="y", length=0)
    return fig


def angle_spread(layers):
    """Standard deviation of the angle over a layer's units against the fan-in d, log-log (Fig 2c).

    Args:
        layers: list of LayerReport.

    Returns:
        Figure. Bars are standard errors. Crosses: Gaussian weights of each layer's d and threshold.
    """
    fig, ax = style.figure(width=8, height=3.8)
    products = []
    for layer, colour in zip(layers, style.sequence(len(layers)), strict=True):
        values, d = np.degrees(layer.angles[np.isfinite(layer.angles)]), len(layer.kernels.quantized)
        theory = np.degrees(layer.theory_spread())
        products.append(theory * np.sqrt(d))
        ax.plot(d, theory, "x", color=ORANGE, markeredgewidth=2, markersize=9, zorder=4)
        if len(values) > 1 and values.std() > 0:
            spread = values.std(ddof=1)
            error = spread / np.sqrt(2 * (len(values) - 1))
            primitives.points(ax, [d], [spread], [error], colour=colour, label=layer.name)
    sizes = [len(layer.kernels.quantized) for layer in layers]
    grid = np.geomspace(min(sizes) / 1.5, max(sizes) * 1.5, 50)
    ax.plot(grid, np.median(products) / np.sqrt(grid), "-x", markevery=[], color=ORANGE, linewidth=1)
    ax.plot([], [], "-x", color=ORANGE, linewidth=1, markeredgewidth=2, label="Gaussian weights, slope -1/2")
    ax.set(xscale="log", yscale="log", xlabel="fan-in d", ylabel="spread of the angle (degrees)")
    for axis, steps in ((ax.xaxis, (1,)), (ax.yaxis, (1, 2, 5))):
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def _density(values):
    """A density over degrees; what does not vary is a peak."""
    if len(values) < 2 or np.ptp(values) < 1e-6:
        centre = values[0] if len(values) else 0.0
        return np.array([centre - 0.1, centre, centre + 0.1]), np.array([0.0, 1.0, 0.0])
    reach = 3 * values.std() / len(values) ** 0.2
    grid = np.linspace(values.min() - reach, values.max() + reach, 400)
    return grid, gaussian_kde(values)(grid)


def beside_paper(rows):
    """The correlations of Figs 3, 4 (right) and 5: this network's, and the paper's where a layer has its name.

    Args:
        rows: list of dicts, from `paper.beside`.

    Returns:
        Figure
    """
    titles = {"r_weights": "weights", "r_permuted": "inputs permuted", "r_activations": "activations"}
    fig, axes = style.figure(3, height=3.8, sharey=True)
    names = [row["layer"] for row in rows]
    for ax, (key, title) in zip(axes, titles.items(), strict=True):
        for source, form in (
            ("", {"color": BLUE, "marker": "o", "label": "this network"}),
            ("paper_", {"color": ORANGE, "marker": "D", "markerfacecolor": "white", "label": "paper"}),
        ):
            values = [np.nan if row[source + key] is None else row[source + key] for row in rows]
            ax.plot(range(len(rows)), values, linestyle=":", linewidth=1, markeredgewidth=1.5, **form)
        ax.set(title=title)
        ax.set_xticks(range(len(names)), names, rotation=60)
        ax.grid(axis="y", alpha=0.4)
    lowest = min((row[key] for row in rows for key in titles if row[key] is not None), default=0)
    axes[0].set(ylabel="correlation r", ylim=(min(0.5, lowest - 0.05), 1.02))
    primitives.legend_below(fig, axes[0], columns=2)
    return fig


def patch_variance(fractions, published=None):
    """Cumulative variance of the leading principal components of a first layer's input.

    Args:
        fractions: (d,) array, from `components.principal_components`.
        published: dict from a number of components to the share that the paper gives, or None.

    Returns:
        Figure
    """
    fig, ax = style.figure(width=7, height=3.4)
    shown = min(len(fractions), 30)
    count = np.arange(1, shown + 1)
    ax.plot(
        count, np.cumsum(fractions)[:shown], "o-", color=BLUE, markersize=5, label="this network's inputs"
    )
    ax.plot(count, count / len(fractions), color=GREY, linestyle=":", label="if no direction stood out")
    if published:
        form = {"color": ORANGE, "markerfacecolor": "white", "markeredgewidth": 2, "zorder": 3}
        ax.plot(list(published), list(published.values()), "D", label="paper (CIFAR-10)", **form)
    ax.set(xlabel="number of components", ylabel="share of the variance", ylim=(0, 1.03))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="center right")
    return fig


def leading_components(vectors, fractions, shape):
    """The leading principal components as pictures, with their share of the variance.

    Args:
        vectors: (n, d) array, from `components.principal_components`.
        fractions: (n,) array.
        shape: (height, width, channels) with product d.

    Returns:
        Figure of at most nine pictures.
    """
    images = components.as_images(vectors[:9], shape)
    fig, axes = style.figure(len(images), height=1.6, squeeze=False)
    for ax, image, fraction in zip(axes[0], images, fractions, strict=False):
        _picture(ax, components.mosaic(image[None], 1))
        ax.set_title(f"{fraction:.1%}", loc="center", fontsize=11)
    return fig


def first_kernels(layer, shape):
    """The kernels of a first layer, latent and quantized side by side.

    Args:
        layer: LayerReport.
        shape: (height, width, channels) of a kernel.

    Returns:
        Figure of at most `KERNELS` kernels.
    """
    quantized, latent = (k.T[:KERNELS] for k in layer.kernels)
    fig, axes = style.figure(2, height=2.9)
    for ax, kernels, title in ((axes[0], latent, "latent"), (axes[1], quantized, "quantized")):
        _picture(ax, components.mosaic(components.as_images(kernels, shape), 8))
        ax.set(title=title)
    return fig


def _picture(ax, image):
    ax.imshow(image, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def predicted_correlations(layers):
    """The r that second moments predict against the measured one, a colour a layer; and the same after permuting.

    Args:
        layers: list of LayerReport.

    Returns:
        Figure. Permuted inputs are predicted from the mean and the mean square of the inputs' entries alone.
    """
    fig, ax = style.figure(width=7.6, height=5)
    ax.axline((1, 1), slope=1, color=GREY, linewidth=1, zorder=0)
    low = 1.0
    for layer, colour in zip(layers, style.sequence(len(layers)), strict=True):
        pairs = (
            (layer.r_predicted, layer.r_weights),
            (layer.predicted_r_permuted(), layer.r_permuted),
        )
        ax.plot(*pairs[0], "o", color=colour, markersize=9, label=layer.name)
        ax.plot(*pairs[1], "s", color=colour, markersize=8, markerfacecolor="white", markeredgewidth=2)
        low = np.nanmin([low, *np.ravel(pairs)])
    ax.plot(
        [],
        [],
        "s",
        color=GREY,
        markersize=8,
        markerfacecolor="white",
        markeredgewidth=2,
        label="inputs permuted",
    )
    ax.set(xlim=(low - 0.04, 1.02), ylim=(low - 0.04, 1.02), aspect="equal")
    ax.set(xlabel="r predicted", ylabel="r measured")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def unbinarizing(rows, images):
    """Accuracy with quantizers taken out, refitted and not, a panel for kernels and one for activations.

    Args:
        rows: list of dicts, from `ablation.accuracies`.
        images: int, that the accuracies are over: bars are standard errors.

    Returns:
        Figure. The dashed line is the network as trained.
    """
    kinds = [what for what in ("kernels", "activations") if any(row["what"] == what for row in rows)]
    most = max(sum(row["what"] == what for row in rows) for what in kinds)
    fig, axes = style.figure(len(kinds), height=0.5 * most + 1.4, sharex=True, squeeze=False)
    trained = rows[0]["stale"]
    for ax, what in zip(axes[0], kinds, strict=True):
        shown = [row for row in rows if row["what"] == what or row["layer"] == "none"][::-1]
        place, error = (
            np.arange(len(shown)),
            [np.sqrt(r["refitted"] * (1 - r["refitted"]) / images) for r in shown],
        )
        ax.barh(place + 0.2, [r["refitted"] for r in shown], 0.38, color=BLUE, label="refitted")
        ax.errorbar(
            [r["refitted"] for r in shown], place + 0.2, xerr=error, fmt="none", ecolor=BLACK, capsize=3
        )
        ax.barh(
            place - 0.2,
            [r["stale"] for r in shown],
            0.38,
            color=style.SKY,
            hatch="///",
            edgecolor="white",
            label="not refitted",
        )
        ax.axvline(trained, color=ORANGE, linestyle="--", linewidth=1.5, label="as trained")
        ax.set_yticks(place, [r["layer"].removesuffix("_activation") for r in shown])
        ax.set(title=f"continuous {what} in", xlabel="test accuracy", xlim=(0, 1))
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
    primitives.legend_below(fig, axes[0][0], columns=3)
    return fig


def geometry_history(rows, layers):
    """Angle and r of every layer over the epochs of a training (`train.py --log_geometry`).

    Args:
        rows: list of dicts, from `geometry_log.read`.
        layers: list of LayerReport, whose theory angles are the dashed line.

    Returns:
        Figure
    """
    fig, (angle, r) = style.figure(2, height=3.8)
    for layer, colour in zip(layers, style.sequence(len(layers)), strict=True):
        mine = [row for row in rows if row["layer"] == layer.name]
        epochs = [row["epoch"] for row in mine]
        for ax, key in ((angle, "angle_mean_deg"), (r, "r_weights")):
            ax.plot(epochs, [row[key] for row in mine], "o-", color=colour, markersize=3.5, label=layer.name)
    theory = np.degrees(np.median([layer.theory_angle() for layer in layers]))
    angle.axhline(theory, color=ORANGE, linestyle="--", linewidth=1.5, label="Gaussian weights")
    angle.set(xlabel="epoch", ylabel="mean angle (degrees)")
    r.set(xlabel="epoch", ylabel="correlation r")
    primitives.legend_below(fig, angle, columns=4)
    return fig
