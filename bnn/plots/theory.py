"""Figures of the theory: sampled vectors, their signs and their dot products beside the closed forms of `bnn.geometry`.

Samples are dicts with one entry per panel or per point. Angles are passed in radians and shown in degrees. "Angle of
the mean cosine" is the arccos of a mean cosine, because the closed forms give the mean cosine.
"""

import numpy as np

from bnn import geometry
from bnn.plots import primitives, style
from bnn.plots.names import shortened
from bnn.plots.primitives import density, points, reference
from bnn.plots.style import BLUE, COLORS, GRAY, ORANGE

LETTERS = 24  # of the name of a family of kernels
LIMIT = np.degrees(np.arccos(geometry.LIMIT_COS))


@style.styled
def random_and_sign(pairs, signs, axes=None):
    """Draw angles of random pairs, and of vectors and their signs, one panel per dimension (paper, Fig 2a).

    Args:
        pairs: dict from the dimension, >= 2, to (n,) arrays of angles between two random vectors, radians.
        signs: dict from the same dimensions to (n,) arrays of angles between a vector and its signs, radians.
        axes: None, or one Axes per dimension.

    Returns:
        Figure
    """
    fig, panels = style.axes_for(axes, len(pairs), height=4.0, sharey=True)
    theta = np.linspace(0, 180, 361)
    for ax, d in zip(panels, pairs, strict=True):
        density(ax, np.degrees(pairs[d]), bins=np.arange(0, 181, 4), label="two random vectors")
        exact = np.radians(geometry.direction_angle_density(np.radians(theta), d))
        ax.plot(theta, exact, color=BLUE, label="exact density")
        form = {"color": ORANGE, "label": "a vector and its signs"}
        density(ax, np.degrees(signs[d]), bins=np.arange(0, 91, 1), **form)
        mean = np.degrees(np.arccos(geometry.expected_cos_sign(d)))
        ax.axvline(mean, color=ORANGE, linestyle="--", label="angle of the exact mean cosine")
        ax.axvline(LIMIT, color=GRAY, linestyle=":", label=f"limit, {LIMIT:.2f}°")
        ax.set(title=f"d = {d}", xlim=(0, 180), xticks=np.arange(0, 181, 45), xlabel="angle (degrees)")
    panels[0].set(ylabel="density (per degree)")
    primitives.legend_below(fig if axes is None else None, panels[0], columns=2)
    return fig


@style.styled
def sign_dimensions(cosines, axes=None):
    """Draw the angle of a vector and its signs, mean and spread, against the dimension (theory of Fig 2c).

    Args:
        cosines: dict from the dimension to an array of cos angle(x, sign x).
        axes: None, or two Axes.

    Returns:
        Figure
    """
    fig, (left, right) = style.axes_for(axes, 2, height=3.4)
    d, grid = list(cosines), np.geomspace(min(cosines), max(cosines), 200)
    mean, error = _mean_and_error(cosines)
    slope = np.degrees(1 / np.sqrt(1 - mean**2))
    points(left, d, np.degrees(np.arccos(mean)), error * slope, label="sampled")
    left.plot(grid, np.degrees(np.arccos(geometry.expected_cos_sign(grid))), color=ORANGE, label="exact")
    reference(left, LIMIT, f"arccos √(2/π) = {LIMIT:.2f}°", axis="y", align="right")
    left.set(xscale="log", xlabel="dimension d", ylabel="angle of the mean cosine (°)")
    left.margins(y=0.1)
    left.legend(loc="lower right")

    spread = np.array([np.degrees(np.arccos(c)).std() for c in cosines.values()])
    points(right, d, spread, spread / np.sqrt([2 * c.size for c in cosines.values()]), label="sampled")
    constant = np.degrees(geometry.std_angle_sign(1))
    right.plot(grid, constant / np.sqrt(grid), color=ORANGE, label=f"{constant:.2f}° / √d")
    right.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="spread of the angle (°)")
    primitives.plain_log(right.yaxis)
    right.legend()
    return fig


@style.styled
def sign_constants(cosines, axes=None):
    """Draw two constants of cos θ, θ = angle(x, sign x): 1/4 and 1 - 3/π. The paper's appendix has 5/4 and 1 - 1/π.

    The left panel shows c in E cos θ = √(2/π) (1 + c/d + ...), the right panel shows d Var cos θ.

    Args:
        cosines: dict from the dimension to an array of cos angle(x, sign x).
        axes: None, or two Axes.

    Returns:
        Figure
    """
    fig, (left, right) = style.axes_for(axes, 2, height=3.4)
    d, grid = np.array(list(cosines)), np.geomspace(min(cosines), max(cosines), 200)
    (mean, error), exact = _mean_and_error(cosines), geometry.expected_cos_sign(grid)
    points(left, d, d * (mean / geometry.LIMIT_COS - 1), d * error / geometry.LIMIT_COS, label="sampled")
    left.plot(grid, grid * (exact / geometry.LIMIT_COS - 1), color=ORANGE, label="exact, every d")
    left.set(ylabel=r"$d\;(\mathrm{E}\,\cos\theta\;/\sqrt{2/\pi} - 1)$", ylim=(0, 1.5))

    variance = np.array([c.var() for c in cosines.values()])
    error = d * variance * np.sqrt([2 / c.size for c in cosines.values()])
    points(right, d, d * variance, error, label="sampled")
    exact = grid * (geometry.expected_cos2_sign(grid) - exact**2)
    right.plot(grid, exact, color=ORANGE, label="exact, every d")
    right.set(ylabel=r"$d\;\mathrm{Var}\,\cos\theta$", ylim=(0, 0.8))

    constants = (
        (left, 1 / 4, "1/4", 5 / 4, "5/4"),
        (right, 1 - 3 / np.pi, "1 - 3/π", 1 - 1 / np.pi, "1 - 1/π"),
    )
    for ax, ours, our_text, papers, paper_text in constants:
        reference(ax, ours, our_text, axis="y", align="right", color=ORANGE)
        reference(ax, papers, f"paper: {paper_text}", axis="y", align="right", color=BLUE, linestyle="--")
        ax.set(xscale="log", xlabel="dimension d")
        ax.legend(loc="center left")
    return fig


@style.styled
def rotation(scales, plain, rotated, axes=None):
    """Draw angles of vectors of unequal scales and their signs, without and with a rotation (paper, Fig 4 left).

    Args:
        scales: list of (d,) arrays, the standard deviations, one array per panel.
        plain: list of (n,) arrays, radians.
        rotated: list of (n,) arrays, radians.
        axes: None, or one Axes per panel.

    Returns:
        Figure
    """
    fig, panels = style.axes_for(axes, len(scales), height=4.0)
    for ax, scale, *samples in zip(panels, scales, plain, rotated, strict=True):
        cosines = geometry.expected_cos_sign_scaled(scale), geometry.expected_cos_sign(len(scale))
        means = np.degrees(np.arccos(cosines))
        for angles, mean, color, label in zip(
            samples, means, (BLUE, ORANGE), ("sign(x)", "Rᵀ sign(R x)"), strict=True
        ):
            density(ax, np.degrees(angles), bins=np.arange(0, 91, 0.75), color=color, label=label)
            ax.axvline(
                mean, color=color, linestyle="--", linewidth=1.5, label="angle of the exact mean cosine"
            )
        ax.set(title=f"d = {len(scale)}\n{means[0]:.1f}°, rotated {means[1]:.1f}°")
        ax.set(xlim=(0, 90), xticks=np.arange(0, 91, 30), xlabel="angle to x (degrees)")
    panels[0].set(ylabel="density (per degree)")
    primitives.legend_below(fig if axes is None else None, panels[0], columns=2)
    return fig


@style.styled
def correlations(rates, predicted, measured, axes=None):
    """Draw correlations of dot products against the decay rate of the inputs' components: theory and measured points.

    Args:
        rates: (k,) array, the decay rates.
        predicted: dict from the name of a family of kernels to (k,) arrays.
        measured: dict from the same names to (k,) arrays.
        axes: None, or Axes.

    Returns:
        Figure
    """
    fig, (ax,) = style.axes_for(axes, 1, height=3.8)
    for name, label, color, marker in zip(
        predicted, shortened(predicted, LETTERS), COLORS, "osD^v*", strict=False
    ):
        ax.plot(rates, predicted[name], color=color, linewidth=1.5, label=label)
        points(ax, rates, measured[name], color=color, marker=marker)
    reference(ax, geometry.LIMIT_COS, "cosine of the angle", axis="y", align="right")
    ax.set(xlabel="rate k of the inputs' principal components", ylabel="correlation r", ylim=(0, 1.02))
    ax.legend(loc="lower left")
    return fig


def _mean_and_error(samples):
    """Return the (k,) means of k arrays and their standard errors."""
    samples = samples.values()
    return np.array([s.mean() for s in samples]), np.array([s.std() / np.sqrt(s.size) for s in samples])
