"""Figures of a classification: the images that a network gets most wrong, and its confusion matrix."""

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import PercentFormatter

from bnn.plots import primitives, style
from bnn.plots.names import shortened, width
from bnn.plots.style import BLACK

ERRORS = 20  # images that a figure shows at most
NAMED = 20  # classes up to which a confusion matrix has names and counts
LONGEST = 8  # times the other side of an image, up to which its pixels are drawn as squares
LETTERS, USUAL = 16, 12  # of a class name; longer ones than usual are smaller above an image


@style.styled
def errors(images, labels, predicted, margins, class_names, axes=None):
    """Draw images that a network classifies wrongly, with the class that it names, the true one, and the margin.

    Args:
        images: (n, height, width, channels) uint8 array, n >= 1; of other than 1 or 3 channels, the mean is drawn.
        labels: (n,) array of int, the true classes.
        predicted: (n,) array of int.
        margins: (n,) array, the differences of the two highest scores.
        class_names: sequence of str.
        axes: None, or one Axes per image; at most `ERRORS` images are drawn.

    Returns:
        Figure
    """
    count, names = min(len(images), ERRORS), shortened(class_names, LETTERS)
    fig, panels = style.axes_for(axes, count, columns=min(5, count), height=2.1)
    for ax, image, label, named, margin in zip(panels, images, labels, predicted, margins, strict=False):
        image = image if image.shape[-1] == 3 else image.mean(axis=-1)
        aspect = "auto" if max(image.shape[:2]) > LONGEST * min(image.shape[:2]) else "equal"
        primitives.picture(ax, image, cmap="gray", vmin=0, vmax=255, aspect=aspect)
        shown = f"true {names[label]},\npredicted {names[named]}"
        size = 9 if max(width(names[label]), width(names[named])) <= USUAL else 7.5
        ax.set_title(shown, loc="center", fontsize=size)
        ax.set_xlabel(f"margin {margin:.2f}", fontsize=9)
    return fig


@style.styled
def confusion_matrix(counts, class_names, axes=None):
    """Draw a confusion matrix. The color is the share of the true class, on the scale of its square root.

    Args:
        counts: (classes, classes) array of int, images of each class (rows) that were put into each class (columns).
        class_names: sequence of str.
        axes: None, or Axes.

    Returns:
        Figure
    """
    fig, (ax,) = style.axes_for(axes, 1, height=6.2)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, aspect="auto", cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    ax.set(xlabel="class that the network names", ylabel="true class")
    if len(counts) <= NAMED:
        _name(ax, counts, shares, shortened(class_names, LETTERS))
    ax.figure.colorbar(
        image, ax=ax, format=PercentFormatter(1), fraction=0.04, label="share of the true class"
    )
    return fig


def _name(ax, counts, shares, names):
    """Write the names of the classes and the counts that are not 0."""
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.5 else BLACK
            ax.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=9)
