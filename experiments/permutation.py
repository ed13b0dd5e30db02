"""Does it matter whether activations are permuted within images or across them?

The paper permutes the inputs of each layer to show that what is left of r is the angle (Fig 4, right). Its code
permutes the whole tensor, its authors' answer to the reviewers has each image's own permutation, and so has
`analyze.py`. Measures both, over the first test images, beside what a permutation across all images should give. Within
images, these keep their brightness.
"""

import numpy as np

from bnn.console import run_program
from experiments import runner


def measure(experiment):
    """Find or train the network, and measure: (rows, figure)."""
    model, rows = experiment.binary_network(), []
    layers = experiment.layers(model, score_images=0)
    across = permuted_across(model, experiment.data.test.images[: experiment.analyzed])
    for layer in layers:
        rows.append({
            "layer": layer.name, "within_images": layer.r_permuted, "across_images": across[layer.name],
            "predicted": layer.predicted_r_permuted(), "cosine": float(np.cos(np.radians(layer.angle_mean_deg))),
        })  # fmt: skip
    return rows, draw(rows)


def permuted_across(model, images):
    """A dict from layer to r with its inputs permuted across all places and images of a batch of 50."""
    from bnn.analysis import capture, kernel_products
    from bnn.geometry import CorrelationStatistics

    found, rng = kernel_products.find(model), np.random.default_rng(0)
    statistics = {product.name: CorrelationStatistics() for product in found}
    for _, batch in capture.stream(model, found, images):
        for product, calls in zip(found, batch, strict=True):
            for inputs, _ in calls:
                shuffled = rng.permuted(inputs)
                ours, latent = (product.multiply(shuffled, kernel) for kernel in product.kernels)
                statistics[product.name].update(ours, latent)
    return {name: float(pair.r) for name, pair in statistics.items()}


def draw(rows):
    """The r of each layer after either permutation, and the cosine of its angle."""
    from bnn import plots

    figure, ax = plots.figure(height=4)
    looks = {
        "within_images": ("o", plots.BLUE, "permuted within images"),
        "across_images": ("D", plots.ORANGE, "permuted across images"),
        "cosine": ("_", plots.GRAY, "cosine of the angle"),
    }
    for key, (marker, colour, label) in looks.items():
        ax.plot([row[key] for row in rows], marker, color=colour, markersize=10, label=label)
    ax.set(ylabel="r")
    ax.set_xticks(range(len(rows)), [row["layer"] for row in rows], rotation=60)
    plots.legend_below(figure, ax, columns=3)
    return figure


def main(argv=None):
    """Do the experiment as the command line says."""
    return runner.perform(runner.begin("permutation", __doc__, 30, argv, one_network=True), measure)


if __name__ == "__main__":
    run_program("permutation", main)
