"""Which differences between a network of another format and the float32 network rounding explains."""

from math import prod

import numpy as np

from bnn.layers import fast_ops
from bnn.packed.floats import multiply, pool_largest
from bnn.packed.folding import split

UNIT = 2.0**-23  # of float32
SHORT_UNIT = 2.0**-10  # of the products on accelerators, which may round factors to 10 bits


def unexplained(read, images, expected, found, exact_norms):
    """Count the values that differ by more than rounding explains.

    In each image only the first layer that differs counts, as it explains differences in later ones. A float32 sum may
    be off by the rounding of its terms, and a sum of whole numbers is exact.

    Args:
        read: Chain.
        images: (n, ...) array.
        expected: list of arrays, the activations of each link and the scores in the float32 network.
        found: list of such arrays of the other network.
        exact_norms: bool, whether the other network computes batch norm as the float32 network does.

    Returns:
        Dict from the name of a layer to that number; layers without such values are left out.
    """
    counts, same = {}, np.ones(len(images), bool)
    inputs = images.astype(np.float64) * read.scaling[0] + read.scaling[1]
    largest = np.abs(inputs).max()
    for i, (link, theirs, ours) in enumerate(zip(read.links, expected, found, strict=True)):
        slack = _slack(link, largest, first=i == 0, exact_norm=exact_norms)
        if link.quantizer is None:
            wrong = ~(np.abs(ours - theirs) <= _slack_of_scores(link, slack, largest))
            count = int(wrong[same].sum())
        else:
            different = (ours != theirs).reshape(len(images), -1).any(axis=1)
            rows = same & different
            least, most = _bounds(link, inputs[rows], slack) if rows.any() else (0, 0)
            ours, theirs_ = ours[rows], theirs[rows]
            count = int(((ours != theirs_) & ~((least <= ours) & (ours <= most))).sum())
            same &= ~different
        if count:
            counts[link.name] = counts.get(link.name, 0) + count
        inputs, largest = theirs, 1
    return counts


def _slack(link, largest, first, exact_norm):
    """The largest error of each unit's sum, (units,), where a batch norm that rounds counts as a part of the sum."""
    terms = link.magnitude * largest
    parts = split(link.kernel)
    whole = not first and parts is not None and (parts[1] == 1).all()
    slack = 0 * terms
    if not whole:
        d = prod(link.kernel.shape[:-1])
        slack = ((d + 4) * UNIT + (0 if fast_ops.on_cpu() else SHORT_UNIT)) * terms
    if not (whole and exact_norm):
        slack = slack + 4 * UNIT * (terms + _offsets(link))
    return slack


def _offsets(link):
    """The magnitude of what a batch norm adds to a sum, (units,); 0 where it does not multiply the sum at all."""
    factor, summand = (np.abs(values.astype(np.float64)) for values in link.affine())
    mean = 0 if link.norm is None else np.abs(np.asarray(link.norm.moving_mean, np.float64))
    return np.where(factor > 0, mean + summand / np.where(factor > 0, factor, 1), 0)


def _slack_of_scores(link, slack, largest):
    factor, summand = (np.abs(values.astype(np.float64)) for values in link.affine())
    return factor * (slack + 4 * UNIT * (link.magnitude * largest + _offsets(link))) + 4 * UNIT * summand


def _bounds(link, inputs, slack):
    """The least and the largest activations that sums with an error of at most `slack` can have."""
    sums = multiply(inputs.astype(np.float64), link.kernel.astype(np.float64))
    sums = pool_largest(sums) if link.pool == "sums" else sums
    ends = [link.activations(sums + sign * slack) for sign in (-1, 1)]
    ends = np.minimum(*ends), np.maximum(*ends)
    return [pool_largest(end) for end in ends] if link.pool == "bits" else ends
