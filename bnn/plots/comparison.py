"""A trained network next to the paper's, and next to itself without quantizers."""

import numpy as np
from matplotlib.ticker import PercentFormatter

from bnn.plots import primitives, style
from bnn.plots.names import shortened
from bnn.plots.style import BLACK, BLUE, ORANGE, SKY

LETTERS = 14  # of the name of a layer
PANELS = {
    "r_weights": "r (Fig 3)",
    "r_permuted": "r permuted (Fig 4)",
    "r_activations": "r activations (Fig 5)",
}


@style.styled
def beside_paper(rows, axes=None):
    """Draw the correlations of Figs 3, 4 right and 5, and those of the paper for layers with the same names.

    Args:
        rows: list of dicts from `paper.beside`.
        axes: None, or three Axes.

    Returns:
        Figure
    """
    names = shortened([row["layer"] for row in rows], LETTERS)
    fig, panels = style.axes_for(axes, 3, height=3.6, sharey=True)
    theirs = {"color": ORANGE, "marker": "D", "markerfacecolor": "white", "label": "paper"}
    for ax, (key, title) in zip(panels, PANELS.items(), strict=True):
        for name, form in (
            (key, {"color": BLUE, "marker": "o", "label": "this network"}),
            (f"paper_{key}", theirs),
        ):
            values = [np.nan if row[name] is None else row[name] for row in rows]
            ax.plot(range(len(rows)), values, linestyle=":", linewidth=1, markeredgewidth=1.5, **form)
        ax.set(title=title)
        ax.set_xticks(range(len(rows)), names, rotation=90)
        ax.grid(axis="y", alpha=0.4)
    lowest = min((row[key] for row in rows for key in PANELS if row[key] is not None), default=0)
    panels[0].set(ylabel="correlation", ylim=(min(0.5, lowest - 0.05), 1.02))
    primitives.legend_below(fig if axes is None else None, panels[0], columns=2)
    return fig


@style.styled
def unbinarizing(rows, images, axes=None):
    """Draw the accuracy without quantizers, with and without refitted batch norm, for kernels and for activations.

    Error bars are standard errors. The dashed line is the accuracy of the trained network.

    Args:
        rows: list of dicts from `ablation.accuracies`.
        images: int, the number of test images.
        axes: None, or one Axes for the kernels and one for the activations, if the rows contain both.

    Returns:
        Figure
    """
    kinds = [what for what in ("kernels", "activations") if any(row["what"] == what for row in rows)]
    most = max(sum(row["what"] == what for row in rows) for what in kinds)
    fig, panels = style.axes_for(axes, len(kinds), height=0.45 * most + 1.4, sharex=True)
    layers = list(dict.fromkeys(_layer(row) for row in rows))
    names = dict(zip(layers, shortened(layers, LETTERS), strict=True))
    for ax, what in zip(panels, kinds, strict=True):
        _bars(ax, [row for row in rows if row["what"] == what or row["layer"] == "none"][::-1], images, names)
        ax.axvline(rows[0]["stale"], color=ORANGE, linestyle="--", linewidth=1.5, label="as trained")
        ax.set(title=f"continuous {what} in", xlabel="test accuracy", xlim=(0, 1))
    primitives.legend_below(fig if axes is None else None, panels[0], columns=3)
    return fig


def _layer(row):
    return row["layer"].removesuffix("_activation")


def _bars(ax, rows, images, names):
    place, refitted = np.arange(len(rows)), np.array([row["refitted"] for row in rows])
    ax.barh(place + 0.2, refitted, 0.38, color=BLUE, label="refitted")
    error = np.sqrt(refitted * (1 - refitted) / images)
    ax.errorbar(refitted, place + 0.2, xerr=error, fmt="none", ecolor=BLACK, capsize=3)
    form = {"color": SKY, "hatch": "///", "edgecolor": "white", "label": "not refitted"}
    ax.barh(place - 0.2, [row["stale"] for row in rows], 0.38, **form)
    ax.set_yticks(place, [names[_layer(row)] for row in rows])
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
