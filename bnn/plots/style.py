"""The style of every figure: colors, sizes, a figure with its axes, and how a figure is shown and saved."""

import functools
import io
from pathlib import Path

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

from bnn.files import atomic

BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY)
BLACK, GRAY, SHADE = "#222222", "#666666", "#E4E4E4"

WIDTH = 7.5  # inches; on a phone of 390 pixels, text of 12 points is then 8.7 pixels high
FORMATS = ("pdf", "svg", "png")

STYLE = {
    "font.size": 12,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRAY,
    "axes.labelcolor": BLACK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "figure.dpi": 130,
    "figure.labelsize": 12,
    "xtick.color": GRAY,
    "xtick.labelcolor": BLACK,
    "ytick.color": GRAY,
    "ytick.labelcolor": BLACK,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,
}


def in_style():
    """Context in which figures are drawn in the style."""
    return matplotlib.rc_context(STYLE)


def styled(draw):
    """Decorator of a function that draws a figure: it draws in the style, whatever the caller's settings are."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with in_style():
            return draw(*args, **kwargs)

    return drawn


def sequence(count):
    """Colors for things in an order, such as layers: from dark to light, still legible on white.

    Args:
        count: int, >= 0.

    Returns:
        List of `count` RGBA tuples.
    """
    return [matplotlib.colormaps["viridis"](x) for x in np.linspace(0, 0.88, count)]


def figure(columns=1, rows=1, *, width=10.0, height=3.6, **options):
    """A figure and its axes, sized for a page; no global state, nothing to close.

    Args:
        columns: int, axes side by side.
        rows: int, axes above one another.
        width: float, inches; the figures of this package are `WIDTH` wide.
        height: float, inches per row.
        **options: of `Figure.subplots`.

    Returns:
        figure: `matplotlib.figure.Figure`.
        axes: `Axes`, or an array of them as `Figure.subplots` gives it.
    """
    fig = Figure(figsize=(width, height * rows), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def axes_for(axes, count, *, columns=None, **options):
    """The figure and the axes that a function draws on: new ones, or the caller's.

    Args:
        axes: None for a new figure; `Axes`, or an array_like of them.
        count: int, how many axes the function draws on.
        columns: int, new axes side by side; None: all of them.
        **options: of `figure`.

    Returns:
        figure: `matplotlib.figure.Figure`.
        axes: (count,) array of `Axes`.

    Raises:
        ValueError: the caller's axes are not as many as needed.
    """
    if axes is None:
        columns = columns or max(count, 1)
        options = {"width": WIDTH, "squeeze": False} | options
        fig, grid = figure(columns, max(1, -(-count // columns)), **options)
        for empty in grid.flat[count:]:
            empty.set_axis_off()
        return fig, grid.reshape(-1)[:count]
    given = np.ravel(axes)
    if len(given) != count:
        raise ValueError(f"axes: expected {count}, received {len(given)}")
    return given[0].figure, given


def panels_for(axes, count, *, key=0.0):
    """The figure and the axes of a function that draws one panel per layer, at most three side by side.

    Args:
        axes: None or the caller's, see `axes_for`.
        count: int, panels.
        key: float, inches of height that a key needs.

    Returns:
        figure: `matplotlib.figure.Figure`.
        axes: (count,) array of `Axes`.

    Raises:
        ValueError: the caller's axes are not as many as needed.
    """
    columns = min(3, max(count, 1))
    rows = max(1, -(-count // columns))
    return axes_for(axes, count, columns=columns, width=max(4.8, 2.5 * columns), height=2.4 + key / rows)


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
    with in_style():
        fig.savefig(png, format="png")
    display(Image(png.getvalue(), width=round(fig.get_figwidth() * 96), alt=alt))


def save(fig, path, formats=FORMATS):
    """Write a figure, one file per format; each file is whole or not there.

    Args:
        fig: `matplotlib.figure.Figure`.
        path: str or Path, without suffix; its folder is made if needed.
        formats: list of str, suffixes that Matplotlib knows.

    Returns:
        List of the paths.

    Raises:
        WriteError: a file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = [path.with_name(f"{path.name}.{suffix}") for suffix in formats]
    with in_style():
        for target in paths:
            with atomic.replacing(target) as temporary:
                fig.savefig(temporary)
    return paths
