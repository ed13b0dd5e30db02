"""Which of the first authors' settings account for their higher accuracy?

The code of Courbariaux et al. (arXiv:1602.02830) reaches 88.6 % on CIFAR-10; the paper's settings reach 81 %. Besides
500 epochs, it differs in five things, which `--network binarynet` sets. Each network here has the paper's settings with
one of them, with all, or with all but the first:

1. clip per layer: the latent weights are clipped, and start, at the Glorot bound of their layer instead of 1. A step of
   the same size then moves a weight 13 to 39 times as far relative to its range.
2. clip 0.04: one clip for all layers, a mean of these bounds. If the size alone counts, it does as much as 1.
3. trained scale: batch norm has a trained scale.
4. batch norm: moving averages with decay 0.9 and an epsilon of 1e-4, instead of 0.999 and 1e-3.
5. no gradient clipping.

An effect is the difference from the paper's settings in the same seed. It is clear if its mean is more than twice its
standard deviation over the seeds. Expectation: 1 has most of the effect of all five, since the step relative to the
weight decides how many signs change. Refuted if 1 has less than half of it. The geometry of each network is measured
too: at larger relative steps, are angle, gain and r still the paper's?
"""

import numpy as np

from bnn.console import run_program
from experiments import runner
from experiments.recipe import VALIDATION

SEEDS = 3
PAPER, LAYER_CLIP = "paper", "clip per layer"
CHANGES = {
    PAPER: {},
    LAYER_CLIP: {"clip": "glorot"},
    "clip 0.04": {"clip": 0.04},
    "trained scale": {"bn_scale": True},
    "batch norm": {"bn_decay": 0.9, "bn_epsilon": 1e-4},
    "no gradient clipping": {"clip_gradients": None},
}
CHANGES["all"] = (
    CHANGES[LAYER_CLIP] | CHANGES["trained scale"] | CHANGES["batch norm"] | CHANGES["no gradient clipping"]
)
CHANGES["all but clip per layer"] = {key: value for key, value in CHANGES["all"].items() if key != "clip"}
STATISTICS = ("layer", "d", "angle_mean_deg", "gain", "r_within", "r_weights", "latent_std")


def measure(experiment):
    """Train every network with every seed and measure; return (rows, function that draws them)."""
    from bnn.models import accuracy, in_float32

    rows = []
    compared = {name: CHANGES[name] for name in (PAPER, "all")} if experiment.quick else CHANGES
    for seed in experiment.seeds(SEEDS):
        for name, changes in compared.items():
            run = experiment.trained(runner.run_name(name, seed), **changes, seed=seed)
            model = in_float32(run.load_model("last"))
            row = {"network": name, "seed": seed}
            for part in ("validation", "test"):
                split = getattr(experiment.data, part)
                row[f"{part}_accuracy"] = accuracy(model, split, progress=runner.testing)
            for layer in experiment.layers(model):
                found = layer.statistics()
                rows.append(row | {key: found[key] for key in STATISTICS})
    summary = effects(rows)
    for row in summary:
        print(f"{row['network']:>24}: {runner.points(row)} points over {PAPER}")
    experiment.write_table(summary, "summary")
    return rows, lambda: draw(rows, summary)


def effects(rows):
    """Return the summary: the effect of each change on both accuracies, in points, over the seeds."""
    found = {}
    for row in rows:  # one row per layer; all layers of a network have its accuracies
        found.setdefault(row["network"], {})[row["seed"]] = row
    summary = []
    for name in [name for name in found if name != PAPER]:
        row = {"network": name, "n": len(found[name])}
        for part in ("validation", "test"):
            key = f"{part}_accuracy"
            points = [100 * (found[name][seed][key] - found[PAPER][seed][key]) for seed in found[name]]
            row |= runner.mean_and_spread(part, points)
        summary.append(row)
    return summary


def draw(rows, summary):
    """Draw the effects on the test accuracy, and angle and gain of each layer, means over the seeds."""
    from bnn import plots

    figure, axes = plots.figure(1, 3)
    effect, *others = axes
    places = np.arange(len(summary))
    means, spreads = ([row[key] for row in summary] for key in ("test", "test_std"))
    effect.errorbar(means, places, xerr=spreads, fmt="o")
    effect.axvline(0, color=plots.GRAY, linestyle=":", zorder=0)
    effect.set(xlabel="effect on the test accuracy (points)")
    effect.set_yticks(places, [row["network"] for row in summary])
    effect.invert_yaxis()
    names, layers = (list(dict.fromkeys(row[key] for row in rows)) for key in ("network", "layer"))
    labels = {"angle_mean_deg": "angle (degrees)", "gain": "gain"}
    for (key, label), ax in zip(labels.items(), others, strict=True):
        for name, color in zip(names, plots.sequence(len(names)), strict=True):
            values = [
                np.mean([row[key] for row in rows if (row["network"], row["layer"]) == (name, layer)])
                for layer in layers
            ]
            ax.plot(range(len(layers)), values, "o-", color=color, label=name)
        ax.set(ylabel=label)
        ax.set_xticks(range(len(layers)), layers, rotation=45, ha="right")
    plots.legend_below(figure, others[0], columns=4)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("binarynet", __doc__, 10, argv, validation=VALIDATION), measure)


if __name__ == "__main__":
    run_program("binarynet", main)
