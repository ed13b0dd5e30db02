"""Plain integer arithmetic as the reference for the tests of bits, and the engines that are tested."""

from contextlib import contextmanager
from unittest import mock

import numpy as np

from bnn.bits import Thresholds, numpy_products, products

try:
    from bnn.bits import numba_products
except ImportError:
    ENGINES = {"numpy": numpy_products}
else:
    ENGINES = {"numpy": numpy_products, "numba": numba_products}


@contextmanager
def using(name):
    with mock.patch.object(products, "engine", lambda: ENGINES[name]):
        yield


def draw(rng, shape, ternary):
    return rng.integers(-1, 2, shape) if ternary else rng.choice([-1, 1], shape)


def convolution(x, kernel):
    """SAME convolution of integers; the kernel has the layout of Keras."""
    height, width = kernel.shape[:2]
    pads = [(0, 0), *(((size - 1) // 2, size // 2) for size in (height, width)), (0, 0)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, pads), (height, width), axis=(1, 2))
    return np.einsum("nyxcij,ijcu->nyxu", windows.astype(np.int64), kernel.astype(np.int64), optimize=True)


def pooled(values, largest=np.max):
    n, height, width, channels = values.shape
    values = values[:, : height // 2 * 2, : width // 2 * 2]
    return largest(values.reshape(n, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def draw_thresholds(rng, sums, ternary):
    """Thresholds at possible sums, between them, and beyond all sums."""
    rows = np.append(sums.reshape(-1, sums.shape[-1]), np.zeros((1, sums.shape[-1]), int), axis=0)
    at = np.stack([rng.permuted(rows, axis=0)[0] for _ in range(1 + ternary)])
    at = at + rng.integers(-1, 2, at.shape)
    at[rng.random(at.shape) < 0.05] = 2**31 - 1
    at[rng.random(at.shape) < 0.05] = -(2**31)
    rising = rng.random(at.shape[1]) < 0.5
    return Thresholds(np.where(rising, np.sort(at, axis=0), np.sort(at, axis=0)[::-1]), rising)


def activations(sums, thresholds):
    """The definition of `Thresholds`, applied to values instead of bits."""
    planes = [np.where(thresholds.rising, sums >= at, sums <= at).astype(int) for at in thresholds.at]
    return planes[0] + planes[1] - 1 if len(planes) == 2 else 2 * planes[0] - 1
