"""Random shifts and mirror images of training images."""

import numpy as np

PAD = 4  # pixels by which a window may be shifted beyond the image in each direction


def windows(n, height, width, rng, flips=False):
    """Draw random shifts, and on request random mirror images [1]_: the source row and column of each new pixel.

    A shift cuts a window of the image's size out of the image, after padding by `PAD` pixels on each side. The padding
    reflects the image, because no constant shade is neutral to a network that takes signs.

    Args:
        n: int, the number of images.
        height: int, the height of an image.
        width: int, the width of an image.
        rng: numpy.random.Generator, the only source of randomness.
        flips: bool, whether to mirror left and right, each image with probability 1/2.

    Returns:
        Rows (n, height, 1) and columns (n, 1, width), int arrays. The new images (n, height, width, channels) are
        `images[np.arange(n)[:, None, None], rows, columns]`.

    References:
        .. [1] He, Zhang, Ren & Sun, "Deep Residual Learning", 2016, arXiv:1512.03385, section 4.2.
    """
    rows, columns = (_shifted(side, n, rng) for side in (height, width))
    if flips:
        mirrored = rng.random(n) < 0.5
        columns[mirrored] = columns[mirrored, ::-1]
    return rows[:, :, None], columns[:, None, :]


def _shifted(side, n, rng):
    """Draw n random windows and return their rows or columns, an (n, side) array of indices."""
    padded = np.pad(np.arange(side), PAD, mode="reflect")
    return padded[rng.integers(2 * PAD + 1, size=(n, 1)) + np.arange(side)]
