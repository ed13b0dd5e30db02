"""Does it matter whether activations are permuted within images or across them?

The paper permutes the inputs of each layer to show that r then depends only on the angle (Fig 4, right). The paper's
code permutes the whole tensor. The authors' answer to the reviewers describes a separate permutation for each image,
and `analyze.py` does this too. The experiment measures both on the first test images, and compares them with the theory
for a permutation across all images. A permutation within images does not change the brightness of an image.
"""

import numpy as np

from bnn.console import run_program
from experiments import runner


def measure(experiment):
    """Load or train the network and measure; return (rows, function that draws them)."""
    model, rows = experiment.binary_network(), []
    layers = experiment.layers(model, score_images=0)
    across = permuted_across(model, experiment.data.test.images[: experiment.analyzed])
    for layer in layers:
        rows.append(
            {
                "layer": layer.name,
                "within_images": layer.r_permuted,
                "across_images": across[layer.name],
                "predicted": layer.predicted_r_permuted(),
                "cosine": float(np.cos(np.radians(layer.angle_mean_deg))),
            }
        )
    return rows, lambda: draw(rows)


def permuted_across(model, images):
    """Compute r with inputs permuted across all positions and images of a batch of 50, a dict from layer to r."""
    from bnn.analysis.keras import capture, kernels
    from bnn.geometry import CorrelationStatistics

    found, rng = kernels.find(model), np.random.default_rng(0)
    statistics = {product.name: CorrelationStatistics() for product in found}
    for _, batch in capture.stream(model, found, images):
        for product, calls in zip(found, batch, strict=True):
            for inputs, *_ in calls:
                shuffled = rng.permuted(inputs)
                ours, latent = (product.multiply(shuffled, kernel) for kernel in product.kernels)
                statistics[product.name].update(ours, latent)
    return {name: float(pair.r) for name, pair in statistics.items()}


def draw(rows):
    """Draw r of each layer after both permutations, and the cosine of its angle."""
    from bnn import plots

    figure, ax = plots.figure(height=4)
    looks = {
        "within_images": ("o", plots.BLUE, "permuted within images"),
        "across_images": ("D", plots.ORANGE, "permuted across images"),
        "cosine": ("_", plots.GRAY, "cosine of the angle"),
    }
    for key, (marker, color, label) in looks.items():
        ax.plot([row[key] for row in rows], marker, color=color, markersize=10, label=label)
    ax.set(ylabel="r")
    ax.set_xticks(range(len(rows)), [row["layer"] for row in rows], rotation=60)
    plots.legend_below(figure, ax, columns=3)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("permutation", __doc__, 30, argv, one_network=True), measure)


if __name__ == "__main__":
    run_program("permutation", main)
