"""What the figures share: primitives that draw given arrays on given `Axes`."""

import numpy as np
from matplotlib.colors import LogNorm

from bnn.plots.style import BLACK, BLUE, GREY, SHADE


def density(ax, sample, *, bins=50, colour=BLUE, label=None):
    """Histogram of a sample, normalized to a density.

    Args:
        ax: Axes.
        sample: (n,) array_like; what is not finite is left out.
        bins: int, or edges.
        colour: of edge and filling.
        label: str for the legend, or None.
    """
    sample = np.asarray(sample)
    sample = sample[np.isfinite(sample)]
    ax.hist(sample, bins, density=True, histtype="stepfilled", color=colour, alpha=0.4, label=label)


def points(ax, x, y, error=None, *, colour=BLACK, marker="o", label=None):
    """Measured points, with bars where errors are given.

    Args:
        ax: Axes.
        x: (n,) array_like.
        y: (n,) array_like.
        error: (n,) array_like of standard errors, or None.
        colour: of the points.
        marker: Matplotlib's.
        label: str for the legend, or None.
    """
    form = {"color": colour, "marker": marker, "linestyle": "none", "markerfacecolor": "white"}
    ax.errorbar(
        np.asarray(x),
        np.asarray(y),
        error,
        markeredgewidth=1.5,
        elinewidth=1.5,
        capsize=3,
        label=label,
        zorder=3,
        **form,
    )


def reference(ax, value, text, *, axis="x", colour=GREY, at=1.0, align="left", linestyle=":"):
    """A line across the axes at a known value, with its name beside it.

    Args:
        ax: Axes.
        value: float, on `axis`.
        text: str, the name; a line break goes on.
        axis: "x" for a vertical line, "y" for a horizontal one.
        colour: of line and text.
        at: float in [0, 1], the place of the text along the line.
        align: "left" or "right": on which side of the place (x) or with which end at it (y) the text is.
        linestyle: Matplotlib's.
    """
    draw, transform = {
        "x": (ax.axvline, ax.get_xaxis_transform()),
        "y": (ax.axhline, ax.get_yaxis_transform()),
    }[axis]
    draw(value, color=colour, linewidth=1.5, linestyle=linestyle, zorder=1)
    place, shift, va = ((value, at), (4, 0), "top") if axis == "x" else ((at, value), (0, 3), "bottom")
    shift = (-shift[0], shift[1]) if align == "right" else shift
    form = {"color": colour, "fontsize": 11, "ha": align, "va": va}
    ax.annotate(text, place, shift, transform, "offset points", **form)


def legend_below(fig, ax, *, columns):
    """One legend for all of a figure's axes, below them.

    Args:
        fig: `matplotlib.figure.Figure`.
        ax: Axes, whose handles and labels are shown.
        columns: int.
    """
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def dot_products(ax, histogram):
    """2-D histogram of pairs of dot products, log density; the quadrants where the signs differ are shaded.

    Args:
        ax: Axes.
        histogram: `bnn.geometry.Histogram2D`.

    Returns:
        The mesh, for a colour bar.
    """
    x, y, counts = histogram.x_edges, histogram.y_edges, histogram.counts
    for low, high, left, right in ((0, y[-1], x[0], 0), (y[0], 0, 0, x[-1])):
        ax.fill_between([left, right], low, high, color=SHADE, linewidth=0, zorder=0)
    shown = np.ma.masked_equal(counts.T, 0)
    norm = LogNorm(1, max(counts.max(), 2))
    mesh = ax.pcolormesh(x, y, shown, norm=norm, cmap="viridis", rasterized=True, zorder=1)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    return mesh
