"""What is the purpose of the largest latent weights of the output layer?

In the paper's network, these weights oppose the rest of their kernels (`python -m experiments.low_r`). The experiment
sorts the weights of each unit by size into up to 20 equal groups. For each group it measures

- how often the sign of a weight agrees with the covariance of its input and the class, on training images,
- how often it agrees with a ridge regression of the class on all inputs: an input that is correlated with other inputs
  can help against its own covariance (a suppressor),
- how often the gradient pushes the latent weight farther from 0, on training images, and
- the training loss and the test accuracy after the signs of the group's binary weights are inverted.

The gradient is that of the binary kernel, which the straight-through estimator passes to the latent kernel. Batch norm
uses the moments of the training images. "moments held" ignores that these moments depend on the kernel.
"""

from dataclasses import dataclass

import numpy as np

from bnn.console import run_program
from bnn.runs import RunError
from experiments import runner

TRAINING_IMAGES = 5000
GROUPS = 20
EPSILON = 1e-3  # of batch norm
RIDGES = (0.01, 0.1, 1.0)  # over the mean variance of an input


@dataclass(frozen=True)
class Seen:
    """The inputs and the targets of an output layer for some images.

    Attributes:
        inputs: (n, d) float64 array.
        targets: (n, classes) float64 array, 1 for the class of the image and -1 for the other classes.
    """

    inputs: np.ndarray
    targets: np.ndarray


def measure(experiment):
    """Load or train the network and measure; return (rows, function that draws them)."""
    import keras

    if experiment.finished and experiment.finished.training.loss_mode != "hinge-loss":
        raise RunError(
            f"{experiment.finished.folder}: expected a network trained with the hinge loss, "
            f"received one with {experiment.finished.training.loss_mode}"
        )
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
    return rows, lambda: draw(rows)


def seen(before, split):
    """Compute the inputs of the output layer for a Split; `before` is the network before this layer."""
    from bnn.models import scores
    from bnn.training import one_hot

    inputs = scores(before, split.images, progress=runner.testing).astype(np.float64)
    return Seen(inputs, 2 * one_hot(split.labels).astype(np.float64) - 1)


def measured(train, test, latent, offset):
    """Measure one row per group of latent weights, starting with the smallest weights."""
    weights = np.where(latent < 0, -1.0, 1.0)
    agree = (train.inputs - train.inputs.mean(axis=0)).T @ train.targets * weights > 0
    regressed = {ridge: regression(train, ridge) * weights > 0 for ridge in RIDGES}
    pushed, pushed_held = (-push * weights > 0 for push in gradients(train, weights, offset))
    loss, accuracy = judged(train, test, weights, offset)
    groups, rows = by_size(latent), []
    for group in range(groups.max() + 1):
        mine = groups == group
        turned = judged(train, test, np.where(mine, -weights, weights), offset)
        rows.append(
            {
                "group": group + 1,
                "latent": float(np.abs(latent[mine]).mean()),
                "agree": float(agree[mine].mean()),
                **{f"agree_ridge_{ridge:g}": float(regressed[ridge][mine].mean()) for ridge in RIDGES},
                "pushed_out": float(pushed[mine].mean()),
                "pushed_out_moments_held": float(pushed_held[mine].mean()),
                "train_loss": loss,
                "train_loss_turned": turned[0],
                "test_accuracy": accuracy,
                "test_accuracy_turned": turned[1],
            }
        )
    return rows


def regression(images, ridge):
    """Return the (d, classes) coefficients of a ridge regression of the targets on the inputs.

    Args:
        images: Seen.
        ridge: float, the penalty over the mean variance of an input.
    """
    inputs = images.inputs - images.inputs.mean(axis=0)
    covariance = inputs.T @ inputs / len(inputs)
    penalty = ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.linalg.solve(covariance + penalty, inputs.T @ images.targets / len(inputs))


def by_size(latent):
    """Return the group of each weight within its unit, 0 for the smallest weights; latent is (d, units)."""
    d = len(latent)
    order = np.argsort(np.argsort(np.abs(latent), axis=0), axis=0)
    return order * min(GROUPS, d) // d


def judged(train, test, weights, offset):
    """Return (squared hinge loss on the training images, accuracy on the test images)."""
    mean, scale = moments(train.inputs @ weights)

    def scores(images):
        return (images.inputs @ weights - mean) / scale + offset

    right = scores(test).argmax(axis=1) == test.targets.argmax(axis=1)
    return float(np.square(shortfall(scores(train), train.targets)).mean()), float(right.mean())


def moments(products):
    """Return the mean and the scale with which batch norm normalizes (n, classes) dot products: (classes,) arrays."""
    return products.mean(axis=0), np.sqrt(products.var(axis=0) + EPSILON)


def shortfall(scores, targets):
    """Return the distance of the scores to the margin 1; 0 beyond the margin."""
    return np.maximum(0, 1 - targets * scores)


def gradients(images, weights, offset):
    """Compute the gradients of the mean squared hinge loss with respect to the weights of an output layer.

    Args:
        images: Seen.
        weights: (d, classes) array.
        offset: (classes,) array, the offset of batch norm.

    Returns:
        Two (d, classes) arrays: the gradient, and the gradient with constant moments of batch norm.
    """
    products = images.inputs @ weights
    mean, scale = moments(products)
    normalized = (products - mean) / scale
    by_scores = -2 * images.targets * shortfall(normalized + offset, images.targets) / images.targets.size
    by_moments = by_scores.mean(axis=0) + normalized * (by_scores * normalized).mean(axis=0)
    return images.inputs.T @ ((by_scores - by_moments) / scale), images.inputs.T @ (by_scores / scale)


def draw(rows):
    """Draw the signs, the pushes and the effect of inverted weights against the group."""
    from bnn import plots

    figure, (signs, pushes, turned) = plots.figure(3, height=4)
    groups = [row["group"] for row in rows]

    def curve(ax, values, form, color, label=None):
        ax.plot(groups, values, form, color=color, label=label)

    curve(signs, [row["agree"] for row in rows], "o-", plots.BLUE, "covariance")
    curve(signs, [row[f"agree_ridge_{RIDGES[1]:g}"] for row in rows], "D--", plots.ORANGE, "regression")
    signs.legend(loc="lower left")
    signs.set(ylabel="signs that agree with the class", ylim=(0, 1))
    curve(pushes, [row["pushed_out"] for row in rows], "o-", plots.BLUE, "through batch norm")
    curve(pushes, [row["pushed_out_moments_held"] for row in rows], "D--", plots.ORANGE, "moments held")
    pushes.axhline(0.5, color=plots.GRAY, linestyle=":")
    pushes.set(ylabel="pushed farther from 0", ylim=(0, 1))
    curve(turned, [row["train_loss_turned"] for row in rows], "o-", plots.BLUE)
    plots.reference(turned, rows[0]["train_loss"], "as trained", axis="y", at=1, align="right")
    turned.set(ylabel="training loss, group inverted")
    for ax in (signs, pushes, turned):
        ax.set(xlabel="latent weights, small to large")
        ax.xaxis.get_major_locator().set_params(integer=True)
    plots.legend_below(figure, pushes, columns=2)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("output_layer", __doc__, 30, argv, one_network=True), measure)


if __name__ == "__main__":
    run_program("output_layer", main)
