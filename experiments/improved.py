"""How much do later methods from the literature improve the same network in the same number of epochs?

The experiment starts with the paper's settings and adds one change after another: a cosine schedule with warm-up, a
higher learning rate, a real first layer, and flips and crops. Gains are in points of test accuracy relative to the
paper's settings, on the same images. Their standard errors account for the images, not for the seeds.
"""

import itertools
import operator

import numpy as np

from bnn.console import run_program
from experiments import runner

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
    """Train with more and more changes; return (rows, figure)."""
    from bnn.models import correct

    data, right, logs = experiment.data, {}, {}
    compared = together(CHANGES if data.name == "cifar-10" else DIGITS)
    if experiment.quick:
        compared = dict([*compared.items()][:: len(compared) - 1])  # no change, and all of them
    for name, settings in compared.items():
        run = experiment.trained(name.replace(", ", "-").replace(" ", "-"), **settings)
        right[name] = correct(run.load_model("last"), data.test, progress=runner.testing)
        logs[name] = run.log()
    rows = [row(name, named, right["paper"]) for name, named in right.items()]
    for line in rows:
        gain = f"gain {line['gain']:6.2f} +- {line['gain_error']:.2f}"
        print(f"{line['added']:17} test accuracy {line['test_accuracy']:.4f}, {gain}")
    return rows, draw(rows, logs)


def together(changes):
    """Return a dict from the name of each change to the settings of this change and of all before it."""
    return dict(zip(changes, itertools.accumulate(changes.values(), operator.or_), strict=True))


def row(name, right, paper):
    """Make a row of the table from two bool arrays: the images classified correctly with a change, and without any."""
    points = 100.0 * right - 100.0 * paper
    return {
        "added": name,
        "test_accuracy": float(right.mean()),
        "gain": float(points.mean()),
        "gain_error": float(points.std() / np.sqrt(len(points))),
    }


def draw(rows, logs):
    """Draw the validation accuracy over the epochs, and the final gains."""
    from bnn import plots

    figure, (left, right) = plots.figure(2)
    for (name, log), color in zip(logs.items(), plots.sequence(len(logs)), strict=True):
        left.plot(
            [row["epoch"] for row in log], [row["val_accuracy"] for row in log], color=color, label=name
        )
    left.set(xlabel="epoch", ylabel="validation accuracy")
    plots.legend_below(figure, left, columns=len(logs))
    names = [f"+ {row['added']}" if i else row["added"] for i, row in enumerate(rows)]
    gains, errors = ([row[key] for row in rows] for key in ("gain", "gain_error"))
    right.errorbar(gains, range(len(rows)), xerr=errors, fmt="o", color=plots.BLUE)
    right.axvline(0, color=plots.GRAY, linestyle=":", zorder=0)
    right.set(xlabel="gain in test accuracy (points)", yticks=range(len(rows)), yticklabels=names)
    right.invert_yaxis()
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("improved", __doc__, 15, argv), measure)


if __name__ == "__main__":
    run_program("improved", main)
