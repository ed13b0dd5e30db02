"""The user's own data: arrays, .npz files and folders of images, valid and invalid."""

import contextlib
import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bnn import datasets
from bnn.datasets import DataError, npz_files
from bnn.settings import presets
from bnn.settings.config import settings_for

rng = np.random.default_rng(0)
X, Y = rng.integers(0, 256, (40, 7, 9), dtype=np.uint8), np.arange(40) % 3
XT, YT = X[:10], Y[:10]
ARRAYS = {"x_train": X, "y_train": Y, "x_test": XT, "y_test": YT}


def of(**changes):
    return datasets.from_arrays(**ARRAYS | changes)


def same(one, other):
    return all(
        np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
        for a, b in zip(
            (one.train, one.validation, one.test), (other.train, other.validation, other.test), strict=True
        )
    )


# ---- arrays ----


def test_a_tenth_is_set_aside_for_validation_by_the_seed():
    data = of()
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 10)
    assert data.train.images.shape == (36, 7, 9, 1) and data.class_names == ("0", "1", "2")
    together = [*data.train.images.tolist(), *data.validation.images.tolist()]
    assert sorted(together) == sorted(X[..., None].tolist())
    assert same(data, of()) and not same(data, of(seed=1)) and data.digest == of(seed=1).digest


def test_given_validation_images_are_kept():
    data = of(x_val=XT, y_val=YT)
    assert len(data.train) == 40 and np.array_equal(data.validation.images[..., 0], XT)


@pytest.mark.parametrize(
    "changes",
    [
        {"x_train": X / 255, "x_test": XT / 255},
        {"x_train": X.astype(np.float32) / 255, "x_test": XT},
        {"x_train": X.astype(int), "x_test": XT.astype(np.int16)},
        {"x_train": X / 127.5 - 1, "x_test": XT / 127.5 - 1, "image_range": (-1, 1)},
        {"x_train": X[..., None]},
        {"y_train": Y[:, None], "y_test": YT.astype(float)},
        {"y_train": np.eye(3)[Y], "y_test": np.eye(3, dtype=bool)[YT]},
    ],
)
def test_equivalent_forms_of_the_data_give_the_same(changes):
    x_test = changes.get("x_test", XT)
    x_test = x_test[..., None] if changes.get("x_train", X).ndim == 4 else x_test
    assert same(of(**changes | {"x_test": x_test}), of())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": X * 1.0}, r"x_train: expected pixels from 0 to 1, received 0 to 255; .* image_range="),
        ({"x_train": X.astype(int) + 1}, "x_train: expected pixels from 0 to 255, received 1 to 256"),
        ({"x_train": np.where(X > 250, np.nan, X / 255)}, "expected finite pixels, received NaN"),
        ({"x_train": np.where(X > 250, np.inf, X / 255)}, "expected finite pixels, received infinity"),
        ({"y_train": Y[:-1]}, "expected one label per image, received 40 images and 39 labels"),
        ({"x_test": X[:0], "y_test": Y[:0]}, "x_test: expected at least one test image, .* empty split"),
        ({"y_test": YT + 1}, "y_test: expected labels from 0 to 2, received 1 to 3"),
        ({"y_test": YT - 1}, "y_test: expected labels from 0 to 2, received -1 to 1"),
        ({"y_train": Y * 0, "y_test": YT * 0}, "expected at least 2 classes, received 1"),
        ({"y_train": Y + 0.5}, "y_train: expected whole numbers as labels"),
        ({"y_train": Y * 10**12}, "y_train: expected labels from 0 to at most 65535, received 2000000000000"),
        ({"y_train": Y * 1e300}, "y_train: expected whole numbers as labels"),
        ({"y_train": np.eye(3)[Y] * 2}, "y_train: expected one-hot labels"),
        ({"x_test": X[:10, :5]}, r"x_test: expected images \(7, 9, 1\) as in x_train, received \(5, 9, 1\)"),
        ({"x_train": X[0]}, r"x_train: expected images .*, received the shape \(7, 9\)"),
        ({"x_train": X.astype(str)}, "x_train: expected whole numbers or floats"),
        ({"x_val": XT}, "x_val, y_val: expected both or neither"),
        ({"class_names": ["a", "b"]}, "y_train: expected labels from 0 to 1, received 0 to 2"),
        ({"class_names": ["a", "b", "a"]}, "class_names: expected 3 different names, received 2"),
        ({"x_train": X[:1], "y_train": Y[:1], "class_names": "ab"}, "class_names: expected a list of names"),
    ],
)
def test_bad_arrays_raise_one_line(changes, message):
    with pytest.raises(DataError, match=message) as error:
        of(**changes)
    assert "\n" not in str(error.value)


# ---- presets ----


@settings(max_examples=60)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    channels=st.integers(1, 16),
    classes=st.integers(2, 1000),
    images=st.integers(1, 100),
)
def test_every_shape_has_a_preset_that_can_be_built(height, width, channels, classes, images):
    preset = presets.for_images((height, width, channels), classes, images)
    model, training = settings_for({"data_set": "x.npz"}, preset)
    assert (model.input_shape, model.classes) == ((height, width, channels), classes)
    assert training.batch_size <= images


def test_the_preset_for_digits_equals_that_of_mnist_5k():
    ours, theirs = (
        settings_for({}, presets.for_images((28, 28, 1), 10, 4000))[0],
        settings_for({"data_set": "mnist-5k"})[0],
    )
    assert ours == theirs


def test_a_pooling_that_does_not_fit_is_named():
    preset = presets.for_images((7, 9, 1), 3, 40)
    with pytest.raises(
        ValueError, match=r"at most 2 poolings for images of 7x9, .* after conv_4 would get 1x2"
    ):
        settings_for({"conv": (8,) * 5, "max_pool": (1, 0, 1, 1, 0)}, preset)


# ---- .npz files ----


def npz(path, arrays=ARRAYS, save=np.savez_compressed, **changes):
    save(path, **arrays | changes)
    return str(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_gives_the_same_data_as_its_arrays(tmp_path, save):
    path = npz(tmp_path / "a.npz", save=save, class_names=np.array(["u", "v", "w"]), other=np.arange(3))
    data = datasets.load(path, seed=4)
    assert same(data, of(seed=4)) and data.class_names == ("u", "v", "w")
    assert (data.name, data.label, data.official) == (path, path, False)
    fortran = npz(tmp_path / "f.npz", x_train=np.asfortranarray(X))
    assert same(datasets.load(fortran), of()) and datasets.load(fortran).digest != data.digest


def test_a_file_that_was_moved_is_found_in_the_data_folder(tmp_path):
    npz(tmp_path / "a.npz")
    data = datasets.load("/nowhere/a.npz", tmp_path)
    assert same(data, of()) and data.name == "/nowhere/a.npz"
    with pytest.raises(DataError, match=r"/nowhere/b.npz: expected an .npz file .*, received no such file"):
        datasets.load("/nowhere/b.npz", tmp_path)


class Trap:
    """An object that raises SystemExit when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def members(path, **contents):
    """Write an .npz file of the test arrays, with the given members replaced by these bytes."""
    npz(path)
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (held | contents).items():
            archive.writestr(name, content)
    return str(path)


def header(shape, descr="|u1"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_shapes_in_a_header_are_checked_before_the_array_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_files, "_array", None)  # would fail if it were called
    for shape in ((20_000_000, 32, 32), (-1, 7, 9), (10, 7, 9), (2**40, 2**40, 2**40)):
        path = members(tmp_path / "a.npz", **{"x_train.npy": header(shape) + b"x" * 99})
        with pytest.raises(DataError, match=r"x_train: expected .* bytes as the file holds them"):
            datasets.load(path)


def test_sizes_that_the_file_cannot_hold_are_refused(tmp_path):
    """The directory at the end of the file declares 2 GB instead of the true size."""
    path = tmp_path / "a.npz"
    npz(path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("x_train.npy").file_size.to_bytes(4, "little")
    place = content.rindex(size, 0, content.rindex(b"x_train.npy"))
    path.write_bytes(content[:place] + (2**31 - 1).to_bytes(4, "little") + content[place + 4 :])
    with pytest.raises(DataError, match=r"expected sizes that a file of .* bytes can hold"):
        datasets.load(str(path))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: npz(p, {k: v for k, v in ARRAYS.items() if k != "y_test"}), "y_test is missing"),
        (lambda p: npz(p, y_train=np.array([Trap()] * 40)), "y_train: .* received pickled objects"),
        (lambda p: members(p, **{"y_train.npy": b"\x80\x04."}), "not NumPy|damaged|magic"),
        (lambda p: members(p, **{"y_train.npy": header((3,), "O")}), "received pickled objects"),
        (lambda p: members(p, **{"y_train.npy": b""}), "damaged one"),
        (lambda p: p.write_bytes(b"hello"), "expected an .npz file that NumPy saved"),
        (lambda p: p.write_bytes(b""), "expected an .npz file that NumPy saved"),
    ],
)
def test_bad_files_raise_one_line_and_execute_nothing(tmp_path, spoil, message):
    path = tmp_path / "a.npz"
    spoil(path)
    with pytest.raises(DataError, match=message) as error:
        datasets.load(str(path))
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@settings(max_examples=60)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_detected_or_changes_nothing(tmp_path_factory, place, bit):
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    npz(path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert same(datasets.load(str(path)), of())


# ---- folders ----


def declaring(png, width, height):
    """Return a PNG file whose header declares another size."""
    head = b"IHDR" + struct.pack(">2I", width, height) + png[24:29]
    return png[:12] + head + struct.pack(">I", zlib.crc32(head)) + png[33:]


def photos(folder, names=("cat", "dog"), count=12, shape=(6, 8, 3)):
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


def test_each_sub_folder_is_one_class(tmp_path):
    folder = photos(tmp_path / "photos")
    (folder / ".hidden").mkdir()
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    data, other = datasets.load(f"{folder}/"), datasets.load(f"{folder}/", seed=1)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [20, 2, 2]
    assert data.class_names == ("cat", "dog") and data.train.images.shape[1:] == (6, 8, 3)
    assert np.array_equal(data.test.images, other.test.images) and not same(data, other)
    pictures = {np.asarray(Image.open(path)).tobytes(): path.parent.name for path in folder.glob("*/[0-9]*")}
    for split in (data.train, data.validation, data.test):
        for image, label in zip(split.images, split.labels, strict=True):
            assert pictures[image.tobytes()] == data.class_names[label]


def test_a_path_is_own_data_wherever_it_points(tmp_path, monkeypatch):
    photos(tmp_path / "mnist-5k")
    monkeypatch.chdir(tmp_path)
    expected = datasets.load(f"{tmp_path}/mnist-5k")
    for path in (tmp_path / "mnist-5k", Path("mnist-5k")):
        data = datasets.load(path)
        assert same(data, expected) and (data.name, data.digest) == (expected.name, expected.digest)
    with pytest.raises(DataError, match="no such file or folder"):
        datasets.load(tmp_path / "elsewhere")


def test_a_name_without_a_slash_says_how_to_write_the_folder(tmp_path, monkeypatch):
    photos(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=r"received 'pets'; for the folder or file of this name, write \./pets$"
    ):
        datasets.load("pets")
    with pytest.raises(DataError, match=r"received a ndarray; bnn.datasets.from_arrays takes arrays"):
        datasets.load(np.zeros((3, 3)))


def test_a_folder_may_contain_train_validation_and_test_folders(tmp_path):
    photos(tmp_path / "train", count=5, shape=(6, 8)), photos(tmp_path / "test", ["dog"], 3, (6, 8))
    data = datasets.load(f"{tmp_path}/")
    assert (len(data.train), len(data.validation)) == (9, 1) and data.test.labels.tolist() == [1, 1, 1]
    assert data.train.images.shape[1:] == (6, 8, 1)
    photos(tmp_path / "val", ["cow"], 3, (6, 8))
    with pytest.raises(DataError, match="cow: expected one of the classes cat, dog"):
        datasets.load(f"{tmp_path}/")


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    names = ["10", "b", "2", "a10", "-1", "007", "0.5", "1"]
    folder = photos(tmp_path / "photos", names, count=3)
    data, earlier = datasets.load(f"{folder}/"), datasets.load(f"{folder}/", class_names=sorted(names))
    assert data.class_names == ("-1", "0.5", "1", "2", "007", "10", "a10", "b")
    assert earlier.class_names == tuple(sorted(names)) and data.digest == earlier.digest
    assert datasets.load(f"{folder}/", class_names=["1", "2"]).class_names == data.class_names
    pictures = {np.asarray(Image.open(path)).tobytes(): path.parent.name for path in folder.glob("*/*.png")}
    for read in (data, earlier):
        for split in (read.train, read.validation, read.test):
            for image, label in zip(split.images, split.labels, strict=True):
                assert pictures[image.tobytes()] == read.class_names[label]


def test_images_of_different_sizes_need_image_size(tmp_path):
    folder = photos(tmp_path / "photos")
    Image.new("L", (20, 10)).save(folder / "dog" / "z.jpg")
    with pytest.raises(
        DataError,
        match=r"z.jpg: expected 6 x 8 pixels as in 00.png, received 10 x 20; .*image_size=\(HEIGHT, WIDTH\)$",
    ):
        datasets.load(f"{folder}/")
    assert datasets.load(f"{folder}/", image_size=[4, 5]).train.images.shape == (21, 4, 5, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dog/a.png", b"nope", "a.png: expected a PNG or JPEG image, received another or a damaged file"),
        ("dog/a.gif", b"GIF89a", "a.gif: expected PNG or JPEG files alone"),
    ],
)
def test_files_that_are_not_images_are_refused(tmp_path, name, content, message):
    folder = photos(tmp_path / "photos")
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        datasets.load(f"{folder}/")


def test_truncated_deep_and_huge_images_and_empty_folders_are_refused(tmp_path):
    folder = photos(tmp_path / "photos")
    path = folder / "cat" / "00.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match=r"00.png: expected a PNG or JPEG image, received .* damaged"):
        datasets.load(f"{folder}/")
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(path)
    with pytest.raises(DataError, match=r"00.png: expected 8 bits per channel"):
        datasets.load(f"{folder}/")
    path.write_bytes(declaring(whole, 30_000, 30_000))
    with pytest.raises(DataError, match=r"00.png: expected"):
        datasets.load(f"{folder}/")
    with pytest.raises(DataError, match="expected one sub-folder of PNG or JPEG files per class"):
        datasets.load(f"{folder / 'cat'}/")
