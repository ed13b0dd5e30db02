"""What scores decide: the margin of a decision, the confusion matrix, and the worst errors. It needs only NumPy."""

import numpy as np


def margins(scores):
    """Return the differences of the two highest scores of each image, (n,) float64; infinite for a single class.

    Args:
        scores: (n, classes) array.
    """
    ordered = np.sort(np.asarray(scores, np.float64), axis=1)
    if ordered.shape[1] < 2:
        return np.full(len(ordered), np.inf)
    return ordered[:, -1] - ordered[:, -2]


def worst_errors(scores, labels):
    """Return the indices of the images that are classified wrongly, the largest margin first, an int array.

    Args:
        scores: (n, classes) array.
        labels: (n,) array of whole numbers from 0.
    """
    wrong = np.flatnonzero(scores.argmax(axis=1) != labels)
    return wrong[np.argsort(-margins(scores[wrong]), kind="stable")]


def confusion_matrix(scores, labels):
    """Count the images of each class (rows) that are put into each class (columns).

    Args:
        scores: (n, classes) array.
        labels: (n,) array of whole numbers from 0 to classes - 1.

    Returns:
        (classes, classes) int array.
    """
    classes = scores.shape[1]
    pairs = np.asarray(labels, np.int64) * classes + scores.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
