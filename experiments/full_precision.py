"""Does a network trained in full precision have the same geometry as a binary one?

A reviewer of the paper asked this question. The experiment trains a binary network and a continuous network with the
same layers (hard tanh instead of sign, kernels without a quantizer), and measures both in the same way. The kernels of
the continuous network are binarized after training, and its dot products use its own continuous activations. Its
accuracy with binarized kernels is measured after batch norm has been refitted.
"""

from bnn.console import run_program
from experiments import runner


def measure(experiment):
    """Train both networks and measure; return (rows, function that draws them)."""
    from bnn.analysis.keras import ablation
    from bnn.models import accuracy

    data, rows = experiment.data, []
    for network, changes in {"binary": {}, "continuous": {"continuous": True}}.items():
        model = experiment.trained(network, **changes).load_model("last")
        copy = ablation.binarized(model)
        experiment.refit(copy)
        accuracies = {
            "test_accuracy": accuracy(model, data.test, progress=runner.testing),
            "binarized_accuracy": accuracy(copy, data.test, progress=runner.testing),
        }
        quantizer = "sign" if changes else None
        for layer in experiment.layers(model, quantizer=quantizer):
            rows.append({"network": network} | accuracies | layer.statistics())
    return rows, lambda: draw(rows)


def draw(rows):
    """Draw the angle and the correlations of both networks for each layer."""
    from bnn import plots

    figure, axes = plots.figure(3, height=4)
    labels = {"angle_mean_deg": "angle (degrees)", "r_weights": "r", "r_permuted": "r, inputs permuted"}
    for ax, (key, label) in zip(axes, labels.items(), strict=True):
        for network, form in (("binary", "o-"), ("continuous", "D--")):
            found = [row for row in rows if row["network"] == network]
            names = [row["layer"] for row in found]
            ax.plot(range(len(names)), [row[key] for row in found], form, label=network)
        ax.set(ylabel=label)
        ax.set_xticks(range(len(names)), names, rotation=60)
    theory = [row["angle_theory_deg"] for row in found]
    axes[0].plot(range(len(names)), theory, ":", color=plots.GRAY, label="Gaussian weights")
    plots.legend_below(figure, axes[0], columns=3)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("full_precision", __doc__, 30, argv), measure)


if __name__ == "__main__":
    run_program("full_precision", main)
