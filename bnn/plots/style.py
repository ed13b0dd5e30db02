"""The style that all figures share: colours, sizes, and how a figure is shown and saved.

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


def in_style():
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
