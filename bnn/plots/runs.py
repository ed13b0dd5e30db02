"""Figure of runs side by side."""

import math

import numpy as np

from bnn.plots import primitives, style
from bnn.plots.style import COLORS

MARKERS = "osD^vP*X"


@style.styled
def side_by_side(comparison, axes=None):
    """Draw r and the angle of every layer for groups of runs. Error bars are standard deviations over the seeds.

    Args:
        comparison: `analysis.side_by_side.Comparison`.
        axes: None, or two Axes.

    Returns:
        Figure
    """
    fig, (r, angle) = style.axes_for(axes, 2, height=3.8)
    for ax, key, label in (
        (r, "r_weights", "correlation r"),
        (angle, "angle_mean_deg", "mean angle (degrees)"),
    ):
        _layers(ax, comparison, key)
        ax.set(ylabel=label)
    primitives.legend_below(fig if axes is None else None, r, columns=3)
    return fig


def _layers(ax, comparison, key):
    layers, groups = comparison.layers, comparison.groups
    for i, group in enumerate(groups):
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
            label=f"{group.name} (n = {len(group.runs)})",
        )
    ax.set_xticks(range(len(layers)), layers, rotation=45, ha="right")
