"""At equal total bits, does it help to choose the number of levels of each layer by its gain, or by its predicted cost?

The experiment trains the three networks of `verdict` in full precision. It quantizes all kernels with the Lloyd-Max
quantizer, with one scale per unit, in four ways:

- the same number of levels in every layer: the sign with two levels, the best threshold with three;
- the same number, fitted to the dot products of training images by `bnn.binarize`;
- levels by gain: the smallest numbers that keep a common correlation r in every layer, where r is the largest value
  that needs no more bits in total;
- levels by cost: `analyze --budget`, whose choice has the smallest sum of predicted costs.

Batch norm is refitted. If the accuracies of a choice and of equal levels do not differ, the choice is not useful.
"""

import functools
import math

import numpy as np

from bnn.analysis.core.assignment import bits_of, divergence
from bnn.console import run_program
from experiments import networks, runner

SEEDS = 2
UNIFORM = (2, 3, 4, 8)
QUICK = (2, 4)
COST_IMAGES = 100
FITTED_IMAGES = 500
CHOICES = {
    "uniform": ("o", "the same levels"),
    "fitted": ("^", "the same levels, fitted"),
    "gain": ("D", "levels by gain"),
    "cost": ("s", "levels by cost"),
}


def measure(experiment):
    """Train every network and quantize it in all ways; return (rows, function that draws them)."""
    rows = experiment.of_each(
        networks.NETWORKS,
        SEEDS,
        lambda name, seed: quantized(experiment, networks.trained(experiment, name, seed)),
    )
    return rows, lambda: draw(rows)


def quantized(experiment, model):
    """Return one dict per number of levels: bits, accuracy and divergence with each choice of levels."""
    from bnn.analysis import assign_levels
    from bnn.models import evaluation

    images, labels = experiment.data.test.images, experiment.data.test.labels
    layers = list(experiment.layers(model, quantizer="sign", score_images=0))
    names = [layer.name for layer in layers]
    weights = np.array([layer.kernels.latent.size for layer in layers])
    scores_of = functools.partial(evaluation.scores, images=images, progress=runner.testing)
    original = scores_of(model)
    rows = []
    for k in QUICK if experiment.quick else UNIFORM:
        bits = math.log2(k)
        by_cost = assign_levels(model, images[: experiment.analyzed], bits, cost_images=COST_IMAGES)
        choices = {
            "uniform": dict.fromkeys(names, k),
            "fitted": dict.fromkeys(names, k),
            "gain": dict(zip(names, by_gain(layers, weights, weights.sum() * bits), strict=True)),
            "cost": by_cost.levels(),
        }
        row, nearest = {"levels": k, "accuracy": right(original, labels)}, {}
        for choice, levels in choices.items():
            if choice == "fitted":
                scores = scores_of(fitted(experiment, model, k))
            else:  # choices can be equal
                key = tuple(levels.values())
                nearest[key] = scores = (
                    nearest[key] if key in nearest else scores_of(with_levels(experiment, model, levels))
                )
            chosen = np.array([bits_of(levels[name]) for name in names])
            row |= {
                f"{choice}_bits": float(weights @ chosen / weights.sum()),
                f"{choice}_accuracy": right(scores, labels),
                f"{choice}_divergence": divergence(original, scores) / len(scores),
                f"{choice}_levels": " ".join(str(levels[name] or "real") for name in names),
            }
        rows.append(row)
        found = ", ".join(f"{row[f'{choice}_accuracy']:.4f} {choice}" for choice in choices)
        print(f"{k} levels: {found}; by cost {row['cost_levels']}")
    return rows


def right(scores, labels):
    """The share of images whose largest score is that of their label."""
    return float(np.mean(scores.argmax(axis=1) == labels))


def with_levels(experiment, model, levels):
    """Copy a model, quantize its kernels to a dict of levels, and refit batch norm."""
    import keras

    from bnn.analysis import apply_levels

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    apply_levels(copy, experiment.data.test.images[: experiment.analyzed], levels)
    experiment.refit(copy)
    return copy


def fitted(experiment, model, k):
    """Copy a model with kernels of k levels that are fitted to dot products, and refit batch norm."""
    import bnn

    images = experiment.data.train.images[: 50 if experiment.quick else FITTED_IMAGES]
    copy = bnn.binarize(model, images, levels=k).model
    experiment.refit(copy)
    return copy


def by_gain(layers, weights, budget):
    """Find the largest common r within the budget of bits by bisection; return the levels of each layer."""
    from bnn.analysis.core.levels import fewest
    from bnn.geometry.gain import MOST_LEVELS

    low, high, best = 0.0, 1.0, [2] * len(layers)
    for _ in range(30):
        r = (low + high) / 2
        chosen = [fewest(layer.gains.gain, r) or MOST_LEVELS for layer in layers]
        if weights @ np.log2(chosen) <= budget + 1e-9:
            low, best = r, chosen
        else:
            high = r
    return best


def draw(rows):
    """Draw accuracy and divergence against bits per weight for every choice of levels, one column per network."""
    from bnn import plots

    names = list(dict.fromkeys(row["network"] for row in rows))
    figure, axes = plots.figure(len(names), rows=2, squeeze=False)
    for (top, bottom), name in zip(axes.T, names, strict=True):
        mine = [row for row in rows if row["network"] == name]
        for choice, (marker, label) in CHOICES.items():
            for ax, shown in ((top, "accuracy"), (bottom, "divergence")):
                points = [(row[f"{choice}_bits"], row[f"{choice}_{shown}"]) for row in mine]
                ax.plot(*zip(*points, strict=True), marker, label=label)
        top.axhline(np.mean([row["accuracy"] for row in mine]), color=plots.GRAY, linestyle=":", zorder=0)
        top.set(title=name)
        bottom.set(xlabel="bits per weight", yscale="log")
    axes[0, 0].set(ylabel="test accuracy")
    axes[1, 0].set(ylabel="divergence from the real network (nats)")
    plots.legend_below(figure, axes[1, 0], columns=3)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("levels", __doc__, 10, argv, own_networks=True), measure)


if __name__ == "__main__":
    run_program("levels", main)
