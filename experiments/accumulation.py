"""Do the errors of binarization accumulate when all layers are replaced at once?

A reviewer of the paper asked this question. The experiment trains a binary network and compares it with copies that
multiply by the latent weights in one layer, in all layers, or in all layers except the first, the last or both. Batch
norm is refitted in each copy. r is the correlation between the outputs of the copy and of the network after the batch
norm of each layer. In the last layer, these outputs are the scores.
"""

from bnn.console import run_program
from experiments import runner

BATCH = 100


def measure(experiment):
    """Train, replace kernels and compare; return (rows, function that draws them)."""
    from bnn.analysis.keras import ablation
    from bnn.models import evaluation

    model, data = experiment.binary_network(), experiment.data
    names, _ = ablation.quantized_layers(model)
    original, rows = None, []
    for replaced, kernels in copies(names).items():
        print(f"replacing the kernels of: {replaced}")
        copy = ablation.unbinarized(model, kernels)
        experiment.refit(copy)
        original = original or copy
        accuracy = evaluation.accuracy(copy, data.test, progress=runner.testing)
        compared = compare(original, copy, data.test.images[: experiment.analyzed])
        rows += [{"replaced": replaced, "test_accuracy": accuracy, **row} for row in compared]
    return rows, lambda: draw(rows, names)


def copies(names):
    """Return a dict from the name of each copy to the layers with replaced kernels; `names` are those of all layers."""
    several = {"all": names, "but first": names[1:], "but last": names[:-1], "hidden": names[1:-1]}
    return {"none": [], **{name: [name] for name in names}, **several}


def compare(model, other, images):
    """Compare two networks after each batch norm; return a list of dicts with "layer", "r" and "sign_flips"."""
    import keras

    from bnn.geometry import CorrelationStatistics
    from bnn.layers import BatchNorm

    norms = [layer.name for layer in model.layers if isinstance(layer, BatchNorm)]
    taps = [
        keras.Function(network.inputs, [network.get_layer(name).output for name in norms])
        for network in (model, other)
    ]
    statistics = [CorrelationStatistics() for _ in norms]
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        for pair, ours, theirs in zip(statistics, *(tap([batch]) for tap in taps), strict=True):
            pair.update(*(keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in (ours, theirs)))
    return [
        {"layer": name.removesuffix("_norm"), "r": float(pair.r), "sign_flips": float(pair.sign_flips)}
        for name, pair in zip(norms, statistics, strict=True)
    ]


def draw(rows, names):
    """Draw the agreement of each layer and the accuracy of each copy."""
    from bnn import plots

    r = {(row["replaced"], row["layer"]): row["r"] for row in rows}
    accuracy = {row["replaced"]: row["test_accuracy"] for row in rows}
    figure, (left, right) = plots.figure(2, height=4.2)
    for i, name in enumerate(names[:-1]):
        later = range(i, len(names))
        label = "" if i else "one layer, measured in later layers"
        left.plot(later, [r[name, names[j]] for j in later], ":", color=plots.GRAY, linewidth=1, label=label)
    left.plot([r[name, name] for name in names], "o-", color=plots.BLUE, label="this layer only")
    left.plot([r["all", name] for name in names], "D-", color=plots.ORANGE, label="all layers")
    left.plot([r["but first", name] for name in names], "s-", color=plots.GREEN, label="all except the first")
    left.set(ylabel="r with the binary network", title="with latent kernels in")
    left.set_xticks(range(len(names)), names, rotation=60)
    plots.legend_below(figure, left, columns=3)
    replaced = list(accuracy)[1:]
    right.plot([accuracy[name] for name in replaced], "o", color=plots.BLUE)
    plots.reference(right, accuracy["none"], "binary network", axis="y", align="right")
    right.set(ylabel="test accuracy", title="with latent kernels in")
    right.set_xticks(range(len(replaced)), replaced, rotation=60)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("accumulation", __doc__, 30, argv, one_network=True), measure)


if __name__ == "__main__":
    run_program("accumulation", main)
