"""A figure of why dot products survive quantization: r within units against gain and angle."""

import numpy as np

from bnn.geometry import two_number_r
from bnn.geometry.gain import TOLERANCE as EXCEPTION
from bnn.plots import primitives, style
from bnn.plots.names import shortened
from bnn.plots.style import BLACK, COLORS, GRAY

ANGLES_DEG = (26, 37, 45)  # the best ternary quantizer, the sign, and a larger angle
MARKERS = "osD^vP"
LETTERS = 24  # of the name of a network or layer


@style.styled
def correlation_by_gain(networks, angles_deg=ANGLES_DEG, axes=None):
    """Draw r as predicted from gain and angle, one curve per angle, and the layers of some networks as points.

    A layer gets its name if its r within units differs by more than `EXCEPTION` from that of its gain and angle.

    Args:
        networks: dict from the names of at most six networks to their rows, lists of dicts with "layer", "gain",
            "r_within" and "r_two_numbers" from `Report.rows`. If it is empty, only the curves are drawn.
        angles_deg: angles of the curves, in degrees.
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
        place = {"textcoords": "offset points", "ha": "right", "va": "center", "color": GRAY}
        ax.annotate(f"{angle:.0f}°", (gains[0], r[0]), (-4, 0), **place)
    names = shortened(networks, LETTERS)
    for name, network, color, marker in zip(names, networks.values(), COLORS, MARKERS, strict=False):
        points = [(row["gain"], row["r_within"]) for row in network]
        ax.plot(*zip(*points, strict=True), marker, color=color, markersize=8, label=name)
        _name_exceptions(ax, network)
    ax.set(xscale="log", xlabel="gain g", ylabel="r within units", ylim=(None, 1.02))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlim(left=gains[0] / 1.3)
    if len(networks) > 1:
        primitives.legend_below(fig if axes is None else None, ax, columns=3)
    return fig


def _limits(gains):
    """Return the limits of the gain axis: 0.3 to 30, or wider if a layer needs it."""
    finite = [gain for gain in gains if np.isfinite(gain) and gain > 0]
    return min([0.3, *(0.8 * gain for gain in finite)]), max([30, *(1.3 * gain for gain in finite)])


def _name_exceptions(ax, rows):
    for row, name in zip(rows, shortened([row["layer"] for row in rows], LETTERS), strict=True):
        if abs(row["r_within"] - row["r_two_numbers"]) > EXCEPTION:
            place = (row["gain"], row["r_within"])
            ax.annotate(name, place, (8, -3), textcoords="offset points", color=BLACK, fontsize="small")
