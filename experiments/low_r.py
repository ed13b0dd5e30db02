"""Why is r low in some layers?

The experiment makes two changes to each layer of a binary network, on the first test images, and measures r between the
dot products with the binarized and the latent kernel. The first change removes the strongest directions of the inputs,
one after another. According to the paper, the r of the first layer is low because its inputs vary only in a few
directions. The second change reduces the largest latent weights to a common size, for increasing fractions of them.
"""

import numpy as np

from bnn.console import run_program
from experiments import runner

DIRECTIONS = 20
LEFT_OUT, CUT = "directions left out", "fraction of weights cut"
FRACTIONS = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def measure(experiment):
    """Load or train the network and measure; return (rows, function that draws them)."""
    rows = []
    for layer in experiment.layers(experiment.binary_network(), score_images=0):
        left_out = without_directions(layer.patches, *layer.kernels)
        cut = with_weights_cut(layer.patches, *layer.kernels)
        rows += [
            {"layer": layer.name, "change": LEFT_OUT, "amount": k, "r": r, "cosine": cosine}
            for k, (r, cosine) in enumerate(left_out)
        ]
        rows += [
            {"layer": layer.name, "change": CUT, "amount": fraction, "r": r, "cosine": ""}
            for fraction, r in zip(FRACTIONS, cut, strict=True)
        ]
    return rows, lambda: draw(rows)


def without_directions(patches, quantized, latent):
    """Compute r without the first 0, 1, ... `DIRECTIONS` principal directions of the inputs' second moments.

    Args:
        patches: (n, d) array, a layer's inputs.
        quantized: (d, units) array.
        latent: (d, units) array.

    Returns:
        List of (r, cosine). The cosine is between the dot products of the direction that was removed last with all
        units of the quantized kernel, and those with all units of the latent kernel. It is -1 if they are opposite, and
        "" if no direction was removed.
    """
    _, _, directions = np.linalg.svd(patches.astype(np.float64), full_matrices=False)
    x, y = patches @ quantized, patches @ latent
    found = [(correlation(x, y), "")]
    for direction in directions[: min(DIRECTIONS, len(directions) - 1)]:
        along, ours, theirs = patches @ direction, direction @ quantized, direction @ latent
        x, y = x - np.outer(along, ours), y - np.outer(along, theirs)
        cosine = float(ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs)))
        found.append((correlation(x, y), cosine))
    return found


def with_weights_cut(patches, quantized, latent):
    """Compute r after the largest latent weights, each of `FRACTIONS` of them, are reduced to the next smaller size."""
    bounds = np.quantile(np.abs(latent), 1 - np.array(FRACTIONS))
    x = patches @ quantized
    return [correlation(x, patches @ np.clip(latent, -bound, bound)) for bound in bounds]


def correlation(x, y):
    """Correlate the dot products of a layer with its two kernels."""
    from bnn.geometry import CorrelationStatistics

    return float(CorrelationStatistics().update(x, y).r)


def draw(rows):
    """Draw r of each layer for both changes, with the first and the last layer in color."""
    from bnn import plots

    names = list(dict.fromkeys(row["layer"] for row in rows))
    looks = {name: {"color": plots.GRAY, "linewidth": 1} for name in names}
    looks[names[1]]["label"] = "other layers"
    looks[names[0]] = {"color": plots.BLUE, "marker": "o", "label": names[0]}
    looks[names[-1]] = {"color": plots.ORANGE, "marker": "D", "label": names[-1]}
    figure, axes = plots.figure(2, height=4, sharey=True)
    labels = {
        LEFT_OUT: "number of strongest input directions removed",
        CUT: "fraction of latent weights reduced to a common size",
    }
    for ax, (change, label) in zip(axes, labels.items(), strict=True):
        for name, look in looks.items():
            mine = [row for row in rows if (row["layer"], row["change"]) == (name, change)]
            ax.plot([row["amount"] for row in mine], [row["r"] for row in mine], **look)
        ax.set(xlabel=label)
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    axes[0].set(ylabel="r", ylim=(min(0, *(row["r"] for row in rows)), 1))
    plots.legend_below(figure, axes[0], columns=3)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("low_r", __doc__, 30, argv, one_network=True), measure)


if __name__ == "__main__":
    run_program("low_r", main)
