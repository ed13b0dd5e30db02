"""Drawing: one style, and the primitives that the figures share. They draw given arrays on given `Axes`.

The colours are Okabe and Ito's [1]_, which colour-blind readers tell apart; markers and line styles say the
same again.

References:
    .. [1] M. Okabe & K. Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/.
"""

import io
from pathlib import Path

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY)
BLACK, GREY, SHADE = "#222222", "#666666", "#E4E4E4"

STYLE = {
    "font.size": 12,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.color": GREY,
    "ytick.labelcolor": BLACK,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "savefig.dpi": 130,
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,
}


def style():
    """Context in which figures are drawn in the style."""
    return matplotlib.rc_context(STYLE)


def use_style():
    """Draw everything from here on in the style: for notebooks."""
    matplotlib.rcParams.update(STYLE)


def sequence(count):
    """Colours for things in an order, such as layers: from dark to light, still legible on white.

    Args:
        count: int, >= 0.

    Returns:
        List of `count` RGBA tuples.
    """
    return [matplotlib.colormaps["viridis"](x) for x in np.linspace(0, 0.88, count)]


def figure(columns=1, rows=1, *, width=10.0, height=3.6, **options):
    """A figure and its axes, sized for a slide or a page; no global state, nothing to close.

    Args:
        columns: int, axes side by side.
        rows: int, axes above one another.
        width: float, inches.
        height: float, inches a row.
        **options: of `Figure.subplots`.

    Returns:
        figure: `matplotlib.figure.Figure`.
        axes: `Axes`, or an array of them as `Figure.subplots` gives it.
    """
    fig = Figure(figsize=(width, height * rows), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def show(fig, name, alt, *, folder=None):
    """Display a figure in a notebook, with a text for readers who cannot see it.

    Args:
        fig: `matplotlib.figure.Figure`.
        name: str, a file name without suffix.
        alt: str, the alternative text.
        folder: None, or a path: the figure is also written there, see `save`.
    """
    from IPython.display import Image, display

    if folder:
        save(fig, Path(folder) / name)
    png = io.BytesIO()
    fig.savefig(png, format="png")
    display(Image(png.getvalue(), width=round(fig.get_figwidth() * 90), alt=alt))


def save(fig, path):
    """Write a figure as PDF, SVG and PNG.

    Args:
        fig: `matplotlib.figure.Figure`.
        path: str or Path, without suffix; its folder is made if need be.

    Returns:
        List of the three paths.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = [path.with_name(f"{path.name}.{suffix}") for suffix in ("pdf", "svg", "png")]
    for target in paths:
        fig.savefig(target)
    return paths


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
        histogram: `bnn.streaming.Histogram2D`.

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
