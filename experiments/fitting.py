"""What lowers r in the output layer: fitting the training images, or the paper's settings?

With the paper's settings, r is far lower in the output layer than in the hidden layers. Such a network has two
properties: it fits its training images, and it was trained with the paper's learning rate and first layer. The
experiment separates them. It trains the narrow network on a few images, which it can fit, with the paper's settings and
with the later recipe of `improved`, without augmentation, which would prevent the fit. It logs the geometry every few
epochs, and reads it at three moments: when the network classifies 85 % and 99 % of its training images correctly, and
at the end.

If r of the output layer falls from 85 to 99 % with both settings, the reason is fitting. If r is low only with the
paper's settings, and already at 85 %, the reason is the settings. Otherwise a few images cannot show the reason.
"""

import dataclasses

import numpy as np

from bnn.console import run_program
from experiments import runner
from experiments.recipe import BASE, PHOTOGRAPHS

SEEDS = 3
IMAGES = 500
EPOCHS = 300
EVERY = 10  # epochs between two rows of the geometry log
LATER = BASE | {"lr_start": PHOTOGRAPHS["lr_start"]}
SETTINGS = {"paper": {}, "later recipe": LATER}
MOMENTS = {"85 %": 0.85, "99 %": 0.99}
STATISTICS = ("angle_mean_deg", "gain", "r_within", "r_weights")


def measure(experiment):
    """Train with both settings and every seed; return (rows, function that draws them)."""
    experiment = dataclasses.replace(experiment, training_images=IMAGES)
    rows, curves = [], []
    for seed in experiment.seeds(SEEDS):
        for name, changes in SETTINGS.items():
            folder = runner.run_name(name, seed)
            run = experiment.trained(
                folder, **changes, seed=seed, log_geometry=1 if experiment.quick else EVERY, ckpt_n=10
            )
            labels = {"settings": name, "seed": seed}
            curves.append(labels | {"points": output_layer(run)})
            rows += [labels | row for row in at_moments(run)]
    tell(rows)
    return rows, lambda: draw(rows, curves)


def at_moments(run):
    """Return one dict per moment and layer, from the logs of a run; a moment that it does not reach is left out."""
    from bnn.analysis.keras import geometry_log

    geometry = geometry_log.read(run.folder)
    measured = {row["epoch"] for row in geometry}
    log = [row for row in run.log() if row["epoch"] in measured]
    accuracy = {row["epoch"]: row["accuracy"] for row in log}
    epochs = {name: reached(log, share) for name, share in MOMENTS.items()} | {"end": log[-1]["epoch"]}
    return [
        {"moment": name, "epoch": epoch, "accuracy": accuracy.get(epoch), "layer": row["layer"]}
        | {key: row[key] for key in STATISTICS}
        for name, epoch in epochs.items()
        for row in geometry
        if row["epoch"] == epoch
    ]


def reached(log, share):
    """Return the first measured epoch whose training accuracy is at least `share`, or None."""
    return next((row["epoch"] for row in log if row["accuracy"] >= share), None)


def output_layer(run):
    """Return (training accuracy, r of the output layer) of every epoch."""
    from bnn.analysis.keras import geometry_log

    accuracy = {row["epoch"]: row["accuracy"] for row in run.log()}
    last = f"dense_{len(run.config.network.fc) + 1}"
    geometry = geometry_log.read(run.folder)
    return [
        (accuracy[row["epoch"]], row["r_weights"])
        for row in geometry
        if row["layer"] == last and row["epoch"]
    ]


def tell(rows):
    """Print r of the output layer at every moment, mean and standard deviation over the seeds."""
    last = rows[-1]["layer"]
    for name in SETTINGS:
        for moment in (*MOMENTS, "end"):
            keys = (name, moment, last)
            found = [r["r_weights"] for r in rows if (r["settings"], r["moment"], r["layer"]) == keys]
            if found:
                r = runner.with_spread(np.mean(found), runner.spread(found), 3)
                print(f"{name:>12}, {moment:>4}: r of {last} {r} (n = {len(found)})")


def draw(rows, curves):
    """Draw r of the output layer against the training accuracy, and r of all layers at the end."""
    from bnn import plots

    figure, (left, right) = plots.figure(2)
    colors = dict(zip(SETTINGS, (plots.BLUE, plots.ORANGE), strict=True))
    for i, curve in enumerate(curves):
        label = curve["settings"] if i < len(SETTINGS) else None
        left.plot(*zip(*curve["points"], strict=True), ".-", color=colors[curve["settings"]], label=label)
    left.set(xlabel="training accuracy of the epoch", ylabel="r of the output layer")
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    for row in rows:
        if row["moment"] == "end":
            plots.points(
                right, [layers.index(row["layer"])], [row["r_weights"]], color=colors[row["settings"]]
            )
    right.set(ylabel="r at the end")
    right.set_xticks(range(len(layers)), layers, rotation=60)
    plots.legend_below(figure, left, columns=2)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("fitting", __doc__, EPOCHS, argv), measure)


if __name__ == "__main__":
    run_program("fitting", main)
