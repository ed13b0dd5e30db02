"""The shared parts of the figures: each function draws arrays on given `Axes`."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bnn.plots.names import width
from bnn.plots.style import BLACK, BLUE, GRAY, ORANGE, SHADE

LABEL_SIZE = 11  # points
PANEL_LETTERS, BESIDE = 16, 8  # of a layer's name above one of three panels; if something follows in its line
LETTER, LINE = 0.62 * LABEL_SIZE, 1.15 * LABEL_SIZE  # a letter's largest width, a line's height, in points
# Positions where a name may start, relative to its point, in points. The nearest positions come first.
SHIFTS = [
    (side * (9 if abs(up) < 2 else 16), up * LINE)
    for up in (0, 0.5, -0.5, 1, -1, 2, -2, 3, -3)
    for side in (1, -1)
]


def density(ax, sample, *, bins=50, color=BLUE, label=None):
    """Draw the histogram of a sample, normalized to a density.

    Args:
        ax: Axes.
        sample: (n,) array_like; non-finite values are ignored.
        bins: int, or the edges.
        color: color of the bars.
        label: str for the legend, or None.
    """
    sample = np.asarray(sample)
    sample = sample[np.isfinite(sample)]
    ax.hist(sample, bins, density=True, histtype="stepfilled", color=color, alpha=0.4, label=label)


def points(ax, x, y, error=None, *, color=BLACK, marker="o", label=None):
    """Draw measured points, with error bars if errors are given.

    Args:
        ax: Axes.
        x: (n,) array_like.
        y: (n,) array_like.
        error: (n,) array_like of standard errors, or None.
        color: color of the points.
        marker: Matplotlib marker.
        label: str for the legend, or None.
    """
    form = {"color": color, "marker": marker, "linestyle": "none", "markerfacecolor": "white"}
    form |= {"markeredgewidth": 1.5, "elinewidth": 1.5, "capsize": 3, "zorder": 3}
    ax.errorbar(np.asarray(x), np.asarray(y), error, label=label, **form)


def picture(ax, image, **options):
    """Draw an image without axes.

    Args:
        ax: Axes.
        image: (height, width) or (height, width, 3) array.
        **options: arguments of `Axes.imshow`.
    """
    ax.imshow(image, interpolation="nearest", **options)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def entitle(ax, name, separator, values):
    """Write the name of a layer and its values above one of three panels: in one line only if the name is short.

    Args:
        ax: Axes.
        name: str, from `names.shortened` with `PANEL_LETTERS`.
        separator: str between a short name and the values.
        values: str; it may have several lines.
    """
    separator = separator if width(name) <= BESIDE else "\n"
    ax.set_title(f"{name}{separator}{values}", fontsize=LABEL_SIZE)


def reference(ax, value, text, *, axis="x", color=GRAY, at=1.0, align="left", linestyle=":"):
    """Draw a line across the axes at a known value, with its name.

    Args:
        ax: Axes.
        value: float, the position on `axis`.
        text: str, the name; it may have several lines.
        axis: "x" for a vertical line, "y" for a horizontal line.
        color: color of the line and the text.
        at: float in [0, 1], the position of the text along the line.
        align: "left" or "right". For a vertical line, the edge of the text that is next to the line. For a horizontal
            line, the edge of the text that is at the position `at`.
        linestyle: Matplotlib line style.
    """
    draw, transform = {
        "x": (ax.axvline, ax.get_xaxis_transform()),
        "y": (ax.axhline, ax.get_yaxis_transform()),
    }[axis]
    draw(value, color=color, linewidth=1.5, linestyle=linestyle, zorder=1)
    place, shift, va = ((value, at), (4, 0), "top") if axis == "x" else ((at, value), (0, 3), "bottom")
    shift = (-shift[0], shift[1]) if align == "right" else shift
    form = {"color": color, "fontsize": LABEL_SIZE, "ha": align, "va": va}
    ax.annotate(text, place, shift, transform, "offset points", **form)


def labels(ax, x, y, texts, *, avoid=((), ())):
    """Write names beside points. Each name takes the first free position around its point, or is omitted.

    Args:
        ax: Axes with final limits and scales, because the positions depend on them.
        x: (n,) array_like.
        y: (n,) array_like.
        texts: list of n str; the first names are placed first.
        avoid: two (m,) array_likes, x and y of more points that no name may cover.
    """
    ax.figure.canvas.figure.draw_without_rendering()  # fixes the layout
    spots = _in_points(ax, [*x, *avoid[0]], [*y, *avoid[1]])
    marks = [(left - 3, left + 3, low - 3, low + 3) for left, low in spots]
    frame = _in_points(ax, *zip(*((ax.get_xlim()[i], ax.get_ylim()[i]) for i in (0, 1)), strict=True))
    taken = []
    for text, spot, place in zip(texts, spots, zip(x, y, strict=True), strict=False):
        for shift in SHIFTS:
            box = _box(spot + shift, np.sign(shift[0]) * LETTER * width(text))
            parts = [box, *_leader(spot, shift)]
            if _inside(box, frame) and not any(_overlap(a, b) for a in parts for b in marks + taken):
                taken += parts
                _name(ax, text, place, shift)
                break


def _leader(spot, shift):
    """Return small boxes along the line from a point to its name, or no boxes if the name is next to the point."""
    steps = spot + np.linspace(0.3, 1, 8)[:, None] * shift if abs(shift[1]) > LINE else ()
    return [(left, left, low, low) for left, low in steps]


def _in_points(ax, x, y):
    """Convert data coordinates to (n, 2) positions in points (1/72 inch)."""
    return ax.transData.transform(np.column_stack([x, y])) * 72 / ax.figure.dpi


def _box(start, reach):
    return (*sorted((start[0], start[0] + reach)), start[1] - LINE / 2, start[1] + LINE / 2)


def _inside(box, frame):
    return frame[0, 0] <= box[0] and box[1] <= frame[1, 0] and frame[0, 1] <= box[2] and box[3] <= frame[1, 1]


def _overlap(a, b):
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def _name(ax, text, place, shift):
    line = {"arrowstyle": "-", "color": GRAY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4}
    arrow = line if abs(shift[1]) > LINE else None
    form = {"ha": "left" if shift[0] > 0 else "right", "va": "center", "fontsize": LABEL_SIZE}
    ax.annotate(text, place, shift, textcoords="offset points", color=BLACK, arrowprops=arrow, **form)


def legend_below(fig, ax, *, columns):
    """Draw one legend below all axes of a figure.

    Args:
        fig: Figure that contains only these axes, or None to draw the legend inside `ax`.
        ax: Axes with the handles and labels to show.
        columns: int, the largest number; there are fewer if long labels would not fit into the figure.
    """
    if fig is None:
        ax.legend()
        return
    for number in range(columns, 0, -1):
        legend = fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=number)
        if number == 1 or legend.get_window_extent().width <= fig.bbox.width:
            return
        legend.remove()


def shared_labels(fig, axes, x, y):
    """Write one name for the horizontal axes and one for the vertical axes of all panels.

    Args:
        fig: Figure that contains only these axes, or None to write the names on each of the axes.
        axes: list of Axes.
        x: str.
        y: str.
    """
    if fig is None:
        for ax in axes:
            ax.set(xlabel=x, ylabel=y)
    else:
        fig.supxlabel(x)
        fig.supylabel(y)


def pairs(ax, histogram):
    """Draw the joint histogram of pairs of dot products. The quadrants where the signs differ are shaded.

    The color shows the number of pairs in a cell on a logarithmic scale, from one pair to the number in the fullest
    cell.

    Args:
        ax: Axes.
        histogram: `bnn.geometry.Histogram2D`.

    Returns:
        The mesh, for `pairs_key`.
    """
    x, y, counts = histogram.x_edges, histogram.y_edges, histogram.counts
    for low, high, left, right in ((0, y[-1], x[0], 0), (y[0], 0, 0, x[-1])):
        ax.fill_between([left, right], low, high, color=SHADE, linewidth=0, zorder=0)
    shown, norm = np.ma.masked_equal(counts.T, 0), LogNorm(1, max(counts.max(), 2))
    mesh = ax.pcolormesh(x, y, shown, norm=norm, cmap="viridis", rasterized=True, zorder=1)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    return mesh


def pairs_key(fig, axes, mesh):
    """Draw the key of panels that `pairs` drew: color, shading and line.

    Args:
        fig: Figure that contains only these axes.
        axes: list of Axes.
        mesh: the mesh of one of the panels, from `pairs`.
    """
    bar = fig.colorbar(mesh, ax=list(axes), aspect=30, fraction=0.05, pad=0.02)
    bar.set_ticks(mesh.get_clim(), labels=["1", "most"])
    bar.set_label("pairs per cell (log)", fontsize=LABEL_SIZE, labelpad=-16)
    bar.minorticks_off()
    bar.outline.set_visible(False)
    fig.get_layout_engine().set(w_pad=0.08)
    handles = [
        Patch(color=SHADE, label="shaded: the two signs differ"),
        Line2D([], [], color=ORANGE, linewidth=1.5, label="least squares"),
    ]
    fig.legend(handles=handles, loc="outside upper left", ncols=2)


def plain_log(axis, steps=(1, 2, 5)):
    """Label a logarithmic axis 1, 2, 5, 10, ..., without powers.

    Args:
        axis: Matplotlib axis.
        steps: list of the multiples of each power of ten to label.
    """
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
