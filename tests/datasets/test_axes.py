"""Images with the channels first are refused with the line that mends them; masks of integers, and of bool."""

import numpy as np
import pytest

from bnn import datasets
from bnn.analysis.core.checks import ReportError, check_images
from bnn.datasets import DataError, pictures
from bnn.datasets.data_set import axes_hint

rng = np.random.default_rng(0)
LABELS = np.arange(10) % 2


def load(images, **changes):
    arrays = {"x_train": images, "y_train": LABELS, "x_test": images, "y_test": LABELS}
    return datasets.from_arrays(**arrays | changes)


@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (4, 20, 30), (3, 10, 12), (13, 64, 64)]
)
def test_channels_first_are_refused_and_the_line_mends_them(shape):
    images = rng.integers(0, 256, (10, *shape), dtype=np.uint8)
    with pytest.raises(
        DataError, match=r"received the shape .* come first; use np.moveaxis\(images, 1, -1\)$"
    ):
        load(images)
    assert load(np.moveaxis(images, 1, -1)).train.images.shape[1:] == (*shape[1:], shape[0])


@pytest.mark.parametrize(
    "shape", [(32, 32, 3), (28, 28, 1), (1, 128, 6), (3, 3, 3), (2, 2, 1), (32, 32, 16), (7, 9, 12)]
)
def test_other_images_are_taken_as_they_are(shape):
    assert load(rng.integers(0, 256, (10, *shape), dtype=np.uint8)).train.images.shape[1:] == shape


@pytest.mark.parametrize(
    ("received", "wanted", "line"),
    [
        ((5, 3, 32, 32), (32, 32, 3), "; use np.moveaxis(images, 1, -1)"),
        ((3, 32, 30), (32, 30, 3), "; use np.moveaxis(images, 0, -1)"),
        ((5, 3, 32, 32), (None, None, 3), "; use np.moveaxis(images, 1, -1)"),
        ((5, 32, 32, 3), (3, 32, 32), "; use np.moveaxis(images, -1, 1)"),
        ((5, 3, 32, 32), (28, 28, 3), ""),
        ((5, 7), (9,), ""),
    ],
)
def test_the_hint_is_right_or_absent(received, wanted, line):
    assert axes_hint(received, wanted) == line
    if line:
        moved = eval(line.removeprefix("; use "), {"np": np, "images": np.zeros(received)})
        assert all(size in (None, n) for size, n in zip(wanted, moved.shape[-3:], strict=True))


def test_prediction_and_analysis_name_the_line(tmp_path):
    import keras

    np.save(tmp_path / "many.npy", np.zeros((5, 3, 7, 9), np.uint8))
    with pytest.raises(DataError, match=r"received 3 x 7 x 9; use np.moveaxis\(images, 1, -1\)$"):
        list(pictures.parts([tmp_path / "many.npy"], (7, 9, 3)))
    np.save(tmp_path / "one.npy", np.zeros((3, 7, 9), np.uint8))
    with pytest.raises(DataError, match=r"a color image is np.moveaxis\(image, 0, -1\)"):
        list(pictures.parts([tmp_path / "one.npy"], (7, 9, 3)))
    model = keras.Sequential([keras.Input((7, 9, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(ReportError, match=r"received \(5, 3, 7, 9\); use np.moveaxis\(images, 1, -1\)$"):
        check_images(model, np.zeros((5, 3, 7, 9)), 5)


@pytest.mark.parametrize(
    ("dtype", "largest", "lines"), [(np.uint8, 1, 2), (int, 1, 2), (bool, 255, 0), (float, 255, 0)]
)
def test_integer_masks_are_pointed_out(tmp_path, capsys, dtype, largest, lines):
    mask = (rng.random((10, 7, 9)) < 0.5).astype(dtype)
    assert load(mask).train.images.max() == largest
    assert capsys.readouterr().err.count("all pixels are 0 or 1 of 255, nearly black") == lines
    np.save(tmp_path / "mask.npy", mask)
    list(pictures.parts([tmp_path / "mask.npy"], (7, 9, 1)))
    assert capsys.readouterr().err.count("nearly black") == bool(lines)


@pytest.mark.parametrize("image_range", [(0, 1), (-1, 1), (0, 255), (1, 2)])
def test_bool_is_black_and_white_in_any_range(tmp_path, image_range):
    mask = rng.random((10, 7, 9)) < 0.5
    expected, labels = np.where(mask, 255, 0)[..., None], np.arange(10) % 2
    data = datasets.from_arrays(mask, labels, mask, labels, image_range=image_range)
    np.savez(tmp_path / "masks.npz", x_train=mask, y_train=labels, x_test=mask, y_test=labels)
    read = datasets.load(str(tmp_path / "masks.npz"), image_range=image_range)
    np.save(tmp_path / "masks.npy", mask)
    ((_, shown),) = pictures.parts([tmp_path / "masks.npy"], (7, 9, 1), image_range=image_range)
    for images in (data.test.images, read.test.images, shown):
        np.testing.assert_array_equal(images, expected)
        assert images.dtype == np.uint8
