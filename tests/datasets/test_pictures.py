"""Images for a trained network: files of every kind, read in the shape of its input, or refused."""

import numpy as np
import pytest
from PIL import Image

from bnn.datasets import DataError, pictures
from tests.datasets.test_own import header

rng = np.random.default_rng(0)
GRAY, COLOR = (7, 9, 1), (7, 9, 3)
IMAGES = rng.integers(0, 256, (5, *COLOR), dtype=np.uint8)


def read(path, shape, **options):
    (part,) = pictures.parts([path], shape, **options)
    return part[1]


def saved(tmp_path, array, name="a.npy"):
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize(
    ("array", "shape", "expected"),
    [
        (IMAGES[0], COLOR, IMAGES[:1]),
        (IMAGES, COLOR, IMAGES),
        (IMAGES[0, ..., 0], GRAY, IMAGES[:1, ..., :1]),
        (IMAGES[..., 0], GRAY, IMAGES[..., :1]),
        (IMAGES[..., :1], GRAY, IMAGES[..., :1]),
        (IMAGES[0, ..., :1], GRAY, IMAGES[:1, ..., :1]),
        (IMAGES[..., 0], COLOR, IMAGES[..., :1].repeat(3, axis=3)),
        (IMAGES[..., :1].repeat(3, axis=3), GRAY, IMAGES[..., :1]),
        (IMAGES.reshape(5, -1), (189,), IMAGES.reshape(5, -1)),
        (IMAGES.repeat(4, axis=3), (7, 9, 12), IMAGES.repeat(4, axis=3)),
        (IMAGES[0, :1, :, :1], (1, 9, 1), IMAGES[:1, :1, :, :1]),
    ],
)
def test_arrays_of_every_form(tmp_path, array, shape, expected):
    np.testing.assert_array_equal(read(saved(tmp_path, array), shape), expected)


def test_many_images_are_read_in_parts_with_their_indices(tmp_path):
    path = saved(tmp_path, np.zeros((pictures.PART + 2, 7, 9), np.uint8))
    (names, first), (more, rest) = pictures.parts([path], GRAY)
    assert (len(first), len(rest)) == (pictures.PART, 2)
    assert (names[0], more) == (f"{path}[0]", [f"{path}[100]", f"{path}[101]"])


def test_resizing_equals_that_of_training(tmp_path):
    """Pictures and arrays give the same pixels as a folder with `--image_size`."""
    picture = Image.fromarray(IMAGES[0])
    scaled = np.asarray(picture.resize((5, 4), Image.Resampling.BILINEAR))
    for name in ("a.png", "a.npy"):
        np.testing.assert_array_equal(
            read(saved(tmp_path, IMAGES[0], name), (4, 5, 3), resize=True)[0], scaled
        )
    gray = np.asarray(picture.convert("L"))[..., None]
    np.testing.assert_array_equal(read(tmp_path / "a.png", GRAY, resize=True)[0], gray)
    floats = saved(tmp_path, IMAGES[0] / 255, "c.npy")
    np.testing.assert_array_equal(read(floats, (4, 5, 3), resize=True)[0], scaled)
    several = saved(tmp_path, np.full((2, 14, 18), 50, np.uint8), "b.npy")
    np.testing.assert_array_equal(read(several, GRAY, resize=True), np.full((2, *GRAY), 50))


def test_floats_are_pixels_in_the_range_of_the_run(tmp_path):
    path = saved(tmp_path, IMAGES / 127.5 - 1)
    np.testing.assert_array_equal(read(path, COLOR, image_range=(-1, 1)), IMAGES)
    with pytest.raises(DataError, match=r"a.npy: expected pixels from 0 to 1, received -"):
        read(path, COLOR, image_range=(0, 1))
    np.testing.assert_array_equal(read(path, COLOR, image_range=None), IMAGES / 127.5 - 1)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"text", "a.png: expected a PNG or JPEG image"),
        ("a.txt", b"text", "a.txt: expected a PNG or JPEG image"),
        ("a.npy", b"text", "a.npy: expected a .npy file of images"),
        ("a.npy", header((20_000_000, 7, 9, 1)), "a.npy: expected a .npy file of images"),
        ("a.npy", header((3,), "|O") + bytes(24), "a.npy: expected a .npy file of images"),
        ("a.npy", np.zeros((0, 7, 9, 1), np.uint8), "received 0 x 7 x 9 x 1"),
        ("a.npy", np.uint8(3), "received no axes"),
        ("a.npy", IMAGES[..., :2], "expected images of 7 x 9 x 1, received 7 x 9 x 2; resize=True"),
        ("a.png", IMAGES[0], "expected images of 7 x 9 x 1, received 7 x 9 x 3; resize=True"),
        ("a.png", IMAGES[0, :5], "expected images of 7 x 9 x 1, received 5 x 9 x 3"),
        ("a.png", np.zeros((7, 9), np.uint16), "expected 8 bits per channel"),
    ],
)
def test_other_files_give_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else saved(tmp_path, content, name)
    with pytest.raises(DataError, match=words) as error:
        read(path, GRAY)
    assert "\n" not in str(error.value)


def test_images_that_resizing_cannot_convert_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected images of 7 x 9 x 5, received 7 x 9 x 3$"):
        read(saved(tmp_path, IMAGES), (7, 9, 5), resize=True)
    with pytest.raises(DataError, match=r"expected uint8 pixels to scale, received float64"):
        read(saved(tmp_path, IMAGES[:, :5] / 255), COLOR, resize=True, image_range=None)
    with pytest.raises(DataError, match=r"expected a .npy file, as the network takes images of 7 x 9 x 5"):
        read(saved(tmp_path, IMAGES[0], "a.png"), (7, 9, 5))


def test_folders_are_searched_with_their_subfolders(tmp_path):
    (tmp_path / "a" / ".b").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("a/z.png", "c.JPEG", ".d.png", "e.txt", "a/.b/y.png"):
        (tmp_path / name).touch()
    assert pictures.find([tmp_path, tmp_path / ".d.png"])[2:] == [tmp_path / ".d.png"]
    assert pictures.find([tmp_path]) == [tmp_path / "a" / "z.png", tmp_path / "c.JPEG"]
    with pytest.raises(DataError, match=r"expected PNG, JPEG or .npy files, received a folder without any"):
        pictures.find([tmp_path / "empty"])
    with pytest.raises(DataError, match=r"nothing.png: expected an image or a folder of images"):
        pictures.find([tmp_path / "nothing.png"])
