"""Is a ternary rule better because of its zeros, in kernels or in activations, or because of the rule itself?

The paper's fixed threshold of 0.02 makes few weights 0. Two rules have thresholds proportional to the size of the
weights: the best threshold for Gaussian weights (`optimal_ternary`, 46 % zeros) and BitNet's (`absmean`, 31 %). Both
also give activations a larger threshold. All networks are trained with the later recipe of `improved`. Two networks
stand between the paper's network and the network of each rule, so that the advantage of the rule is the sum of three
differences:

1. activations: the rule's threshold for activations, kernels with the paper's threshold; minus the paper's network.
2. zeros: the same activations, and in each kernel the rule's share of zeros, whatever its weights are; minus 1.
3. rule: the rule itself, which changes the share with the weights; minus 2.

If difference 3 is clear beyond the spread of the seeds, zeros do not explain the advantage. If difference 2 is not,
zeros in kernels have no advantage. If difference 1 is as large as the sum, the advantage comes from the activations.
A binary network is the reference: if no ternary network is better, the third level has no advantage.

The kernels of `absmean` have a scale, one number per layer; all others consist of -1, 0 and +1. Batch norm divides
this scale out again, and Adam does so with the scale of the gradient. So it is not counted as a fourth difference.
"""

import itertools

import numpy as np

from bnn.console import run_program
from experiments import runner
from experiments.recipe import BASE, DIGITS, PHOTOGRAPHS, VALIDATION

SEEDS = 3
RECIPE = BASE | PHOTOGRAPHS
PAPER = {"levels": 3, "threshold": 0.02}
RULES = ("absmean", "optimal_ternary")
STEPS = ("activations", "zeros", "rule")
STATISTICS = ("layer", "d", "angle_mean_deg", "zeros", "gain", "r_within", "r_weights")


def measure(experiment):
    """Train every network with every seed and measure; return (rows, function that draws them)."""
    from bnn.models import accuracy

    data, rows = experiment.data, []
    recipe = RECIPE | ({} if data.name == "cifar-10" else DIGITS)
    compared = networks()
    if experiment.quick:
        compared = {name: compared[name] for name in ("paper", "absmean: zeros")}
    for seed in experiment.seeds(SEEDS):
        for name, changes in compared.items():
            model = experiment.trained(runner.run_name(name, seed), **recipe | changes, seed=seed).load_model(
                "last"
            )
            row = {"network": name, "seed": seed}
            for part in ("validation", "test"):
                split = getattr(data, part)
                row[f"{part}_accuracy"] = accuracy(model, split, progress=runner.testing)
            for layer in experiment.layers(model):
                found = layer.statistics()
                rows.append(row | {key: found[key] for key in STATISTICS})
    tell(rows)
    return rows, lambda: draw(rows)


def networks():
    """Return a dict from the name of each network to its settings."""
    from experiments.zeros import AbsmeanZeros, OptimalZeros

    compared = {"binary": {}, "paper": PAPER}
    for rule, quantizer in zip(RULES, (AbsmeanZeros, OptimalZeros), strict=True):
        own = {"levels": 3, "estimator": rule}
        compared[f"{rule}: activations"] = PAPER | {"activation_quantizer": rule}
        compared[f"{rule}: zeros"] = own | {"kernel_quantizer": quantizer}
        compared[f"{rule}: rule"] = own
    return compared


def tell(rows):
    """Print the accuracy of every network, and how much each step adds to it."""
    found = accuracies(rows)
    for name, values in found.items():
        print(f"{name:>28}: test accuracy {over_seeds(values, 4)}")
    for rule in RULES:
        chain = ["paper", *(f"{rule}: {step}" for step in STEPS)]
        for before, after in itertools.pairwise(chain):
            if before in found and after in found:
                points = 100 * (found[after] - found[before])
                print(f"{after:>28}: {over_seeds(points, 2)} points over {before}")


def accuracies(rows):
    """Return a dict from network to the (seeds,) array of its test accuracies."""
    by_network = {}
    for row in rows:
        by_network.setdefault(row["network"], {})[row["seed"]] = row["test_accuracy"]
    return {name: np.array([*values.values()]) for name, values in by_network.items()}


def over_seeds(values, decimals):
    """Format the mean of values over the seeds and, of several, their standard deviation (n - 1)."""
    return runner.with_spread(values.mean(), runner.spread(values), decimals)


def draw(rows):
    """Draw the accuracy of each network, one point per seed, and zeros and r of its layers, means over the seeds."""
    from bnn import plots

    found = accuracies(rows)
    figure, (left, *others) = plots.figure(3, width=13, height=4.5)
    colors = dict(zip(found, plots.sequence(len(found)), strict=True))
    for place, (name, values) in enumerate(found.items()):
        left.plot(values, [place] * len(values), "o", color=colors[name])
    left.set(xlabel="test accuracy", yticks=range(len(found)), yticklabels=found)
    left.invert_yaxis()
    layers = list(dict.fromkeys(row["layer"] for row in rows))[1:]  # the first kernel is not quantized
    for ax, key, label in zip(
        others, ("zeros", "r_within"), ("share of zeros", "r within units"), strict=True
    ):
        for name, color in colors.items():
            means = [mean(rows, name, layer, key) for layer in layers]
            ax.plot(range(len(layers)), means, "o-", color=color, label=name)
        ax.set(ylabel=label)
        ax.set_xticks(range(len(layers)), layers, rotation=60)
    plots.legend_below(figure, others[0], columns=3)
    return figure


def mean(rows, network, layer, key):
    """Return the mean over the seeds of a statistic of a layer."""
    return np.mean([row[key] for row in rows if (row["network"], row["layer"]) == (network, layer)])


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("ternary", __doc__, 15, argv, validation=VALIDATION), measure)


if __name__ == "__main__":
    run_program("ternary", main)
