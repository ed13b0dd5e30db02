"""Figures of a training run: its log, and the geometry of its layers over the epochs."""

import numpy as np

from bnn.plots import primitives, style
from bnn.plots.names import shortened
from bnn.plots.style import BLUE, ORANGE

LETTERS = 24  # of the name of a layer
PANELS = {"angle_mean_deg": "angle (°)", "gain": "gain", "r_weights": "r"}


@style.styled
def training(log, axes=None):
    """Draw accuracy, loss and flip ratio over the epochs of a training run.

    Args:
        log: list of dicts, the rows of log.csv from `Run.log`.
        axes: None, or three Axes.

    Returns:
        Figure
    """
    fig, (accuracy, loss, flips) = style.axes_for(axes, 3, height=2.6)
    epochs = [row["epoch"] for row in log]
    for ax, name in ((accuracy, "accuracy"), (loss, "loss")):
        for prefix, label, color in (("", "training", BLUE), ("val_", "validation", ORANGE)):
            ax.plot(epochs, [row[prefix + name] for row in log], color=color, label=label)
        ax.set(xlabel="epoch", title=name)
    accuracy.legend()
    flips.semilogy(epochs, [max(row["flip_ratio"], 1e-9) for row in log], color=BLUE)
    flips.set(xlabel="epoch", title="flip ratio")
    return fig


@style.styled
def geometry_history(rows, report, axes=None):
    """Draw angle, gain and r of every layer over the epochs of a training run (`train.py --log_geometry`).

    Args:
        rows: list of dicts from `geometry_log.read`.
        report: Report, or any iterable of layer reports. The dashed line is the median of the Gaussian angles of the
            layers with a quantizer, if there are any.
        axes: None, or three Axes.

    Returns:
        Figure
    """
    layers = list(report)
    fig, panels = style.axes_for(axes, len(PANELS), height=3.4)
    names = shortened([layer.name for layer in layers], LETTERS)
    for layer, name, color in zip(layers, names, style.sequence(len(layers)), strict=True):
        mine = [row for row in rows if row["layer"] == layer.name]
        epochs = [row["epoch"] for row in mine]
        for ax, key in zip(panels, PANELS, strict=True):
            ax.plot(epochs, [row[key] for row in mine], "o-", color=color, markersize=3.5, label=name)
    theory = [layer.angle_theory_deg for layer in layers if layer.quantizer is not None]
    if np.isfinite(theory).any():
        line = {"color": ORANGE, "linestyle": "--", "linewidth": 1.5, "label": "Gaussian weights"}
        panels[0].axhline(np.nanmedian(theory), **line)
    for ax, title in zip(panels, PANELS.values(), strict=True):
        ax.set(xlabel="epoch", title=title)
    primitives.legend_below(fig if axes is None else None, panels[0], columns=4)
    return fig
