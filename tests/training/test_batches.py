"""The batches of an epoch: their order, their images, and their augmentation."""

import itertools

import keras
import numpy as np
import pytest

from bnn.datasets import Split
from bnn.datasets.augmentation import alternating_flips
from bnn.datasets.texts import windows
from bnn.settings.config import ConfigError
from bnn.training import Batches, one_hot
from tests.support import small_data

STEPS = 10  # per epoch: 200 images in batches of 20


@pytest.fixture(scope="module")
def data():
    return small_data()


def test_the_order_depends_only_on_seed_and_epoch(data):
    third = Batches(data.train, 20, seed=5, epoch=2)
    later = Batches(data.train, 20, seed=5)
    later.on_epoch_end()
    later.on_epoch_end()
    np.testing.assert_array_equal(later.order, third.order)
    for other in (Batches(data.train, 20, seed=5, epoch=3), Batches(data.train, 20, seed=6, epoch=2)):
        assert not np.array_equal(other.order, third.order)


def test_an_epoch_shows_every_image_once(data):
    batches = Batches(data.train, 20, seed=0)
    assert len(batches) == STEPS
    assert sorted(np.concatenate([batches.order[i * 20 : i * 20 + 20] for i in range(STEPS)])) == list(
        range(200)
    )
    images, targets = batches[3]
    index = batches.order[60:80]
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, data.train.images[index])
    np.testing.assert_array_equal(targets, one_hot(data.train.labels[index]))


def test_smoothed_targets_give_the_loss_of_keras(data):
    labels = np.arange(10)
    scores = np.random.default_rng(0).standard_normal((10, 10)).astype(np.float32)
    entropy = keras.losses.CategoricalCrossentropy
    expected = entropy(from_logits=True, label_smoothing=0.3)(one_hot(labels), scores)
    found = entropy(from_logits=True)(one_hot(labels, smoothing=0.3), scores)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    smoothed = Batches(data.train, 20, seed=0, smoothing=0.3)[0][1]
    assert sorted(np.unique(smoothed)) == pytest.approx([0.03, 0.73])


def test_an_incomplete_last_batch_is_left_out(data):
    batches = Batches(data.train, 30, seed=0)
    assert len(batches) == 6
    assert all(len(batches[i][0]) == 30 for i in range(6))


def test_steps_are_the_first_batches_of_an_epoch_that_is_drawn_anew(data):
    for epoch in (0, 1):
        few, all_of_it = (Batches(data.train, 20, 0, epoch, steps=steps) for steps in (4, None))
        assert (len(few), len(all_of_it)) == (4, STEPS)
        for step in range(4):
            np.testing.assert_array_equal(few[step][0], all_of_it[step][0])
    rest = Batches(data.train, 20, 0, 1, first_step=3, steps=4)
    assert len(rest) == 1
    np.testing.assert_array_equal(rest[0][0], few[3][0])


def test_sequences_have_a_target_for_every_step():
    tokens = np.random.default_rng(0).integers(0, 7, 60).astype(np.uint8)
    batches = Batches(windows(tokens, 5, 1), 4, 0, classes=7, smoothing=0.3)
    images, targets = batches[2]
    index = batches.order[8:12]
    np.testing.assert_array_equal(images, [tokens[i : i + 5] for i in index])
    following = np.array([tokens[i + 1 : i + 6] for i in index])
    np.testing.assert_allclose(targets, 0.7 * np.eye(7)[following] + 0.3 / 7, rtol=1e-6)
    assert targets.dtype == np.float32


def test_an_unknown_augmentation_is_refused(data):
    with pytest.raises(ConfigError, match=r"augmentation: expected one of none, crops, .*received 'flips'"):
        Batches(data.train, 10, seed=0, augmentation="flips")


def test_a_later_first_step_skips_the_first_batches(data):
    whole, rest = Batches(data.train, 20, 0, epoch=1), Batches(data.train, 20, 0, epoch=1, first_step=7)
    assert len(rest) == 3
    for step in range(3):
        np.testing.assert_array_equal(rest[step][0], whole[7 + step][0])


def test_augmented_batches_depend_only_on_seed_epoch_and_step(data):
    def batches(**changes):
        return Batches(data.train, 20, **{"seed": 5, "epoch": 2, "augmentation": "flips-and-crops"} | changes)

    images, targets = batches()[7]
    np.testing.assert_array_equal(targets, batches(augmentation="none")[7][1])
    np.testing.assert_array_equal(images, batches()[7][0])
    np.testing.assert_array_equal(images, batches(first_step=4)[3][0])
    np.testing.assert_array_equal(images, Batches(data.train, 20, 5, 2, 0, "flips-and-crops")[7][0])
    for other in (batches(epoch=3), batches(seed=6), batches(augmentation="crops")):
        assert not np.array_equal(images, other[7][0])
    assert not np.array_equal(images[0], batches(augmentation="none")[7][0][0])


def test_alternating_flips_mirror_each_image_in_every_second_epoch(data):
    """The shifts are those of "crops", so that mirrored images are the ones whose columns are reversed."""

    def mirrored(epoch, seed=5):
        flips = np.zeros(200, bool)
        crops, alternating = (
            Batches(data.train, 20, seed, epoch, augmentation=augmentation)
            for augmentation in ("crops", "alternating-flips-and-crops")
        )
        for step in range(STEPS):
            (index, rows, columns), (same, same_rows, found) = crops.places(step), alternating.places(step)
            np.testing.assert_array_equal(same, index)
            np.testing.assert_array_equal(same_rows, rows)
            flips[index.ravel()] = reversed_ = (found == columns[..., ::-1]).all(axis=(1, 2))
            np.testing.assert_array_equal(found[~reversed_], columns[~reversed_])
        return flips

    first = mirrored(0)
    assert 60 < first.sum() < 140
    for epoch in (1, 2, 3):
        np.testing.assert_array_equal(mirrored(epoch), first ^ (epoch % 2 == 1))
    assert not np.array_equal(mirrored(0, seed=6), first)
    np.testing.assert_array_equal(alternating_flips(50, 5, 0), first[:50])


def test_every_step_of_every_epoch_and_seed_has_its_own_shifts():
    """All images are equal, so batches differ only in their shifts."""
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8)
    alike = Split(np.repeat(picture, 200, axis=0), np.zeros(200, np.uint8))
    shown = set()
    for seed, epoch in itertools.product((0, 1), repeat=2):
        batches = Batches(alike, 20, seed, epoch, augmentation="crops")
        shown |= {batches[step][0].tobytes() for step in range(STEPS)}
    assert len(shown) == 2 * 2 * STEPS
