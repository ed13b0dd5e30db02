"""Images are set aside by class: the shares, what training keeps, and the line about classes that a part lacks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bnn import datasets
from bnn.datasets import DataError, splits

rng = np.random.default_rng(0)


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    tenths=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_every_class_gives_its_share_and_keeps_an_image(sizes, tenths, seed):
    labels = rng.permutation(np.repeat(np.arange(len(sizes)) * 3, sizes))
    count = max(1, round(tenths / 10 * len(labels)))
    if max(sizes) == 1:
        with pytest.raises(DataError, match="expected a class of at least 2 training images"):
            splits.set_aside(labels, count, seed)
        return
    chosen, left = splits.set_aside(labels, count, seed)
    assert sorted([*chosen, *left]) == list(range(len(labels)))
    assert len(chosen) == min(count, len(labels) - len(sizes))
    taken = np.array([(labels[chosen] == name).sum() for name in np.unique(labels)])
    assert (taken <= np.array(sizes) - 1).all()
    if min(sizes) > 10:
        assert (abs(taken - count * np.array(sizes) / len(labels)) < 1).all()
    assert np.array_equal(chosen, splits.set_aside(labels, count, seed)[0])


def test_a_class_of_one_image_is_always_trained_on():
    """Without regard to classes, it would be set aside for one seed in ten."""
    images, labels = rng.integers(0, 256, (100, 4, 4), dtype=np.uint8), np.repeat([0, 1, 2], [60, 39, 1])
    lost = 0
    for seed in range(100):
        drawn = {
            way: datasets.from_arrays(images, labels, images, labels, seed=seed, stratified=way)
            for way in (True, False)
        }
        assert np.bincount(drawn[True].train.labels).tolist() == [54, 35, 1]
        assert np.bincount(drawn[True].validation.labels).tolist() == [6, 4]
        lost += 2 not in drawn[False].train.labels
    assert 0 < lost < 30


def test_earlier_runs_have_their_split():
    """The split of earlier versions, in their words."""
    labels = rng.integers(0, 5, 83)
    order = np.random.default_rng(7).permutation(83)
    chosen, left = splits.set_aside(labels, 8, 7, stratified=False)
    assert chosen.tolist() == sorted(order[:8]) and left.tolist() == sorted(order[8:])


def test_test_images_of_a_folder_leave_every_class_to_train(tmp_path):
    for name, count in {"a": 17, "b": 2, "c": 1}.items():
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (6, 8), dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    tests = {datasets.load(f"{tmp_path}/", seed=seed).test.images.tobytes() for seed in range(5)}
    data = datasets.load(f"{tmp_path}/", seed=3)
    assert len(tests) == 1 and [len(part) for part in (data.train, data.validation, data.test)] == [16, 2, 2]
    assert set(data.train.labels) == {0, 1, 2}


@pytest.mark.parametrize(
    ("first", "changes", "said"),
    [
        (0, {}, ""),
        (1, {}, "no training images of 0; no validation images of 0; no test images of 0; labels count from 0"),
        (1, {"class_names": list("abcd")}, "no training images of a; no validation images of a; no test images of a\n"),
        (0, {"class_names": list("abcd")}, "no training images of d; no validation images of d; no test images of d\n"),
        (0, {"y_test": np.zeros(40, int)}, "arrays: classes without images: no test images of 1, 2\n"),
        (0, {"y_test": np.zeros(40, int), "class_names": range(20)}, "6, 7, 8, 9, 10, ... (19 of 20 classes)"),
    ],
)  # fmt: skip
def test_a_line_names_classes_without_images(capsys, first, changes, said):
    images, labels = rng.integers(0, 256, (40, 4, 4), dtype=np.uint8), np.arange(40) % 3 + first
    datasets.from_arrays(
        **{"x_train": images, "y_train": labels, "x_test": images, "y_test": labels} | changes
    )
    printed = capsys.readouterr().err
    assert said in printed if said else not printed
    assert printed.count("\n") == bool(said)
