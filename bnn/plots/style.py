"""The style of every figure: colors, sizes, a figure with its axes, and functions to show and save a figure."""

import functools
import inspect
import io
from contextlib import contextmanager

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib import figure as figures

from bnn.console.arguments import expanded
from bnn.files import atomic
from bnn.plots import fonts

BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY)
BLACK, GRAY, SHADE = "#222222", "#666666", "#E4E4E4"

WIDTH = 7.5  # inches; on a phone with 390 pixels, text of 12 points is then 8.7 pixels high
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
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
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


class Figure(figures.Figure):
    """A Matplotlib figure that a notebook draws if it is the last line of a cell. It uses no global state.

    Attributes:
        alt: str, a text for readers who cannot see the figure.
    """

    alt = ""

    def _repr_png_(self):  # IPython's hook
        return png(self), {"width": _pixels(self)} | ({"alt": self.alt} if self.alt else {})


@contextmanager
def in_style():
    """Context manager that draws figures in this style, on matplotlib's defaults instead of the user's settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def styled(draw):
    """Decorate a function that draws a figure: it uses this style instead of the caller's settings.

    The first line of its documentation, which begins with "Draw", is the alternative text of a new figure.
    """
    signature = inspect.signature(draw)
    described = inspect.getdoc(draw).partition("\n")[0].removeprefix("Draw ")

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with in_style():
            fig = draw(*args, **kwargs)
            fonts.apply(fig)
        if signature.bind(*args, **kwargs).arguments.get("axes") is None:
            fig.alt = described[:1].upper() + described[1:]
        return fig

    return drawn


def sequence(count):
    """Return colors for ordered things such as layers, from dark to light, all legible on white.

    Args:
        count: int, >= 0.

    Returns:
        List of `count` RGBA tuples.
    """
    return [matplotlib.colormaps["viridis"](x) for x in np.linspace(0, 0.88, count)]


def figure(columns=1, rows=1, *, width=10.0, height=3.6, **options):
    """Create a figure and its axes, sized for a page. It uses no global state and need not be closed.

    Args:
        columns: int, number of columns of axes.
        rows: int, number of rows of axes.
        width: float, inches. The figures of this package are `WIDTH` wide.
        height: float, inches per row.
        **options: arguments of `Figure.subplots`.

    Returns:
        figure: Figure.
        axes: `Axes`, or an array of them, the same as from `Figure.subplots`.
    """
    fig = Figure(figsize=(width, height * rows), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def axes_for(axes, count, *, columns=None, **options):
    """Return the figure and the axes that a function draws on: new ones, or those of the caller.

    Args:
        axes: None for a new figure, or `Axes`, or an array_like of `Axes`.
        count: int, the number of axes that the function draws on.
        columns: int, the number of columns of new axes. None puts all axes in one row.
        **options: arguments of `figure`.

    Returns:
        figure: `matplotlib.figure.Figure`.
        axes: (count,) array of `Axes`.

    Raises:
        ValueError: the number of the caller's axes is not `count`.
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
    """Return the figure and the axes of a function that draws one panel per layer, at most three in a row.

    Args:
        axes: None, or the caller's axes, see `axes_for`.
        count: int, the number of panels.
        key: float, the height of a key in inches.

    Returns:
        figure: `matplotlib.figure.Figure`.
        axes: (count,) array of `Axes`.

    Raises:
        ValueError: the number of the caller's axes is not `count`.
    """
    columns = min(3, max(count, 1))
    rows = max(1, -(-count // columns))
    return axes_for(axes, count, columns=columns, width=max(4.8, 2.5 * columns), height=2.4 + key / rows)


def show(fig, name=None, alt=None, *, folder=None):
    """Display a figure in a notebook, with an alternative text for readers who cannot see it.

    Args:
        fig: `matplotlib.figure.Figure`.
        name: str, a file name without suffix; needed only with a folder.
        alt: str, the alternative text. None: what the function that drew the figure draws.
        folder: None, or the path of a folder where the figure is also saved, see `save`.

    Raises:
        ValueError: there is a folder, but no name.
    """
    from IPython.display import Image, display

    if folder:
        if name is None:
            raise ValueError("name: expected the name of a file in the folder, received none")
        save(fig, expanded(folder) / name)
    display(Image(png(fig), width=_pixels(fig), alt=alt or getattr(fig, "alt", None) or None))


def png(fig):
    """Return a figure as the bytes of a PNG file."""
    png = io.BytesIO()
    with in_style():
        fig.savefig(png, format="png")
    return png.getvalue()


def _pixels(fig):
    """The width of a figure on a page, in CSS pixels."""
    return round(96 * fig.get_figwidth())


def save(fig, path, formats=FORMATS):
    """Write a figure, one file per format. Each file is complete, or it is not written at all.

    Args:
        fig: `matplotlib.figure.Figure`.
        path: str or Path without suffix; its folder is created if needed.
        formats: list of str, suffixes that Matplotlib supports.

    Returns:
        List of the paths.

    Raises:
        WriteError: a file cannot be written.
    """
    path = expanded(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = [path.with_name(f"{path.name}.{suffix}") for suffix in formats]
    with in_style(), _laid_out(fig):
        for target in paths:
            with atomic.replacing(target) as temporary:
                fig.savefig(temporary)
    return paths


@contextmanager
def _laid_out(fig):
    """Arrange a figure once instead of once per file, because this takes as long as drawing it."""
    engine = fig.get_layout_engine()
    fig.draw_without_rendering()
    fig.set_layout_engine(None)  # with "none", Matplotlib would draw twice for each file
    try:
        yield
    finally:
        fig.set_layout_engine(engine or "none")
