"""Images that are set aside for validation and tests, and classes that a part lacks."""

import numpy as np

from bnn.datasets.storing import DataError

FEW = 10  # classes in a message


def set_aside(labels, count, seed, stratified=True):
    """Choose images at random.

    Args:
        labels: (n,) array of whole numbers.
        count: int, how many images; fewer if the classes are too small for so many.
        seed: int.
        stratified: bool. True: of each class its share, rounded, and never all its images, so that no class is lost for
            training. False: without regard to the classes, as earlier versions did.

    Returns:
        (chosen, left): sorted arrays of indices.

    Raises:
        DataError: nothing can be set aside, because no class has two images.
    """
    rng = np.random.default_rng(seed)
    if not stratified:
        order = rng.permutation(len(labels))
        return np.sort(order[:count]), np.sort(order[count:])
    names, sizes = np.unique(labels, return_counts=True)
    chosen = [
        rng.permutation(np.flatnonzero(labels == name))[:share]
        for name, share in zip(names, _shares(sizes, count, rng), strict=True)
    ]
    chosen = np.sort(np.concatenate(chosen))
    if not len(chosen):
        raise DataError(
            "images: expected a class of at least 2 training images, of which one is set aside for validation or "
            "tests, received one of each class"
        )
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)


def _shares(sizes, count, rng):
    """Return how many images to take of classes of these sizes: largest remainders, ties by lot."""
    exact = count * sizes / sizes.sum()
    shares = np.minimum(exact.astype(int), sizes - 1)
    while (left := count - shares.sum()) > 0 and (shares < sizes - 1).any():
        order = np.lexsort((rng.permutation(len(sizes)), shares - exact))
        order = order[shares[order] < sizes[order] - 1]
        shares[order[:left]] += 1
    return shares


def missing(labels, class_names):
    """Name the classes that have no images.

    Args:
        labels: dict from part, such as "training", to the (n,) labels of its images.
        class_names: sequence of str.

    Returns:
        str, one line; "" if every part has images of every class.
    """
    lacking = {part: np.setdiff1d(np.arange(len(class_names)), values) for part, values in labels.items()}
    said = [
        f"no {part} images of {_listed(absent, class_names)}"
        for part, absent in lacking.items()
        if len(absent)
    ]
    one = all(0 in absent for absent in lacking.values()) and class_names[0] == "0"
    hint = "; labels count from 0: subtract 1 from labels that begin at 1" if one else ""
    return f"classes without images: {'; '.join(said)}{hint}" if said else ""


def _listed(absent, class_names):
    names = ", ".join(class_names[i] for i in absent[:FEW])
    return f"{names}, ... ({len(absent):,} of {len(class_names):,} classes)" if len(absent) > FEW else names
