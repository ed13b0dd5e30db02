"""Why dot products survive quantization: r within units against gain and angle."""

import numpy as np

from bnn.geometry import two_number_r
from bnn.plots import style
from bnn.plots.style import BLACK, COLORS, GRAY

ANGLES_DEG = (26, 37, 45)  # the best ternary quantizer, the sign, and beyond
MARKERS = "osD^vP"
EXCEPTION = 0.03  # a layer so far from what its two numbers say bears its name


@style.styled
def correlation_by_gain(networks, angles_deg=ANGLES_DEG, axes=None):
    """The r that angle and gain give, one curve per angle, and every layer of some networks as a point.

    The names of layers whose r within units is not what their angle and gain give stand beside them.

    Args:
        networks: dict from the names of at most six networks to their rows: list of dicts with "layer", "gain",
            "r_within" and "r_two_numbers", from `Report.rows`; without any, the curves alone are drawn.
        angles_deg: the angles of the curves, in degrees.
        axes: None, or Axes.

    Returns:
        Figure
    """
    fig, (ax,) = style.axes_for(axes, 1, height=4.8)
    rows = [row for network in networks.values() for row in network]
    gains = np.geomspace(*_limits([row["gain"] for row in rows]), 200)
    for angle in angles_deg:
        r = two_number_r(np.radians(angle), gains)
        ax.plot(gains, r, color=GRAY, linewidth=1.2, zorder=0)
        ax.annotate(
            f"{angle}°", (gains[-1], r[-1]), (4, 0), textcoords="offset points", va="center", color=GRAY
        )
    for (name, network), color, marker in zip(networks.items(), COLORS, MARKERS, strict=False):
        points = [(row["gain"], row["r_within"]) for row in network]
        ax.plot(*zip(*points, strict=True), marker, color=color, markersize=8, label=name)
        _name_exceptions(ax, network)
    ax.set(xscale="log", xlabel="gain g", ylabel="r within units", ylim=(None, 1.02))
    ax.xaxis.set_major_formatter("{x:g}")
    if len(networks) > 1:
        ax.legend(loc="lower right")
    return fig


def _limits(gains):
    """The range of the gain's axis: 0.3 to 30, or more where a layer needs it."""
    finite = [gain for gain in gains if np.isfinite(gain) and gain > 0]
    return min([0.3, *(0.8 * gain for gain in finite)]), max([30, *(1.3 * gain for gain in finite)])


def _name_exceptions(ax, rows):
    for row in rows:
        if abs(row["r_within"] - row["r_two_numbers"]) > EXCEPTION:
            place = (row["gain"], row["r_within"])
            ax.annotate(
                row["layer"], place, (8, -3), textcoords="offset points", color=BLACK, fontsize="small"
            )
