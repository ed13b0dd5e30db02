"""Should the first layer be binary, real, or binary after a fixed random rotation of its input?

The paper recommends a real or a rotated first layer, without numbers. The experiment trains each kind with several
seeds. It measures the test accuracy and the correlation r in the first layer between dot products with the binarized
and with the latent kernel. A real kernel is not binarized, so its r is 1.
"""

from bnn.console import run_program
from experiments import runner

SEEDS = 3
KINDS = ("quantized", "real", "rotated")
STATISTICS = ("d", "angle_mean_deg", "angle_theory_deg", "r_weights", "r_permuted", "sign_flips")


def measure(experiment):
    """Train every kind with every seed and measure; return (rows, function that draws them)."""
    from bnn.models import evaluation

    rows = []
    grid = {
        f"{kind}-seed{seed}": {"first_layer": kind, "seed": seed}
        for seed in experiment.seeds(SEEDS)
        for kind in KINDS
    }
    experiment.train_grid(grid)
    for name, settings in grid.items():
        run, kind, seed = experiment.trained(name, **settings), settings["first_layer"], settings["seed"]
        model = run.load_model("last")
        layer = experiment.layers(model)[0].statistics()
        accuracy = evaluation.accuracy(model, experiment.data.test, progress=runner.testing)
        row = {"first_layer": kind, "seed": seed, "test_accuracy": accuracy}
        rows.append(row | {name: layer[name] for name in STATISTICS})
    return rows, lambda: draw(rows)


def draw(rows):
    """Draw the accuracy and r of each kind, one point per seed."""
    from bnn import plots

    kinds = list(dict.fromkeys(row["first_layer"] for row in rows))
    figure, axes = plots.figure(2)
    labels = {"test_accuracy": "test accuracy", "r_weights": "r of the first layer"}
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        for row in rows:
            plots.points(ax, [kinds.index(row["first_layer"])], [row[name]], color=plots.BLUE)
        ax.set(ylabel=label, xlim=(-0.5, len(kinds) - 0.5))
        ax.set_xticks(range(len(kinds)), kinds)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("first_layer", __doc__, 8, argv, grid=True), measure)


if __name__ == "__main__":
    run_program("first_layer", main)
