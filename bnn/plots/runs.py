"""Figures of runs side by side, and of the settings of a sweep."""

import math

import numpy as np

from bnn.plots import history, primitives, style
from bnn.plots.names import shortened
from bnn.plots.style import BLUE, COLORS, ORANGE

LETTERS, GROUP_LETTERS, SETTING_LETTERS = 14, 24, 40  # of the names of layers, groups and settings
MARKERS = "osD^vP*X"
ACCURACIES = {"test_accuracy": ("test", BLUE, "o"), "val_accuracy": ("best of validation", ORANGE, "D")}


@style.styled
def side_by_side(comparison, axes=None):
    """Draw angle, gain and r of every layer for groups of runs. Error bars are standard deviations over the seeds.

    Args:
        comparison: `analysis.side_by_side.Comparison`.
        axes: None, or three Axes.

    Returns:
        Figure
    """
    fig, panels = style.axes_for(axes, len(history.PANELS), height=3.8)
    for ax, (key, title) in zip(panels, history.PANELS.items(), strict=True):
        _layers(ax, comparison, key)
        ax.set(title=title)
    primitives.legend_below(fig if axes is None else None, panels[0], columns=3)
    return fig


@style.styled
def by_setting(labels, groups, axes=None):
    """Draw the accuracies of the settings of a sweep, one row each. Error bars are standard deviations over the seeds.

    Args:
        labels: list of str, the settings, such as "levels 3, threshold 0.02".
        groups: list of `analysis.side_by_side.Group`, as many.
        axes: None, or one Axes.

    Returns:
        Figure
    """
    fig, (ax,) = style.axes_for(axes, 1, height=0.4 * len(labels) + 1.8)
    for i, (key, (name, color, marker)) in enumerate(ACCURACIES.items()):
        found = [(row, getattr(group, key)) for row, group in enumerate(groups)]
        found = [(row, pooled) for row, pooled in found if pooled is not None]
        ax.errorbar(
            [pooled.mean for _, pooled in found],
            [row + 0.2 * (i - 0.5) for row, _ in found],
            xerr=[0 if math.isnan(pooled.std) else pooled.std for _, pooled in found],
            fmt=marker,
            color=color,
            capsize=3,
            label=name,
        )
    ax.set_yticks(range(len(labels)), shortened(labels, SETTING_LETTERS))
    ax.set(xlabel="accuracy", ylim=(len(labels) - 0.5, -0.5))
    ax.grid(axis="y", alpha=0.4)
    primitives.legend_below(fig if axes is None else None, ax, columns=2)
    return fig


def _layers(ax, comparison, key):
    layers, groups = comparison.layers, comparison.groups
    names = shortened([group.name for group in groups], GROUP_LETTERS)
    for i, (group, name) in enumerate(zip(groups, names, strict=True)):
        values = [
            (place, group.layers[layer].get(key))
            for place, layer in enumerate(layers)
            if layer in group.layers
        ]
        values = [(place, pooled) for place, pooled in values if pooled is not None]
        shift = 0.3 * ((i + 0.5) / len(groups) - 0.5)
        ax.errorbar(
            np.array([place for place, _ in values]) + shift,
            [pooled.mean for _, pooled in values],
            yerr=[0 if math.isnan(pooled.std) else pooled.std for _, pooled in values],
            color=COLORS[i % len(COLORS)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            capsize=3,
            label=f"{name} (n = {len(group.runs)})",
        )
    ax.set_xticks(range(len(layers)), shortened(layers, LETTERS), rotation=90)
