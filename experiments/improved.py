"""How much better does the same network get, in as many epochs, by what the literature has learned since?

Starts from the paper's settings and adds one change after the other: warm-up and a cosine, a higher learning rate, a
real first layer, flips and crops. Gains are in points of test accuracy over the paper's settings, on the same images;
their standard errors are those of the images, not of the seeds.
"""

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
# Their presets have a higher rate already, and a mirrored digit is none.
DIGITS = {name: CHANGES[name] for name in ("paper", "cosine", "real first layer")} | {
    "crops": {"augment": "crops"}
}


def measure(experiment):
    """Train with ever more changes: (rows, figure)."""
    from bnn.models import correct

    data, settings, right, logs = experiment.data, {}, {}, {}
    for name, change in (CHANGES if data.name == "cifar-10" else DIGITS).items():
        settings |= change
        run = experiment.trained(name.replace(", ", "-").replace(" ", "-"), **settings)
        right[name] = correct(run.load_model("last"), data.test, progress=runner.testing)
        logs[name] = run.log()
    rows = [row(name, named, right["paper"]) for name, named in right.items()]
    for line in rows:
        print(
            "{added:17} test accuracy {test_accuracy:.4f}, gain {gain:6.2f} +- {gain_error:.2f}".format(
                **line
            )
        )
    return rows, draw(rows, logs)


def row(name, right, paper):
    """A row of the table, from which test images are named right after a change, and with the paper's settings."""
    points = 100.0 * right - 100.0 * paper
    return {
        "added": name, "test_accuracy": float(right.mean()),
        "gain": float(points.mean()), "gain_error": float(points.std() / np.sqrt(len(points))),
    }  # fmt: skip


def draw(rows, logs):
    """The trainings, and where they end."""
    from bnn import plots

    figure, (left, right) = plots.figure(2)
    for (name, log), colour in zip(logs.items(), plots.sequence(len(logs)), strict=True):
        left.plot(
            [row["epoch"] for row in log], [row["val_accuracy"] for row in log], color=colour, label=name
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
    """Do the experiment as the command line says."""
    return runner.perform(runner.begin("improved", __doc__, 15, argv), measure)


if __name__ == "__main__":
    run_program("improved", main)
