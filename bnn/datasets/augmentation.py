"""Random shifts and mirror images of training images."""

import numpy as np

PAD = 4  # pixels by which a window may leave the image, either way


def windows(n, height, width, rng, flips=False):
    """Shift every image at random, and mirror about half of them if asked [1]_: where each new pixel comes from.

    A shift cuts a window of the image's size out of the image padded by `PAD` pixels on each side. The border is
    the image reflected, for no shade of its own is neutral to a network that takes signs.

    Args:
        n: number of images.
        height: of an image.
        width: of an image.
        rng: numpy.random.Generator, which alone decides the shifts and flips.
        flips: mirror left and right, each image with probability 1/2.

    Returns:
        Rows (n, height, 1) and columns (n, 1, width), arrays of int: the images (n, height, width, channels) become
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
    """(n, side) places of the rows or columns that n random windows show."""
    padded = np.pad(np.arange(side), PAD, mode="reflect")
    return padded[rng.integers(2 * PAD + 1, size=(n, 1)) + np.arange(side)]
