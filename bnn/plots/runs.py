"""Figure of runs side by side."""

import math

import numpy as np

from bnn.plots import history, primitives, style
from bnn.plots.names import shortened
from bnn.plots.style import COLORS

LETTERS, GROUP_LETTERS = 14, 24  # of the names of layers and groups
MARKERS = "osD^vP*X"


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
