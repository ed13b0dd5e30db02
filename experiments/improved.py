"""How much do later methods from the literature improve the same network in the same number of epochs?

The experiment starts with the paper's settings and adds one change after another: a cosine schedule with warm-up, a
higher learning rate, a real first layer, and flips and crops. An improvement is the difference in test accuracy, in
percentage points, to the paper's settings with the same seed. Each change is made in addition to all changes before it.
"""

import itertools
import operator

from bnn.console import run_program
from experiments import runner
from experiments.recipe import column

SEEDS = 3

CHANGES = {
    "paper": {},
    "cosine": {"schedule": "cosine", "warmup": 1},
    "higher rate": {"lr_start": 5e-3},
    "real first layer": {"first_layer": "real"},
    "flips, crops": {"augment": "flips-and-crops"},
}
# The presets for digits already have a higher rate, and a mirrored digit is not a digit.
DIGITS = {name: CHANGES[name] for name in ("paper", "cosine", "real first layer")} | {
    "crops": {"augment": "crops"}
}


def measure(experiment):
    """Train with more and more changes and every seed; return (rows, function that draws them)."""
    from bnn.models import accuracy

    data, rows, logs = experiment.data, [], {}
    compared = together(CHANGES if data.name == "cifar-10" else DIGITS)
    if experiment.quick:
        compared = dict([*compared.items()][:: len(compared) - 1])  # no change, and all of them
    grid = {
        runner.run_name(name, seed): settings | {"seed": seed}
        for seed in experiment.seeds(SEEDS)
        for name, settings in compared.items()
    }
    experiment.train_grid(grid)
    for seed in experiment.seeds(SEEDS):
        for name in compared:
            folder = runner.run_name(name, seed)
            run = experiment.trained(folder, **grid[folder])
            found = accuracy(run.load_model("last"), data.test, progress=runner.testing)
            rows.append({"change": name, "seed": seed, "test_accuracy": found})
            logs.setdefault(name, run.log())
    summary = improvements(rows)
    for row in summary:
        values = ", ".join(
            f"{key} {runner.with_spread(row[key], row[f'{key}_std'], 2):>14}"
            for key in ("improvement", "step")
        )
        print(f"{row['change']:17} test accuracy {row['test_accuracy']:.4f}, {values}")
    experiment.write_table(summary, "summary")
    return rows, lambda: draw(summary, logs)


def together(changes):
    """Return a dict from the name of each change to the settings of this change and of all before it."""
    return dict(zip(changes, itertools.accumulate(changes.values(), operator.or_), strict=True))


def improvements(rows):
    """Return the rows of the summary: points of accuracy over the paper's settings, and over the change before.

    Both are means over the seeds, with their standard deviations (n - 1), which are NaN with one seed.
    """
    found = {
        name: column(rows, name, "test_accuracy") for name in dict.fromkeys(row["change"] for row in rows)
    }
    summary, before = [], found["paper"]
    for name, values in found.items():
        points = {"improvement": 100 * (values - found["paper"]), "step": 100 * (values - before)}
        row = {"change": name, "n": len(values), "test_accuracy": float(values.mean())}
        for key, differences in points.items():
            row |= runner.mean_and_spread(key, differences)
        summary.append(row)
        before = values
    return summary


def draw(summary, logs):
    """Draw the validation accuracy of the first seed over the epochs, and the final improvements."""
    from bnn import plots

    figure, (left, right) = plots.figure(2)
    for (name, log), color in zip(logs.items(), plots.sequence(len(logs)), strict=True):
        left.plot(
            [row["epoch"] for row in log], [row["val_accuracy"] for row in log], color=color, label=name
        )
    left.set(xlabel="epoch", ylabel="validation accuracy")
    plots.legend_below(figure, left, columns=len(logs))
    names = [f"+ {row['change']}" if i else row["change"] for i, row in enumerate(summary)]
    means, spreads = ([row[key] for row in summary] for key in ("improvement", "improvement_std"))
    right.errorbar(means, range(len(summary)), xerr=spreads, fmt="o", color=plots.BLUE)
    right.axvline(0, color=plots.GRAY, linestyle=":", zorder=0)
    right.set(
        xlabel="improvement of the test accuracy (points)", yticks=range(len(summary)), yticklabels=names
    )
    right.invert_yaxis()
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("improved", __doc__, 15, argv, grid=True), measure)


if __name__ == "__main__":
    run_program("improved", main)
