"""How do the angle and the latent weights depend on the learning rate, and on the clip?

A reviewer of the paper asked this question. The experiment trains a binary network for each learning rate and each clip
of the latent weights, all with the same initial weights. The initial distribution is uniform, which gives an angle of
30 degrees for any size of the weights. Gaussian weights give 37 degrees.
"""

import numpy as np

from bnn.console import run_program
from experiments import runner

RATES = (1e-4, 1e-3, 1e-2, 1e-1)
CLIPS = (0.1, 1.0, 10.0)
STATISTICS = ("layer", "d", "angle_mean_deg", "angle_theory_deg", "r_weights", "sign_flips", "latent_std")
FALL = 0.01  # ratio of the learning rates at the end and at the start


def measure(experiment):
    """Train and measure every layer; return (rows, function that draws them)."""
    rates, clips = (RATES[1:2], CLIPS[:2]) if experiment.quick else (RATES, CLIPS)
    rows, weights = [], {}
    grid = {
        f"rate{rate:g}-clip{clip:g}": {"lr_start": rate, "lr_end": rate * FALL, "clip": clip}
        for clip in clips
        for rate in rates
    }
    experiment.train_grid(grid)
    for name, settings in grid.items():
        run, rate, clip = experiment.trained(name, **settings), settings["lr_start"], settings["clip"]
        found, latent = measured(experiment, run)
        rows += [{"learning_rate": rate, "clip": clip, **row} for row in found]
        weights |= {(rate, clip, layer): values for layer, values in latent.items()}
    return rows, lambda: draw(rows, weights, rates, clips)


def measured(experiment, run):
    """Measure the layers of a trained network; return (rows, dict from layer to its latent weights)."""
    from bnn.models import evaluation

    model = run.load_model("last")
    accuracy = evaluation.accuracy(model, experiment.data.test, progress=runner.testing)
    rows, latent = [], {}
    for layer in experiment.layers(model):
        row = layer.statistics()
        latent[layer.name] = np.ravel(model.get_layer(layer.name).kernel)
        size = np.abs(latent[layer.name])
        shares = {"at_clip": size >= 0.999 * run.config.quantization.clip, "beyond_one": size > 1}
        rows.append(
            {"test_accuracy": accuracy}
            | {name: row[name] for name in STATISTICS}
            | {name: float(np.mean(share)) for name, share in shares.items()}
        )
    return rows, latent


def draw(rows, weights, rates, clips):
    """Draw one row of panels per clip: the angle of each layer against the rate, and one layer's latent weights."""
    from bnn import plots

    layers = list(dict.fromkeys(row["layer"] for row in rows))
    shown = layers[len(layers) // 2]
    figure, axes = plots.figure(2, len(clips), squeeze=False)
    for (left, right), clip in zip(axes, clips, strict=True):
        for layer, color in zip(layers, plots.sequence(len(layers)), strict=True):
            angles = [row["angle_mean_deg"] for row in rows if (row["layer"], row["clip"]) == (layer, clip)]
            left.plot(rates, angles, "o-", color=color, label=layer)
        plots.reference(left, 37.07, "Gaussian", axis="y", align="right")
        plots.reference(left, 30, "uniform", axis="y", align="right")
        left.set(xscale="log", xlabel="learning rate", ylabel="angle (degrees)", title=f"clip {clip:g}")
        for rate, color in zip(rates, plots.sequence(len(rates)), strict=True):
            values = weights[rate, clip, shown]
            scaled = values / values.std()
            right.hist(
                scaled, np.linspace(-4, 4, 81), density=True, histtype="step", color=color, label=f"{rate:g}"
            )
        right.set(yscale="log", xlabel=f"latent weights of {shown}, in standard deviations", ylabel="density")
        right.legend(title="learning rate", loc="upper left", bbox_to_anchor=(1, 1))
    plots.legend_below(figure, axes[0, 0], columns=4)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("learning_rate", __doc__, 6, argv, grid=True), measure)


if __name__ == "__main__":
    run_program("learning_rate", main)
