"""Which statistic predicts the cost of binarizing a layer?

The experiment trains three networks of standard Keras layers in full precision: a chain of convolutions, a residual
network and a dense network. Then it binarizes the kernel of one layer at a time: the sign of the kernel, times the
slope of the layer's dot products. The costs are the divergence from the predictions of the original network, which
`cost` predicts in nats; and, after batch norm has been refitted, the lost accuracy and the increase of the
cross-entropy on the test images. Spearman's rank correlation over the layers compares these costs with the predictions
of each statistic of the original network.
"""

import functools

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata, spearmanr

from bnn.console import run_program
from experiments import networks, runner

SEEDS = 2
COST_IMAGES = 100
DIVERGENCE_IMAGES = 2000
RESAMPLES = 1000
KEPT = (
    "layer",
    "d",
    "units",
    "angle_mean_deg",
    "r_weights",
    "sign_flips",
    "r_permuted",
    "r_within",
    "r_two_numbers",
    "gain",
    "r_scores",
    "cost",
    "cost_error",
)
COSTS = ("accuracy lost", "cross-entropy added")  # after batch norm has been refitted
ALL_COSTS = ("divergence", *COSTS)
# The cost that each statistic of a layer predicts, up to a monotonic map.
PREDICTED = {
    "1 - r": lambda row: 1 - row["r_weights"],
    "sign flips": lambda row: row["sign_flips"],
    "1 - r within units": lambda row: 1 - row["r_within"],
    "1 - r from two numbers": lambda row: 1 - row["r_two_numbers"],
    "1 / gain": lambda row: 1 / row["gain"],
    "angle": lambda row: row["angle_mean_deg"],
    "1 - r permuted": lambda row: 1 - row["r_permuted"],
    "1 / d": lambda row: 1 / row["d"],
    "1 - r of the scores": lambda row: 1 - row["r_scores"],
    "diagonal Fisher": lambda row: row["diagonal_fisher"],
    "cost": lambda row: row["cost"],
}


def measure(experiment):
    """Train every network and binarize every layer; return (rows, function that draws them)."""
    rows = experiment.of_each(
        networks.NETWORKS,
        SEEDS,
        lambda name, seed: binarized(experiment, networks.trained(experiment, name, seed)),
    )
    tell(rows)
    return rows, lambda: draw(rows)


def binarized(experiment, model):
    """Measure the statistics of each layer and the cost of binarizing it, a list of dicts."""
    from bnn.models import evaluation

    data, rows = experiment.data, []

    def scores(layer=None):
        copy = with_binary_kernel(model, layer)
        experiment.refit(copy)
        return evaluation.scores(copy, data.test.images, progress=runner.testing)

    accuracy, cross_entropy = judge(scores(), data.test.labels)
    divergences = unrefitted(experiment, model)
    report = experiment.layers(model, quantizer="sign", cost_images=COST_IMAGES)
    diagonal = diagonal_fisher(model, report, data.test.images[: experiment.analyzed])
    for layer, diagonal_cost in zip(report, diagonal, strict=True):
        with_layer, row = judge(scores(layer), data.test.labels), layer.statistics()
        costs = {
            "divergence": divergences(layer),
            "accuracy lost": accuracy - with_layer[0],
            "cross-entropy added": with_layer[1] - cross_entropy,
        }
        kept = {name: row[name] for name in KEPT} | {"diagonal_fisher": diagonal_cost}
        rows.append(kept | {"accuracy": accuracy} | costs)
        print(
            f"{model.name} {layer.name}: r {row['r_weights']:.3f}, "
            + ", ".join(f"{k} {v:.3f}" for k, v in costs.items())
        )
    return rows


def unrefitted(experiment, model):
    """Return a function from a layer to the mean divergence after its binarization, while batch norm stays as it is."""
    from bnn.analysis.core.assignment import divergence
    from bnn.models import evaluation

    images = experiment.data.test.images[:DIVERGENCE_IMAGES]
    before = evaluation.scores(model, images)
    return lambda layer: (
        divergence(before, evaluation.scores(with_binary_kernel(model, layer), images)) / len(images)
    )


def diagonal_fisher(model, report, images):
    """Predict the cost of binarizing each kernel from the diagonal of the Fisher information alone.

    `cost` squares the sum of gradient times change; the diagonal adds the squares, as if the weights were independent.
    Like `cost`, it takes labels drawn from the network's own predictions.

    Args:
        model: keras.Model.
        report: Report of the model.
        images: (n, height, width, channels) uint8 array.

    Returns:
        (layers,) float64 array in nats per image.
    """
    from bnn.analysis.core.cost import score_gradient
    from bnn.analysis.keras import gradients

    rng = np.random.default_rng(0)
    source = gradients.Gradients(model, images, [layer.product.variable for layer in report])
    chosen, paths = source.drawn(COST_IMAGES, 0)
    changes, costs = [gradients.change_of(layer) for layer in report], np.zeros(len(report))
    for image in chosen:
        found = source.of(image, paths, functools.partial(score_gradient, rng, None))
        costs += [
            np.sum((g * change).astype(np.float64) ** 2) / 2 for g, change in zip(found, changes, strict=True)
        ]
    return costs / len(chosen)


def judge(scores, labels):
    """Compute the accuracy and the mean cross-entropy in nats of (n, classes) scores."""
    right = scores[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.mean(scores.argmax(axis=1) == labels)), float(np.mean(logsumexp(scores, axis=1) - right))


def with_binary_kernel(model, layer=None):
    """Copy a model and binarize the kernel of one layer, scaled to fit the dot products by least squares.

    Args:
        model: keras.Model.
        layer: LayerReport of the layer, or None to change no kernel.
    """
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    if layer is not None:
        kernel = copy.get_layer(layer.name).kernel
        kernel.assign(np.reshape(layer.kernels.quantized * layer.slope, kernel.shape))
    return copy


def rank_correlations(rows, cost):
    """Compute Spearman's rank correlation of the prediction of each statistic with a cost, one of `ALL_COSTS`.

    Returns:
        Dict from the name of a statistic to a dict from a network to (correlation, number of layers). The network "all"
        means the layers of all networks. Predictions and costs are ranked within each network and seed, because some
        networks lose more than others.
    """
    networks = list(dict.fromkeys(row["network"] for row in rows))
    ranks = {}
    for name, predict in PREDICTED.items():
        ranks[name] = {}
        for network in (*networks, "all"):
            mine = [row for row in rows if network in ("all", row["network"])]
            pairs = ranked(grouped(mine, cost, predict))
            ranks[name][network] = (float(spearmanr(*pairs).statistic), pairs.shape[1])
    return ranks


def tell(rows):
    """Print the rank correlation of every statistic with every cost, and the calibration of `cost`."""
    for cost in ALL_COSTS:
        print(f"\nrank correlation with {cost} (number of layers; 95 % interval)")
        for name, ranks in rank_correlations(rows, cost).items():
            low, high = interval(rows, cost, PREDICTED[name])
            found = (f"{network} {rho:5.2f} ({n})" for network, (rho, n) in ranks.items())
            print(f"{name:>22}", *found, f"[{low:.2f}, {high:.2f}]", sep="  ")
    for name, key in (("cost", "cost"), ("diagonal Fisher", "diagonal_fisher")):
        quartiles = np.quantile([row[key] / row["divergence"] for row in rows], (0.25, 0.5, 0.75))
        print("\n{} over divergence: {:.2f}, {:.2f}, {:.2f} (quartiles)".format(name, *quartiles))


def interval(rows, cost, predict):
    """Compute the 95 % interval of the rank correlation over all layers.

    The layers are resampled within each network and seed (percentile bootstrap).

    Args:
        rows: list of dicts, of `binarized`.
        cost: str, one of `ALL_COSTS`.
        predict: function from a row to its prediction.

    Returns:
        (low, high), floats.
    """
    rng, found = np.random.default_rng(0), []
    groups = grouped(rows, cost, predict)
    for _ in range(RESAMPLES):
        drawn = [columns[:, rng.integers(columns.shape[1], size=columns.shape[1])] for columns in groups]
        found.append(spearmanr(*ranked(drawn)).statistic)
    return tuple(float(bound) for bound in np.nanquantile(found, (0.025, 0.975)))


def grouped(rows, cost, predict):
    """Return predictions and costs, one (2, layers) array for each network and seed."""
    groups = {}
    for row in rows:
        groups.setdefault((row["network"], row["seed"]), []).append((predict(row), row[cost]))
    return [np.array(pairs).T for pairs in groups.values()]


def ranked(groups):
    """Rank predictions and costs, (2, layers) arrays, within each group; return one (2, all layers) array."""
    return np.concatenate([rankdata(columns, axis=1) / columns.shape[1] for columns in groups], axis=1)


def draw(rows):
    """Draw the cost of each layer against 1 - r, one color per network, and the rank correlations of all statistics."""
    from bnn import plots

    figure, (left, *others) = plots.figure(4, width=15, height=4.2)
    networks = list(dict.fromkeys(row["network"] for row in rows))
    colors = dict(zip(networks, (plots.BLUE, plots.ORANGE, plots.GREEN), strict=False))
    for network, color in colors.items():
        mine = [row for row in rows if row["network"] == network]
        points = [100 * row["accuracy lost"] for row in mine]
        left.plot([PREDICTED["1 - r"](row) for row in mine], points, "o", color=color, label=network)
    left.set(xlabel="1 - r of the layer's dot products", ylabel="points of accuracy lost")
    for ax, cost in zip(others, ALL_COSTS, strict=True):
        ranks = rank_correlations(rows, cost)
        for network, color in (colors | {"all": plots.BLACK}).items():
            values = [ranks[name][network][0] for name in PREDICTED]
            marker = "D" if network == "all" else "o"
            ax.plot(values, range(len(PREDICTED)), marker, color=color, label=network)
        ax.axvline(0, color=plots.GRAY, linewidth=1, zorder=0)
        ax.set_yticks(range(len(PREDICTED)), PREDICTED if ax is others[0] else [""] * len(PREDICTED))
        ax.set(xlabel=f"rank correlation with\n{cost}", xlim=(-1.05, 1.05), ylim=(len(PREDICTED) - 0.5, -0.5))
    plots.legend_below(figure, others[0], columns=4)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("verdict", __doc__, 12, argv, own_networks=True), measure)


if __name__ == "__main__":
    run_program("verdict", main)
