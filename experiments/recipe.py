"""Which changes of the later recipe help the narrow network?

Each network differs from the base in one thing. The base is the later recipe of `improved`: cosine schedule, warm-up of
one epoch, learning rate 5e-3, real first layer, flips and crops; with batch norm's averages over 100 steps, so that the
validation accuracy follows the training. An effect is the difference in accuracy between two networks with the same
seed. It is clear if its mean is more than twice its standard deviation over the seeds. Choose by the validation
accuracy; the test accuracy is only reported. Expectations, and what would refute each:

- learning rate: 5e-3 is best. Refuted if 2e-3 or 1e-2 is clearly better.
- softmax loss, label smoothing: smoothing does not help a network that underfits. Refuted if it is clearly better than
  the softmax loss without it.
- whitening first layer: it learns faster than a real one. Refuted if it is not clearly better.
- alternating flips: more different images in the same epochs help. Refuted if they are not clearly better.
- memory of batch norm: it takes no part in the training. Refuted if the accuracies with refitted batch norm differ
  clearly.
- batch size: with 128 there are fewer steps, which costs accuracy. Refuted if it is not clearly worse.
- warm-up: one epoch is enough and needed. Refuted if none or three epochs are clearly better, or if
  none is not clearly worse.
- Bop: without latent weights the network learns more slowly. Refuted if it is not clearly worse. With the paper's gamma
  of 1e-4 the mean of the gradients covers 10,000 steps, 11 of the 15 epochs, therefore also 1e-3.
- batch norm refitted at the end: the averages are right, since the last steps are small. Refuted by a clear effect.
"""

import numpy as np

from bnn.console import run_program
from experiments import runner

SEEDS = 3
VALIDATION = 5000  # CIFAR-10 has 500, too few to compare networks
BASE = {"schedule": "cosine", "warmup": 1, "first_layer": "real"}
PHOTOGRAPHS = {"lr_start": 5e-3, "bn_decay": 0.99, "augment": "flips-and-crops"}
DIGITS = {"augment": "crops"}  # rate and memory are those of the preset, and a mirrored digit is not a digit
CHANGES = {
    "base": {},
    "learning rate 2e-3": {"lr_start": 2e-3},
    "learning rate 1e-2": {"lr_start": 1e-2},
    "softmax": {"loss_mode": "softmax"},
    "softmax, smoothing 0.1": {"loss_mode": "softmax", "label_smoothing": 0.1},
    "whitening first layer": {"first_layer": "whitening"},
    "alternating flips": {"augment": "alternating-flips-and-crops"},
    "bn_decay 0.999": {"bn_decay": 0.999},
    "batch size 128": {"batch_size": 128},
    "no warm-up": {"warmup": 0},
    "warm-up 3": {"warmup": 3},
    "bop": {"optimizer": "bop"},
    "bop, gamma 1e-3": {"optimizer": "bop", "bop_gamma": 1e-3},
}
COMPARED_WITH = {"softmax, smoothing 0.1": "softmax"}  # the other changes: with the base
REFITTED = "batch norm refitted"


def measure(experiment):
    """Train every network with every seed; return (rows, function that draws them)."""
    photographs = experiment.data.name == "cifar-10"
    base = BASE | (PHOTOGRAPHS if photographs else DIGITS)
    rows = []
    for seed in experiment.seeds(SEEDS):
        for name, settings in compared(photographs, experiment.quick).items():
            run = experiment.trained(runner.run_name(name, seed), **base | settings, seed=seed)
            rows.append({"change": name, "seed": seed} | accuracies(experiment, run))
    summary = effects(rows)
    for row in summary:
        print(f"{row['change']:>24}: {runner.points(row)} points over {row['compared_with']}")
    experiment.write_table(summary, "summary")
    return rows, lambda: draw(summary)


def compared(photographs, quick=False):
    """Return a dict from name to settings: the changes that suit the images; in a smoke test two of them."""
    if quick:
        return {name: CHANGES[name] for name in ("base", "bop, gamma 1e-3")}
    return {
        name: change for name, change in CHANGES.items() if photographs or not change.keys() & PHOTOGRAPHS
    }


def accuracies(experiment, run):
    """Return a dict of the accuracies of a run's last weights, as they are and with batch norm refitted."""
    from bnn.models import accuracy

    data, model, found = experiment.data, run.load_model("last"), {}
    for end in ("accuracy", "refitted"):
        for part in ("validation", "test"):
            found[f"{part}_{end}"] = accuracy(model, getattr(data, part), progress=runner.testing)
        experiment.refit(model)
    return found


def effects(rows):
    """Return the rows of the summary: the effect of each change in points, mean and standard deviation over seeds.

    The standard deviation (n - 1) is NaN with one seed.
    """
    found = {
        name: {part: column(rows, name, f"{part}_accuracy") for part in ("validation", "test")}
        for name in dict.fromkeys(row["change"] for row in rows)
    }
    found[REFITTED] = {part: column(rows, "base", f"{part}_refitted") for part in ("validation", "test")}
    summary = []
    for name in [*found][1:]:
        reference = COMPARED_WITH.get(name, "base")
        row = {"change": name, "compared_with": reference, "n": len(found[name]["test"])}
        for part, values in found[name].items():
            points = 100 * (values - found[reference][part])
            row |= runner.mean_and_spread(part, points)
        summary.append(row)
    return summary


def column(rows, name, key):
    """Return the values of a change, one per seed, in the order of the seeds."""
    return np.array([row[key] for row in rows if row["change"] == name])


def draw(summary):
    """Draw the effects, means and standard deviations over the seeds."""
    from bnn import plots

    figure, ax = plots.figure(1, width=7, height=0.3 * len(summary) + 1.6)
    for part, color, shift in (("validation", plots.BLUE, -0.12), ("test", plots.ORANGE, 0.12)):
        places = np.arange(len(summary)) + shift
        means, spreads = ([row[key] for row in summary] for key in (part, f"{part}_std"))
        ax.errorbar(means, places, xerr=spreads, fmt="o", color=color, label=part)
    ax.axvline(0, color=plots.GRAY, linestyle=":", zorder=0)
    ax.set(xlabel="effect on the accuracy (points)")
    names = [f"{row['change']} (over {row['compared_with']})" for row in summary]
    ax.set_yticks(range(len(summary)), names)
    ax.invert_yaxis()
    plots.legend_below(figure, ax, columns=2)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("recipe", __doc__, 15, argv, validation=VALIDATION), measure)


if __name__ == "__main__":
    run_program("recipe", main)
