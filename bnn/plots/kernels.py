"""Figures of a network's kernels: the angles between latent and quantized kernels, and the weights (paper, Fig 2)."""

import numpy as np
from matplotlib.patches import ConnectionPatch
from scipy.stats import gaussian_kde

from bnn.plots import primitives, style
from bnn.plots.names import shortened
from bnn.plots.style import BLUE, ORANGE, SHADE

LETTERS = 24  # of the name of a layer


@style.styled
def angles(report, axes=None):
    """Draw densities of the angle between quantized and latent kernels, one row per layer (paper, Fig 2b).

    The upper axes show the whole range, with all densities scaled to the same height. The lower axes show the shaded
    part of the range, with a tick for each kernel. The orange marks are the angles of Gaussian weights, for each
    layer's fan-in, threshold and standard deviation.

    Args:
        report: Report, or any iterable of layer reports.
        axes: None, or two Axes.

    Returns:
        Figure
    """
    layers = list(report)
    height, whole_height = 0.45 * len(layers) + 0.8, 1.5
    fig, (whole, zoomed) = style.axes_for(
        axes, 2, columns=1, height=(height + whole_height) / 2, height_ratios=(whole_height, height)
    )
    for row, (layer, color) in enumerate(zip(layers, style.sequence(len(layers)), strict=True)):
        _angles_of(layer, len(layers) - 1 - row, color, whole, zoomed)
    names = shortened([layer.name for layer in layers], LETTERS)
    ticks = [f"{name}, d = {layer.d}" for name, layer in zip(names, layers, strict=True)]
    zoomed.set(yticks=range(len(layers))[::-1], yticklabels=ticks, ylim=(-0.4, len(layers)))
    zoomed.set(xlabel="angle (degrees)")
    zoomed.tick_params(axis="y", length=0)
    whole.plot([], [], color=ORANGE, label="Gaussian weights")
    whole.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    _whole_range(whole, zoomed)
    return fig


def _angles_of(layer, base, color, whole, zoomed):
    """Draw the row of a layer, which starts at the height `base`. A layer whose kernels do not change gets a note."""
    values = np.degrees(layer.angles[np.isfinite(layer.angles)])
    if not values.any():
        note = "unchanged by quantization: 0°" if values.size else "no angle: all kernels become 0"
        zoomed.annotate(note, (0, base), (6, 0), zoomed.get_yaxis_transform(), "offset points")
        return
    theory = layer.angle_theory_deg
    grid, density = _density(values)
    density = density / density.max()
    whole.fill_between(grid, 0, density, color=color, alpha=0.6, linewidth=0)
    zoomed.fill_between(grid, base, base + 0.8 * density, color=color, alpha=0.8, linewidth=0)
    zoomed.plot(values, np.full_like(values, base - 0.1), "|", color=color, markersize=4, alpha=0.6)
    zoomed.plot([theory] * 2, [base - 0.15, base + 0.85], color=ORANGE)


def _whole_range(whole, zoomed):
    """Set the limits to 0 to 90 degrees, and draw lines from the shaded part to the zoomed axes."""
    low, high = np.clip(zoomed.get_xlim(), 0, 90)
    zoomed.set_xlim(low, high)
    whole.axvspan(low, high, color=SHADE, linewidth=0, zorder=0)
    primitives.reference(whole, 90, "unrelated\nvectors", align="right")
    whole.set(xlim=(0, 90), xticks=range(0, 91, 15), ylim=(0, 1.1), yticks=[])
    whole.set_title("the whole range", fontsize=primitives.LABEL_SIZE)
    whole.spines["left"].set_visible(False)
    for edge, side in ((low, 0), (high, 1)):
        ends = {"xyA": (edge, 0), "coordsA": whole.transData, "xyB": (side, 1), "coordsB": zoomed.transAxes}
        whole.figure.add_artist(ConnectionPatch(**ends, color="#AAAAAA", linewidth=0.8))


def _density(values):
    """Estimate the density of values in degrees: (grid, density). Equal values give a single peak."""
    if np.ptp(values) < 1e-6:
        return values[0] + np.array([-0.1, 0.0, 0.1]), np.array([0.0, 1.0, 0.0])
    reach = 3 * values.std() / len(values) ** 0.2
    grid = np.linspace(values.min() - reach, values.max() + reach, 400)
    return grid, gaussian_kde(values)(grid)


@style.styled
def angle_spread(report, axes=None):
    """Draw the standard deviation of the angle over a layer's kernels against the fan-in d, log-log (paper, Fig 2c).

    Error bars are standard errors. Crosses are Gaussian weights with each layer's d and threshold. If there is no space
    for all names, the layers near their cross have no name.

    Args:
        report: Report, or any iterable of layer reports.
        axes: None, or Axes.

    Returns:
        Figure
    """
    layers = list(report)
    fig, (ax,) = style.axes_for(axes, 1, height=4.4)
    d = np.array([layer.d for layer in layers])
    theory = np.degrees([layer.theory_spread() for layer in layers])
    spread, error = np.transpose([_spread(layer) for layer in layers])
    for i, color in enumerate(style.sequence(len(layers))):
        ax.plot(d[i], theory[i], "x", color=ORANGE, markeredgewidth=2, markersize=9, zorder=4)
        if spread[i] > 0:
            primitives.points(ax, d[i : i + 1], spread[i : i + 1], error[i : i + 1], color=color)
    grid = np.geomspace(min(d) / 1.5, max(d) * 4, 100)
    line = np.nanmedian(theory * np.sqrt(d)) / np.sqrt(grid) if np.isfinite(theory).any() else grid * np.nan
    ax.plot(grid, line, color=ORANGE, linewidth=1)
    ax.plot([], [], "-x", color=ORANGE, linewidth=1, markeredgewidth=2, label="Gaussian weights, slope -1/2")
    ax.set(xscale="log", yscale="log", xlabel="fan-in d", ylabel="spread of the angle (degrees)")
    ax.set(xlim=(grid[0], grid[-1]))
    primitives.plain_log(ax.xaxis, (1,))
    primitives.plain_log(ax.yaxis)
    ax.legend(loc="lower left")
    _spread_labels(
        ax, layers, d, spread, ((d, theory), (d, spread - error), (d, spread + error), (grid, line))
    )
    return fig


def _spread(layer):
    """Return (standard deviation of the angle, its standard error) in degrees; NaN if the angle does not vary."""
    values = np.degrees(layer.angles[np.isfinite(layer.angles)])
    if len(values) < 2 or not values.std() > 0:
        return np.nan, np.nan
    spread = values.std(ddof=1)
    return spread, spread / np.sqrt(2 * (len(values) - 1))


def _spread_labels(ax, layers, d, spread, marks):
    """Write the names of the points, first those far from their cross. Names do not cover `marks`, (x, y) arrays."""
    ax.set_ylim(*ax.get_ylim())
    theory = marks[0][1]
    far = np.nan_to_num(np.abs(np.log(spread / theory)))
    order = [i for i in np.argsort(-far, kind="stable") if spread[i] > 0]
    x, y = (np.concatenate(values) for values in zip(*marks, strict=True))
    names = shortened([layer.name for layer in layers], LETTERS)
    primitives.labels(ax, d[order], spread[order], [names[i] for i in order], avoid=(x[y > 0], y[y > 0]))


@style.styled
def latent_weights(report, axes=None):
    """Draw histograms of the latent weights, with a normal density of the same σ, one panel per layer (paper, Fig 2d).

    Args:
        report: Report, or any iterable of layer reports.
        axes: None, or one Axes per layer.

    Returns:
        Figure. Orange lines are the thresholds of the quantizer that are not 0.
    """
    layers = list(report)
    fig, panels = style.panels_for(axes, len(layers))
    names = shortened([layer.name for layer in layers], primitives.PANEL_LETTERS)
    for layer, name, ax in zip(layers, names, panels, strict=True):
        latent = np.ravel(layer.kernels.latent)
        ax.hist(latent, bins=81, density=True, color=BLUE, log=True)
        bottom = ax.get_ylim()[0]
        x, sigma = np.linspace(*ax.get_xlim(), 300), layer.latent_std
        if sigma > 0:
            normal = np.exp(-((x / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
            ax.plot(x, normal, color="black", linewidth=1)
        primitives.entitle(ax, name, ", ", f"σ = {sigma:.3f}")
        ax.set(ylim=(bottom, None))
        for edge in filter(None, layer.thresholds()):
            ax.axvline(edge, color=ORANGE, linewidth=1)
    ours = fig if axes is None else None
    primitives.shared_labels(ours, panels, "latent weight (line: normal density with the same σ)", "density")
    return fig
