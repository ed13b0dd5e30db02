"""Figures of the law that gives r from angle and gains: unit by unit, and the parts of the residual."""

import numpy as np

from bnn.plots import primitives, style
from bnn.plots.names import shortened
from bnn.plots.style import BLUE, COLORS, GRAY, ORANGE

PARTS = ("mean of all entries", "means of the channels", "rest")
LAWS = {"r_two_numbers": ("angle and gain", "o", ORANGE), "r_three_numbers": ("and residual gain", ".", BLUE)}
MOST_LAYERS = 12  # whose names fit below an axis
LETTERS = 16
NARROWEST = 0.9  # where the axes of r start, unless a unit is below


@style.styled
def laws(report, axes=None):
    """Draw r of each unit against what angle and gain foretell, and what the residual gain adds; one panel per layer.

    On the diagonal the law is exact. The title has the mean absolute error of both. With two numbers the law assumes
    that the residual varies like a random direction, with three only that it is not correlated with the kernel.

    Args:
        report: Report, or any iterable of layer reports; layers without dot products are left out.
        axes: None, or Axes, as many as such layers.

    Returns:
        Figure
    """
    layers = [layer for layer in report if np.isfinite(layer.gains.r).any()]
    names = shortened([layer.name for layer in layers], primitives.PANEL_LETTERS)
    fig, panels = style.panels_for(axes, len(layers), key=0.5)
    for layer, name, ax in zip(layers, names, panels, strict=True):
        errors = []
        for law, (label, marker, color) in LAWS.items():
            foretold = getattr(layer.gains, law)
            ax.plot(
                foretold,
                layer.gains.r,
                marker,
                color=color,
                markerfacecolor="none",
                markersize=5,
                label=label,
            )
            errors.append(f"{np.nanmean(np.abs(foretold - layer.gains.r)):.3f}")
        low = min(NARROWEST, ax.get_xlim()[0], ax.get_ylim()[0])
        ax.plot([low, 1], [low, 1], color=GRAY, linewidth=1, zorder=0)
        ax.set(xlim=(low, 1.01), ylim=(low, 1.01), aspect="equal")
        primitives.entitle(ax, name, "\n", "error " + ", ".join(errors))
    primitives.shared_labels(fig if axes is None else None, panels, "r foretold", "r of the unit")
    if axes is None and layers:
        fig.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


@style.styled
def residual_parts(report, axes=None):
    """Draw the parts of each layer's residual: their shares of its energy, and their gains.

    A part with a gain above 1 lies where the inputs vary, so that its rounding errors do not cancel.

    Args:
        report: Report, or any iterable of layer reports; layers without residual are left out.
        axes: None, or two Axes: for the shares and for the gains.

    Returns:
        Figure
    """
    layers = [layer for layer in report if np.isfinite(layer.residual_gains.share).any()]
    fig, (left, right) = style.axes_for(axes, 2, height=4.2)
    names, places = shortened([layer.name for layer in layers], LETTERS), np.arange(len(layers))
    below = np.zeros(len(layers))
    for part, (label, color) in enumerate(zip(PARTS, COLORS, strict=False)):
        shares = np.array([np.nanmean(layer.residual_gains.share[part]) for layer in layers])
        left.bar(places, shares, 0.7, below, color=color, label=label)
        below += shares
        gains = [_mean_gain(layer.residual_gains, part) for layer in layers]
        right.plot(places, gains, "o", color=color, label=label)
    right.plot(places, [layer.residual_gain for layer in layers], "k_", markersize=14, label="whole residual")
    right.axhline(1, color=GRAY, linewidth=1, zorder=0)
    left.set(ylabel="share of the residual's energy")
    right.set(yscale="log", ylabel="gain of the part")
    for ax in (left, right):
        ax.set_xticks(places, names, rotation=90 if len(layers) > MOST_LAYERS else 60)
    primitives.legend_below(fig if axes is None else None, right, columns=4)
    return fig


def _mean_gain(parts, part):
    """The mean over the units that have the part."""
    gains = parts.gain[part]
    return np.mean(gains[np.isfinite(gains)]) if np.isfinite(gains).any() else np.nan
