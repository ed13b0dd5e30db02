"""Figures of quantizers with several levels: sampled vectors beside the closed forms of `bnn.geometry.levels`.

A quantizer is a pair (thresholds, values), see `bnn.geometry.levels`. Angles are passed in radians and shown in
degrees.
"""

import numpy as np

from bnn import geometry
from bnn.geometry import levels
from bnn.plots import primitives, style
from bnn.plots.names import shortened
from bnn.plots.primitives import density, points
from bnn.plots.style import BLACK, BLUE, COLORS, GRAY, GREEN, ORANGE, PURPLE

LETTERS = 24  # of a name
MARKS, LINES = (BLUE, PURPLE, GREEN), (":", "-.", "--")


@style.styled
def ternary_angles(angles, zeros, marks=None, axes=None):
    """Draw the angle and the fraction of zeros of a ternarized vector against the threshold (paper, ternary networks).

    Args:
        angles: dict from threshold / sigma to an array of sampled angles, radians.
        zeros: dict from threshold / sigma to the sampled fraction of zeros, in [0, 1].
        marks: None, or a dict from a name to the threshold / sigma where it is drawn, with at most three entries.
        axes: None, or two Axes.

    Returns:
        Figure
    """
    fig, (left, right) = style.axes_for(axes, 2, height=3.4)
    grid, marks = np.linspace(0, max(angles), 200), marks or {}
    closed = np.degrees(np.arccos(geometry.ternary_cos(grid)))
    sampled = [np.degrees(sample).mean() for sample in angles.values()]
    for ax, curve, found, name in (
        (left, closed, dict(zip(angles, sampled, strict=True)), "angle (degrees)"),
        (right, geometry.ternary_zeros(grid), zeros, "fraction of zeros"),
    ):
        ax.plot(grid, curve, color=ORANGE, label="closed form")
        points(ax, list(found), list(found.values()), label="sampled")
        for mark, value, color, line in zip(
            shortened(marks, LETTERS), marks.values(), MARKS, LINES, strict=False
        ):
            ax.axvline(value, color=color, linestyle=line, zorder=1, label=f"{mark}: {value:.3g}")
        ax.set(xlabel=r"threshold / $\sigma$", ylabel=name)
    right.legend(loc="lower right")
    right.set(ylim=(0, 1))
    return fig


@style.styled
def quantizer_angles(d, samples, quantizers, axes=None):
    """Draw the angles of quantized vectors, with the normal density that theory predicts for large d.

    Args:
        d: int, the dimension.
        samples: dict from a name to an (n,) array of angles, radians.
        quantizers: dict from the same names to quantizers.
        axes: None, or Axes.

    Returns:
        Figure
    """
    fig, (ax,) = style.axes_for(axes, 1, height=3.2)
    labels = shortened(samples, LETTERS)
    for (name, angles), label, color in zip(samples.items(), labels, COLORS, strict=False):
        mean = levels.quantizer_angle(*quantizers[name])
        std = levels.quantizer_angle_std(*quantizers[name], d)
        x = np.linspace(mean - 5 * std, mean + 5 * std, 200)
        density(ax, np.degrees(angles), color=color, label=f"{label}: {np.degrees(mean):.2f}°")
        normal = np.exp(-(((x - mean) / std) ** 2) / 2) / np.sqrt(2 * np.pi) / np.degrees(std)
        ax.plot(np.degrees(x), normal, color=color)
    ax.set(xlabel="angle (degrees)", ylabel="density (per degree)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.42, 1))
    return fig


@style.styled
def staircases(quantizers, axes=None, *, reach=3.0):
    """Draw the graphs of quantizers and the identity.

    Args:
        quantizers: dict from the number of levels to the quantizer.
        axes: None, or one Axes per quantizer.
        reach: float; the axes show [-reach, reach].

    Returns:
        Figure
    """
    fig, panels = style.axes_for(axes, len(quantizers), height=2.2, sharey=True)
    for ax, (count, (thresholds, values)) in zip(panels, quantizers.items(), strict=True):
        ax.plot([-reach, reach], [-reach, reach], color=GRAY, linewidth=1, linestyle=":")
        ax.stairs(values, [-reach, *thresholds, reach], baseline=None, color=ORANGE, linewidth=2)
        ax.set(title=f"{count} levels", aspect="equal", xlabel="x")
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=(-2, 0, 2))
    panels[0].set(ylabel="q(x)")
    return fig


@style.styled
def level_angles(quantizers, angles, axes=None):
    """Draw the angle against the number of levels, and the spread of the angle against the dimension.

    Args:
        quantizers: dict from the number of levels to the quantizer.
        angles: dict from the number of levels to a dict from the dimension d, in increasing order, to an array of
            angles, radians.
        axes: None, or two Axes.

    Returns:
        Figure
    """
    fig, (left, right) = style.axes_for(axes, 2, height=3.8)
    counts = list(quantizers)
    predicted = np.degrees([levels.quantizer_angle(*quantizer) for quantizer in quantizers.values()])
    left.plot(counts, predicted, color=ORANGE, linewidth=1.5, label=r"arccos $\sqrt{1 - D}$")
    points(left, counts, [np.degrees(list(angles[k].values())[-1]).mean() for k in counts], label="sampled")
    for count, angle in zip(counts, predicted, strict=True):
        left.annotate(f"{angle:.1f}°", (count, angle), (8, 4), textcoords="offset points", color=BLACK)
    left.set_xscale("log", base=2)
    left.set(xticks=counts, xticklabels=counts, xlabel="levels", ylabel="angle (degrees)", ylim=(0, 45))
    left.set(xlim=(counts[0] / 1.2, counts[-1] * 1.8))
    left.legend()

    for k, color, marker in zip(counts, COLORS, "osD^v*", strict=False):
        d = list(angles[k])
        points(right, d, [np.degrees(a).std() for a in angles[k].values()], color=color, marker=marker)
        grid = np.geomspace(min(d), max(d), 50)
        spread = np.degrees(levels.quantizer_angle_std(*quantizers[k], grid))
        right.plot(grid, spread, color=color, linewidth=1.5, label=f"{k} levels")
    right.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="spread of the angle (°)")
    primitives.plain_log(right.yaxis)
    right.legend(loc="lower left")
    return fig


@style.styled
def estimator(estimators, axes=None):
    """Draw the values of quantizers in the forward pass, and the derivatives that the backward pass uses instead.

    Args:
        estimators: dict from a title to (x, values, derivatives), (n,) arrays; x is increasing.
        axes: None, or one Axes per estimator.

    Returns:
        Figure
    """
    fig, panels = style.axes_for(axes, len(estimators), height=3.6, sharey=True)
    titles = shortened(estimators, LETTERS)
    for ax, title, (x, values, derivatives) in zip(panels, titles, estimators.values(), strict=True):
        ax.plot(x, values, color=BLUE, label="forward: value", drawstyle="steps-mid")
        ax.fill_between(x, 0, derivatives, step="mid", color=ORANGE, alpha=0.25, linewidth=0)
        form = {"color": ORANGE, "linestyle": "--", "drawstyle": "steps-mid"}
        ax.plot(x, derivatives, label="backward: derivative", **form)
        ax.set(title=title, xlabel="x", ylim=(-1.25, 1.45), yticks=(-1, 0, 1))
    primitives.legend_below(fig if axes is None else None, panels[0], columns=2)
    return fig
