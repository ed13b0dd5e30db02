"""Augmented images are windows and mirror images of the originals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnn.datasets.augmentation import PAD, windows

SHAPES = st.tuples(st.integers(1, 8), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3))
SEEDS = st.integers(0, 2**32 - 1)


def random_images(shape, seed):
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def augment(images, rng, flips):
    n, height, width, _ = images.shape
    return images[np.arange(n)[:, None, None], *windows(n, height, width, rng, flips)]


def windows_of(image):
    """All windows of the reflected image: a dict from (row shift, column shift) to an array."""
    height, width, _ = image.shape
    padded = np.pad(image, ((PAD, PAD), (PAD, PAD), (0, 0)), mode="reflect")
    sides = range(2 * PAD + 1)
    return {(y - PAD, x - PAD): padded[y : y + height, x : x + width] for y in sides for x in sides}


@given(SHAPES, SEEDS, st.booleans())
def test_every_image_is_a_window_of_its_own_original(shape, seed, flips):
    images = random_images(shape, seed)
    augmented = augment(images, np.random.default_rng(seed), flips)
    assert augmented.shape == images.shape and augmented.dtype == np.uint8
    for image, received in zip(images, augmented, strict=True):
        # A mirrored window of a reflected image is the window of the mirrored image with the opposite shift.
        found = any(
            np.array_equal(received, window)
            for original in ([image, image[:, ::-1]] if flips else [image])
            for window in windows_of(original).values()
        )
        assert found


@given(SHAPES, SEEDS, st.booleans())
def test_results_depend_only_on_the_generator(shape, seed, flips):
    images = random_images(shape, 0)
    before = images.copy()
    first, second = (augment(images, np.random.default_rng(seed), flips) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("flips", [False, True])
def test_shifts_are_uniform_and_half_the_images_mirrored(flips):
    n = 8100
    image = random_images((20, 18, 1), 0)
    augmented = augment(np.broadcast_to(image, (n, *image.shape)), np.random.default_rng(1), flips)
    named = {window.tobytes(): (*shift, 0) for shift, window in windows_of(image).items()}
    named |= {window.tobytes(): (*shift, 1) for shift, window in windows_of(image[:, ::-1]).items()}
    shifts = np.array([named[received.tobytes()] for received in augmented])
    for axis in range(2):
        counts = np.bincount(shifts[:, axis] + PAD, minlength=2 * PAD + 1)
        np.testing.assert_allclose(counts, n / 9, atol=5 * np.sqrt(n * (1 / 9) * (8 / 9)))
    assert abs(np.corrcoef(shifts[:, 0], shifts[:, 1])[0, 1]) < 5 / np.sqrt(n)
    mirrored = shifts[:, 2].sum()
    assert mirrored == pytest.approx(n / 2, abs=5 * np.sqrt(n) / 2) if flips else mirrored == 0
