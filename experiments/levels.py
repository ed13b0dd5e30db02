"""At equal total bits, does it help to choose the number of levels of each layer by its gain?

The experiment trains the three networks of `verdict` in full precision. It quantizes all kernels with the Lloyd-Max
quantizer, with one scale per unit, in two ways. The first uses the same number of levels in every layer. The second
chooses the levels by gain: the smallest numbers of levels that keep a common correlation r in every layer, where r is
the largest value that needs no more bits in total. Batch norm is refitted. If the accuracies do not differ, the gain is
not useful for this purpose.
"""

import math

import numpy as np

from bnn.console import run_program
from experiments import networks, runner

SEEDS = 2
UNIFORM = (2, 3, 4, 8)
QUICK = (2, 4)


def measure(experiment):
    """Train every network and quantize it in both ways; return (rows, function that draws them)."""
    rows = []
    for seed in experiment.seeds(SEEDS):
        for name in networks.NETWORKS:
            model = networks.trained(experiment, name, seed)
            rows += [{"network": name, "seed": seed, **row} for row in quantized(experiment, model)]
    return rows, lambda: draw(rows)


def quantized(experiment, model):
    """Return one dict per number of levels: bits and accuracy with equal levels and with levels by gain."""
    import keras

    from bnn.models import accuracy

    layers, data = list(experiment.layers(model, quantizer="sign", score_images=0)), experiment.data
    weights = np.array([layer.kernels.latent.size for layer in layers])

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())

    def judged(chosen):
        set_levels(copy, layers, chosen)
        experiment.refit(copy)
        return accuracy(copy, data.test, progress=runner.testing)

    rows, whole = [], accuracy(model, data.test, progress=runner.testing)
    for k in QUICK if experiment.quick else UNIFORM:
        r, chosen = by_gain(layers, weights, weights.sum() * math.log2(k))
        rows.append(
            {
                "levels": k,
                "accuracy": whole,
                "uniform_bits": math.log2(k),
                "uniform_accuracy": judged([k] * len(layers)),
                "gain_bits": float(weights @ np.log2(chosen) / weights.sum()),
                "gain_accuracy": judged(chosen),
                "common_r": r,
                "chosen": " ".join(map(str, chosen)),
            }
        )
        print(
            "{levels} levels: {uniform_accuracy:.4f} everywhere, {gain_accuracy:.4f} by gain ({chosen})".format(
                **rows[-1]
            )
        )
    return rows


def by_gain(layers, weights, budget):
    """Find the largest common r within the budget of bits by bisection; return (r, levels of each layer)."""
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
    return low, best


def set_levels(model, layers, chosen):
    """Quantize the latent kernel of each layer to the given number of levels, and give it to the model."""
    from bnn.geometry import lloyd_max, step_quantizer

    for layer, count in zip(layers, chosen, strict=True):
        thresholds, values, _ = lloyd_max(count)
        latent = layer.kernels.latent
        scale = latent.std(axis=0)
        kernel = model.get_layer(layer.name).kernel
        kernel.assign(np.reshape(step_quantizer(thresholds, values)(latent / scale) * scale, kernel.shape))


def draw(rows):
    """Draw the accuracy against bits per weight, one panel per network: the same levels, and levels by gain."""
    from bnn import plots

    names = list(dict.fromkeys(row["network"] for row in rows))
    figure, axes = plots.figure(len(names), squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        mine = [row for row in rows if row["network"] == name]
        for kind, marker, label in (("uniform", "o", "the same levels"), ("gain", "D", "levels by gain")):
            ax.plot(
                [row[f"{kind}_bits"] for row in mine],
                [row[f"{kind}_accuracy"] for row in mine],
                marker,
                label=label,
            )
        ax.axhline(np.mean([row["accuracy"] for row in mine]), color=plots.GRAY, linestyle=":", zorder=0)
        ax.set(title=name, xlabel="bits per weight")
    axes[0, 0].set(ylabel="test accuracy")
    plots.legend_below(figure, axes[0, 0], columns=2)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("levels", __doc__, 10, argv, own_networks=True), measure)


if __name__ == "__main__":
    run_program("levels", main)
