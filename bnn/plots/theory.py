"""Figures of the theory: sampled vectors beside the closed forms of `bnn.geometry` and `bnn.geometry.levels`.

Each function draws given samples on one `Axes` and the theory over them. Angles come in radians and are shown
in degrees. "Angle of the mean" is arccos of a mean cosine: the mean cosine is what the closed forms give.
"""

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from bnn import geometry
from bnn.geometry import levels
from bnn.plots.primitives import density, points, reference
from bnn.plots.style import BLACK, BLUE, GREY, ORANGE

LIMIT = np.degrees(np.arccos(geometry.LIMIT_COS))


def random_and_sign(ax, d, pair_angles, sign_angles):
    """Angles of random pairs and of vectors with their signs, in one dimension d (paper, Fig 2a).

    Args:
        ax: Axes.
        d: int, >= 2.
        pair_angles: (n,) array, radians.
        sign_angles: (n,) array, radians.
    """
    theta = np.linspace(0, 180, 361)
    density(ax, np.degrees(pair_angles), bins=np.arange(0, 181, 4), colour=BLUE, label="two random vectors")
    ax.plot(
        theta,
        np.radians(geometry.direction_angle_density(np.radians(theta), d)),
        color=BLUE,
        label="exact density",
    )
    density(
        ax, np.degrees(sign_angles), bins=np.arange(0, 91, 1), colour=ORANGE, label="a vector and its sign"
    )
    mean = np.degrees(np.arccos(geometry.expected_cos_sign(d)))
    ax.axvline(mean, color=ORANGE, linestyle="--", label="angle of exact mean cosine")
    ax.axvline(LIMIT, color=GREY, linestyle=":", label=f"limit, {LIMIT:.2f}°")
    ax.set(title=f"d = {d}", xlim=(0, 180), xticks=np.arange(0, 181, 45), xlabel="angle (degrees)")


def mean_angle(ax, d, cosines):
    """Angle of the mean against the dimension, with the exact curve and its limit.

    Args:
        ax: Axes.
        d: list of k ints.
        cosines: list of k arrays, cos angle(x, sign x).
    """
    mean, error = _mean_and_error(cosines)
    slope = np.degrees(1 / np.sqrt(1 - mean**2))
    points(ax, d, np.degrees(np.arccos(mean)), error * slope, label="sampled")
    grid = np.geomspace(min(d), max(d), 200)
    ax.plot(grid, np.degrees(np.arccos(geometry.expected_cos_sign(grid))), color=ORANGE, label="exact")
    reference(ax, LIMIT, f"arccos √(2/π) = {LIMIT:.2f}°", axis="y", align="right")
    ax.set(xscale="log", xlabel="dimension d", ylabel="angle of the mean cosine (degrees)")
    ax.margins(y=0.1)
    ax.legend(loc="lower right")


def angle_spread(ax, d, cosines):
    """Standard deviation of the angle against the dimension, with its leading order (paper, Fig 2c).

    Args:
        ax: Axes.
        d: list of k ints.
        cosines: list of k arrays, cos angle(x, sign x).
    """
    spread = np.array([np.degrees(np.arccos(c)).std() for c in cosines])
    error = spread / np.sqrt([2 * c.size for c in cosines])
    points(ax, d, spread, error, label="sampled")
    grid = np.geomspace(min(d), max(d), 200)
    constant = np.degrees(geometry.std_angle_sign(1))
    ax.plot(grid, constant / np.sqrt(grid), color=ORANGE, label=f"{constant:.2f}° / √d")
    ax.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="spread of the angle (degrees)")
    _plain_log(ax.yaxis)
    ax.legend()


def mean_constant(ax, d, cosines):
    """The constant c in E cos = √(2/π) (1 + c/d + ...): 1/4, where the paper's appendix prints 5/4.

    Args:
        ax: Axes.
        d: list of k ints.
        cosines: list of k arrays, cos angle(x, sign x).
    """
    mean, error = _mean_and_error(cosines)
    d, grid = np.array(d), np.geomspace(min(d), max(d), 200)
    points(ax, d, d * (mean / geometry.LIMIT_COS - 1), d * error / geometry.LIMIT_COS, label="sampled")
    exact = grid * (geometry.expected_cos_sign(grid) / geometry.LIMIT_COS - 1)
    ax.plot(grid, exact, color=ORANGE, label="exact, every d")
    reference(ax, 1 / 4, "1/4", axis="y", align="right", colour=ORANGE)
    reference(ax, 5 / 4, "paper: 5/4", axis="y", align="right", colour=BLUE, linestyle="--")
    ax.set(
        xscale="log",
        xlabel="dimension d",
        ylabel=r"$d\;(\mathrm{E}\,\cos\theta\;/\sqrt{2/\pi} - 1)$",
        ylim=(0, 1.5),
    )
    ax.legend(loc="center left")


def variance_constant(ax, d, cosines):
    """The constant d Var cos: 1 - 3/π, where the paper's appendix prints 1 - 1/π.

    Args:
        ax: Axes.
        d: list of k ints.
        cosines: list of k arrays, cos angle(x, sign x).
    """
    variance = np.array([c.var() for c in cosines])
    d, grid = np.array(d), np.geomspace(min(d), max(d), 200)
    points(ax, d, d * variance, d * variance * np.sqrt([2 / c.size for c in cosines]), label="sampled")
    exact = grid * (geometry.expected_cos2_sign(grid) - geometry.expected_cos_sign(grid) ** 2)
    ax.plot(grid, exact, color=ORANGE, label="exact, every d")
    reference(ax, 1 - 3 / np.pi, "1 - 3/π", axis="y", align="right", colour=ORANGE)
    reference(ax, 1 - 1 / np.pi, "paper: 1 - 1/π", axis="y", align="right", colour=BLUE, linestyle="--")
    ax.set(xscale="log", xlabel="dimension d", ylabel=r"$d\;\mathrm{Var}\,\cos\theta$", ylim=(0, 0.8))
    ax.legend(loc="center left")


def covariance(ax, scale, plain, rotated):
    """Angles of vectors of unequal scales with their signs, without and with a rotation (paper, Fig 4 left).

    Args:
        ax: Axes.
        scale: (d,) array, the standard deviations.
        plain: (n,) array, radians.
        rotated: (n,) array, radians.
    """
    means = geometry.expected_cos_sign_scaled(scale), geometry.expected_cos_sign(len(scale))
    for angles, mean, colour, label in zip(
        (plain, rotated),
        np.degrees(np.arccos(means)),
        (BLUE, ORANGE),
        ("sign(x)", "Rᵀ sign(R x)"),
        strict=True,
    ):
        density(ax, np.degrees(angles), bins=np.arange(0, 91, 0.75), colour=colour, label=label)
        ax.axvline(
            mean, 0, 0.6, color=colour, linestyle="--", linewidth=1.5, label=f"exact mean, {mean:.1f}°"
        )
    ax.set(
        title=f"d = {len(scale)}", xlim=(0, 90), xticks=np.arange(0, 91, 15), xlabel="angle to x (degrees)"
    )
    ax.set(ylim=(0, 1.7 * ax.get_ylim()[1]))  # room for the legend
    ax.legend(loc="upper left")


def ternary_angle(ax, t, angles):
    """Angle of a ternarized vector against its threshold.

    Args:
        ax: Axes.
        t: (k,) array, threshold / sigma.
        angles: list of k arrays, radians.
    """
    grid = np.linspace(0, max(t), 200)
    ax.plot(grid, np.degrees(np.arccos(geometry.ternary_cos(grid))), color=ORANGE, label="closed form")
    points(ax, t, [np.degrees(a).mean() for a in angles], label="sampled")
    ax.set(xlabel=r"threshold / $\sigma$", ylabel="angle (degrees)")


def ternary_zeros(ax, t, zeros):
    """Fraction of zeros of a ternarized vector against its threshold.

    Args:
        ax: Axes.
        t: (k,) array, threshold / sigma.
        zeros: (k,) array in [0, 1].
    """
    grid = np.linspace(0, max(t), 200)
    ax.plot(grid, geometry.ternary_zeros(grid), color=ORANGE, label="closed form")
    points(ax, t, zeros, label="sampled")
    ax.set(xlabel=r"threshold / $\sigma$", ylabel="fraction of zeros", ylim=(0, 1))


def quantizer_angles(ax, d, angles, thresholds, values, *, colour, label):
    """Angles of quantized vectors, with the normal density that theory predicts for large d.

    Args:
        ax: Axes.
        d: int.
        angles: (n,) array, radians.
        thresholds: (k - 1,) array of the quantizer, see `bnn.geometry.levels`.
        values: (k,) array.
        colour: of the density.
        label: str for the legend.
    """
    mean, std = levels.quantizer_angle(thresholds, values), levels.quantizer_angle_std(thresholds, values, d)
    x = np.linspace(mean - 5 * std, mean + 5 * std, 200)
    density(ax, np.degrees(angles), colour=colour, label=f"{label}: {np.degrees(mean):.2f}°")
    normal = np.exp(-(((x - mean) / std) ** 2) / 2) / np.sqrt(2 * np.pi) / np.degrees(std)
    ax.plot(np.degrees(x), normal, color=colour)
    ax.set(xlabel="angle (degrees)")


def staircase(ax, thresholds, values, *, reach=3.0):
    """A quantizer's graph, over the identity.

    Args:
        ax: Axes.
        thresholds: (k - 1,) array.
        values: (k,) array.
        reach: float, the axes show [-reach, reach].
    """
    ax.plot([-reach, reach], [-reach, reach], color=GREY, linewidth=1, linestyle=":")
    ax.stairs(values, [-reach, *thresholds, reach], baseline=None, color=ORANGE, linewidth=2)
    ax.set(
        title=f"{len(values)} levels", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="x"
    )


def level_angles(ax, counts, predicted, angles):
    """Angle against the number of levels.

    Args:
        ax: Axes.
        counts: list of k ints.
        predicted: (k,) array, radians.
        angles: list of k arrays, radians.
    """
    ax.plot(counts, np.degrees(predicted), color=ORANGE, linewidth=1.5, label=r"arccos $\sqrt{1 - D}$")
    points(ax, counts, [np.degrees(a).mean() for a in angles], label="sampled")
    for count, angle in zip(counts, np.degrees(predicted), strict=True):
        ax.annotate(f"{angle:.1f}°", (count, angle), (8, 4), textcoords="offset points", color=BLACK)
    ax.set_xscale("log", base=2)
    ax.set(xticks=counts, xticklabels=counts, xlabel="levels", ylabel="angle (degrees)", ylim=(0, 45))


def level_spread(ax, d, angles, thresholds, values, *, colour, marker):
    """Standard deviation of the angle against the dimension, for one quantizer.

    Args:
        ax: Axes.
        d: list of k ints.
        angles: list of k arrays, radians.
        thresholds: array of the quantizer.
        values: array of the quantizer.
        colour: of points and line.
        marker: Matplotlib's.
    """
    points(ax, d, [np.degrees(a).std() for a in angles], colour=colour, marker=marker)
    grid = np.geomspace(min(d), max(d), 50)
    predicted = np.degrees(levels.quantizer_angle_std(thresholds, values, grid))
    ax.plot(grid, predicted, color=colour, linewidth=1.5, label=f"{len(values)} levels")
    ax.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="spread of the angle (degrees)")
    _plain_log(ax.yaxis)


def forward_backward(ax, x, values, derivatives, *, title):
    """A straight-through estimator: the map forward, and the derivative that is used in its place backward.

    Args:
        ax: Axes.
        x: (n,) array, increasing.
        values: (n,) array.
        derivatives: (n,) array.
        title: str.
    """
    ax.plot(x, values, color=BLUE, label="forward: value", drawstyle="steps-mid")
    ax.fill_between(x, 0, derivatives, step="mid", color=ORANGE, alpha=0.25, linewidth=0)
    ax.plot(x, derivatives, color=ORANGE, linestyle="--", label="backward: derivative", drawstyle="steps-mid")
    ax.set(title=title, xlabel="x", ylim=(-1.25, 1.45), yticks=(-1, 0, 1))


def correlation_curve(ax, x, predicted, measured, *, colour, marker, label):
    """Correlations of dot products, predicted (line) and measured (points).

    Args:
        ax: Axes.
        x: (k,) array.
        predicted: (k,) array.
        measured: (k,) array.
        colour: of both.
        marker: Matplotlib's.
        label: str for the legend.
    """
    ax.plot(x, predicted, color=colour, linewidth=1.5, label=label)
    points(ax, x, measured, colour=colour, marker=marker)


def _plain_log(axis):
    """Label a logarithmic axis 1, 2, 5, 10, ..."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _mean_and_error(samples):
    """(k,) means of k arrays and their standard errors."""
    return tuple(np.array([f(s) for s in samples]) for f in (np.mean, lambda s: np.std(s) / np.sqrt(s.size)))
