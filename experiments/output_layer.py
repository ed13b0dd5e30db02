"""What are the largest latent weights of the output layer for?

In the paper's network they stand against the rest of their kernels (`python -m experiments.low_r`). Sorts the weights
of each unit by size, into up to 20 equal groups, and measures for each group, on training images: how often a weight's
sign agrees with the covariance of its input and the class; how often the loss pushes the latent weight still farther
out; and what becomes of training loss and test accuracy with the group's binary weights turned round. The gradient is
the binary kernel's, which the straight-through estimator hands to the latent one. Batch norm's moments are those of
the training images; "moments held" leaves out what the gradient owes to their dependence on the kernel.
"""

from dataclasses import dataclass

import numpy as np

from bnn.console import run_program
from bnn.runs import RunError
from experiments import runner

TRAINING_IMAGES = 5000
GROUPS = 20
EPSILON = 1e-3  # batch norm's


@dataclass(frozen=True)
class Seen:
    """What an output layer sees of some images.

    Attributes:
        inputs: (n, d) float64 array.
        targets: (n, classes) float64 array, 1 for the image's class and -1 for the others.
    """

    inputs: np.ndarray
    targets: np.ndarray


def measure(experiment):
    """Find or train the network, and measure: (rows, figure)."""
    import keras

    if experiment.finished and experiment.finished.training.loss_mode != "hinge-loss":
        raise RunError(f"{experiment.finished.folder}: expected a network trained with the hinge loss, "
                       f"received one with {experiment.finished.training.loss_mode}")  # fmt: skip
    model = experiment.binary_network()
    *_, layer = (layer for layer in model.layers if hasattr(layer, "kernel_quantizer"))
    before = keras.Model(model.inputs, layer.input)
    train, test = (
        seen(before, split) for split in (experiment.data.train[:TRAINING_IMAGES], experiment.data.test)
    )
    latent, offset = (
        keras.ops.convert_to_numpy(weight).astype(np.float64)
        for weight in (layer.kernel, model.layers[-1].offset)
    )
    rows = measured(train, test, latent, offset)
    return rows, draw(rows)


def seen(before, split):
    """What the output layer sees of a Split's images; `before` is the network up to it."""
    from bnn.models import scores
    from bnn.training import one_hot

    inputs = scores(before, split.images, progress=runner.testing).astype(np.float64)
    return Seen(inputs, 2 * one_hot(split.labels).astype(np.float64) - 1)


def measured(train, test, latent, offset):
    """A row for each group of the latent weights, the smallest first."""
    weights = np.where(latent < 0, -1.0, 1.0)
    agree = (train.inputs - train.inputs.mean(axis=0)).T @ train.targets * weights > 0
    pushed, pushed_held = (-push * weights > 0 for push in gradients(train, weights, offset))
    loss, accuracy = judged(train, test, weights, offset)
    groups, rows = by_size(latent), []
    for group in range(groups.max() + 1):
        mine = groups == group
        turned = judged(train, test, np.where(mine, -weights, weights), offset)
        rows.append({
            "group": group + 1, "latent": float(np.abs(latent[mine]).mean()), "agree": float(agree[mine].mean()),
            "pushed_out": float(pushed[mine].mean()), "pushed_out_moments_held": float(pushed_held[mine].mean()),
            "train_loss": loss, "train_loss_turned": turned[0],
            "test_accuracy": accuracy, "test_accuracy_turned": turned[1],
        })  # fmt: skip
    return rows


def by_size(latent):
    """The group of each weight among its unit's, 0 for the smallest; latent is (d, units)."""
    d = len(latent)
    order = np.argsort(np.argsort(np.abs(latent), axis=0), axis=0)
    return order * min(GROUPS, d) // d


def judged(train, test, weights, offset):
    """(squared hinge loss of the training images, accuracy on the test images)."""
    mean, scale = moments(train.inputs @ weights)

    def scores(images):
        return (images.inputs @ weights - mean) / scale + offset

    right = scores(test).argmax(axis=1) == test.targets.argmax(axis=1)
    return float(np.square(shortfall(scores(train), train.targets)).mean()), float(right.mean())


def moments(products):
    """What batch norm takes from dot products, (n, classes), and divides them by: two (classes,) arrays."""
    return products.mean(axis=0), np.sqrt(products.var(axis=0) + EPSILON)


def shortfall(scores, targets):
    """What scores lack of the margin 1."""
    return np.maximum(0, 1 - targets * scores)


def gradients(images, weights, offset):
    """The mean squared hinge loss's derivatives by an output layer's weights, the same with batch norm's moments held.

    Args:
        images: Seen.
        weights: (d, classes) array.
        offset: (classes,) array, batch norm's.

    Returns:
        Two (d, classes) arrays.
    """
    products = images.inputs @ weights
    mean, scale = moments(products)
    normalized = (products - mean) / scale
    by_scores = -2 * images.targets * shortfall(normalized + offset, images.targets) / images.targets.size
    by_moments = by_scores.mean(axis=0) + normalized * (by_scores * normalized).mean(axis=0)
    return images.inputs.T @ ((by_scores - by_moments) / scale), images.inputs.T @ (by_scores / scale)


def draw(rows):
    """Signs, pushes, and what turning the weights does, against the group."""
    from bnn import plots

    figure, (signs, pushes, turned) = plots.figure(3, height=4)
    groups = [row["group"] for row in rows]

    def curve(ax, values, form, colour, label=None):
        ax.plot(groups, values, form, color=colour, label=label)

    curve(signs, [row["agree"] for row in rows], "o-", plots.BLUE)
    signs.set(ylabel="signs that agree with the class", ylim=(0, 1))
    curve(pushes, [row["pushed_out"] for row in rows], "o-", plots.BLUE, "through batch norm")
    curve(pushes, [row["pushed_out_moments_held"] for row in rows], "D--", plots.ORANGE, "moments held")
    pushes.axhline(0.5, color=plots.GRAY, linestyle=":")
    pushes.set(ylabel="pushed farther out", ylim=(0, 1))
    curve(turned, [row["train_loss_turned"] for row in rows], "o-", plots.BLUE)
    plots.reference(turned, rows[0]["train_loss"], "as trained", axis="y", at=1, align="right")
    turned.set(ylabel="training loss, group turned round")
    for ax in (signs, pushes, turned):
        ax.set(xlabel="latent weights, small to large")
        ax.xaxis.get_major_locator().set_params(integer=True)
    plots.legend_below(figure, pushes, columns=2)
    return figure


def main(argv=None):
    """Do the experiment as the command line says."""
    return runner.perform(runner.begin("output_layer", __doc__, 30, argv, one_network=True), measure)


if __name__ == "__main__":
    run_program("output_layer", main)
