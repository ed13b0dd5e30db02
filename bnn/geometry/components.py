"""Principal components of a layer's inputs, and kernels as small pictures."""

import math

import numpy as np

from bnn.geometry.streaming import SecondMoments

GROUND = (0.75, 0.85, 0.95)  # light blue, so that gray pictures stand out from the background


def principal_components(rows):
    """Compute the directions of largest variance, after the mean of each coordinate is removed.

    Args:
        rows: (n, d) array_like, n >= 2.

    Returns:
        fractions: (d,) float64 array, each component's share of the variance, in decreasing order.
        components: (d, d) float64 array, one unit vector per row. The sum of its entries is not negative.

    Raises:
        ValueError: there are fewer than two rows, or all rows are equal.
    """
    moments = SecondMoments(np.shape(rows)[1]).update(rows)
    if moments.count < 2 or not np.trace(moments.covariance) > 0:
        raise ValueError(f"rows: expected at least 2 that vary, received {moments.count}")
    values, vectors = np.linalg.eigh(moments.covariance)
    total = values.sum()
    components = vectors.T[::-1]
    components = components * np.where(components.sum(axis=1, keepdims=True) < 0, -1, 1)
    return np.maximum(values[::-1], 0) / total, components


def as_images(vectors, shape):
    """Convert input vectors or kernels to pictures: 0 becomes medium gray, the extremes become black and white.

    Args:
        vectors: (n, d) array_like.
        shape: (height, width, channels) with product d.

    Returns:
        (n, height, width, 3) float64 array in [0, 1]. Each vector is scaled by its own largest entry. Three channels
        are shown as red, green and blue. For any other number of channels, their mean is shown in gray.
    """
    images = np.asarray(vectors, np.float64).reshape(-1, *shape)
    if shape[-1] != 3:
        images = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
    largest = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
    return 0.5 + images / np.where(largest > 0, 2 * largest, 1)


def mosaic(images, columns):
    """Arrange pictures in rows on a tinted background.

    Args:
        images: (n, height, width, 3) array in [0, 1].
        columns: int, >= 1.

    Returns:
        (height, width, 3) array in [0, 1]. Empty places show the background. The gap between pictures is an eighth of
        their height, and at least 1 pixel.
    """
    n, height, width, _ = images.shape
    gap = max(1, height // 8)
    rows = math.ceil(n / columns)
    canvas = np.tile(GROUND, ((height + gap) * rows + gap, (width + gap) * columns + gap, 1))
    for i, image in enumerate(images):
        top, left = gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas
