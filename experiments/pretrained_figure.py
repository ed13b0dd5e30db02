"""The figure of `pretrained`: r and its laws, the parts of the residual gain, fitted signs, and costs."""

import numpy as np

PARTS = ("rest", "channels", "mean")
MARKERS = "oD^"


def draw(tables):
    """Draw the four panels; `tables` is a dict with the rows "layers", "fitted" and "binarized"."""
    from bnn import plots

    figure, axes = plots.figure(2, 2, height=4.2)
    rows = tables["layers"]
    _laws(axes[0, 0], [row for row in rows if row["units"] > 1])
    first = [row for row in rows if row["network"] == rows[0]["network"]]
    _parts(axes[0, 1], [row for row in first if row["kind"] == "convolution"])
    _fits(axes[1, 0], tables["fitted"])
    _costs(axes[1, 1], rows)
    return figure


def _laws(ax, rows):
    """The r within units against r from two and from three numbers."""
    from bnn import plots

    r = [row["r_within"] for row in rows]
    for law, marker, color in (("two", "o", plots.GRAY), ("three", "D", plots.BLUE)):
        found = [row[f"r_{law}_numbers"] for row in rows]
        ax.plot(found, r, marker, color=color, label=f"{law} numbers", markersize=4)
    _diagonal(ax, min([*r, *(row[f"r_{law}_numbers"] for row in rows for law in ("two", "three"))]), 1)
    ax.set(xlabel="r from angle and gains", ylabel="r within units")
    ax.legend(loc="upper left")


def _parts(ax, rows):
    """What each part of the residual adds to its gain."""
    from bnn import plots

    bottom = np.zeros(len(rows))
    for part, color in zip(PARTS, (plots.BLUE, plots.ORANGE, plots.BLACK), strict=True):
        pairs = [(row[f"residual_{part}_share"] or 0, row[f"residual_{part}_gain"] or 0) for row in rows]
        heights = np.prod(pairs, axis=1)
        ax.bar(range(len(rows)), heights, bottom=bottom, color=color, label=part)
        bottom += heights
    ax.axhline(1, color=plots.GRAY, linestyle=":")
    names = [row["layer"] for row in rows]
    ax.set_xticks(range(len(rows)), names, rotation=60, ha="right", fontsize="small")
    ax.set(ylabel="parts of the residual gain")
    ax.legend(fontsize="small")


def _fits(ax, rows):
    """The r of fitted signs against r of the sign, on the same fresh inputs."""
    for network, marker in _networks(rows):
        mine = [row for row in rows if row["network"] == network]
        signs, fitted = ([row[f"r_within_{way}"] for row in mine] for way in ("sign", "fitted"))
        ax.plot(signs, fitted, marker, label=network, markersize=4)
    _diagonal(ax, min((row["r_within_sign"] for row in rows), default=0), 1)
    ax.set(xlabel="r within units, sign", ylabel="r within units, fitted signs")
    ax.legend(loc="lower right", fontsize="small")


def _costs(ax, rows):
    """The measured cost of each kernel's sign against the predicted one."""
    for network, marker in _networks(rows):
        mine = [row for row in rows if row["network"] == network]
        costs = ([row[key] for row in mine] for key in ("cost", "measured_cost"))
        ax.plot(*costs, marker, label=network, markersize=4)
    both = [row[key] for row in rows for key in ("cost", "measured_cost") if row[key]]
    _diagonal(ax, min(both), max(both))
    ax.set(xscale="log", yscale="log", xlabel="predicted cost of one kernel's sign, nats", ylabel="measured")
    ax.legend(fontsize="small")


def _networks(rows):
    return zip(dict.fromkeys(row["network"] for row in rows), MARKERS, strict=False)


def _diagonal(ax, low, high):
    from bnn import plots

    ax.plot([low, high], [low, high], color=plots.GRAY, linestyle=":", zorder=0)
