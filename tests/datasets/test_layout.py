"""Folders of images as people have them: usual names of parts, what is left out, and what is refused by name."""

import numpy as np
import pytest
from PIL import Image

from bnn import datasets
from bnn.datasets import DataError, layout


@pytest.fixture
def make(tmp_path):
    """Return a function that makes files, some numbered images in each folder of this name, and returns the folder."""

    def made(*folders, files=(), count=4):
        for name in folders:
            (tmp_path / name).mkdir(parents=True)
            for i in range(count):
                level = 16 * len(list(tmp_path.rglob("*.png"))) % 256
                Image.fromarray(np.full((6, 8), level, np.uint8)).save(tmp_path / name / f"{i}.png")
        for name in files:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if name.endswith("/") else path.write_bytes(b"x")
        return tmp_path

    return made


def sizes(folder):
    data = datasets.load(f"{folder}/")
    return [len(part) for part in (data.train, data.validation, data.test)], data.class_names


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Valid", "VAL", "val_set"])
@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("Training", "TESTING"), ("train_set", "test-set")]
)
def test_usual_names_of_parts(make, train, val, test):
    folder = make(f"{train}/a", f"{train}/b", f"{test}/a", f"{val}/b")
    assert sizes(folder) == ([8, 4, 4], ("a", "b"))
    data = datasets.load(f"{folder}/")
    assert data.validation.labels.tolist() == [1] * 4 and data.test.labels.tolist() == [0] * 4


def test_without_test_images_a_tenth_of_the_training_images_is_set_aside(make, capsys):
    folder = make("train/a", "train/b", "val/a", "val/b", count=10)
    assert sizes(folder) == ([18, 20, 2], ("a", "b"))
    said = "no folder of test images; a tenth of the training images is set aside for tests\n"
    assert capsys.readouterr().err == f"{folder}: {said}"


def test_train_alone_is_a_folder_of_classes(make):
    assert sizes(make("Train/a", "Train/b", count=10)) == ([16, 2, 2], ("a", "b"))


def test_parts_may_be_names_of_classes(make):
    assert sizes(make("train", "bus", "test", count=10)) == ([24, 3, 3], ("bus", "test", "train"))


def test_what_is_left_out_is_counted_in_one_line(make, capsys):
    litter = (
        "__MACOSX/a/._0.png",
        ".hidden/0.png",
        "a/.DS_Store",
        "b/Thumbs.db",
        "b/deeper/",
        "cow/",
        "cow/.x",
    )
    folder = make("a", "b", count=10, files=(*litter, "1.png", "2.JPG", "labels.csv"))
    assert sizes(folder) == ([16, 2, 2], ("a", "b"))
    said = (
        "left out hidden files or folders: 5, images beside the folders: 2, other files beside the folders: 1, "
        "folders without images: 2 (b/deeper, cow)\n"
    )
    assert capsys.readouterr().err == f"{folder}: {said}"


def test_what_is_left_out_beside_parts_is_counted_too(make, capsys):
    files = ("readme.txt", "train/1.png", "test/cow/", "notes/a.txt")
    folder = make("train/a", "train/b", "test/a", "test/b", count=10, files=files)
    assert sizes(folder) == ([18, 2, 20], ("a", "b"))
    said = (
        "left out images beside the folders: 1, other files beside the folders: 1, folders without images: 2"
    )
    assert capsys.readouterr().err == f"{folder}: {said} (notes, cow)\n"


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("test/a", "test/b"), "expected a folder train, received test without it"),
        (("val/a", "Test/b"), "expected a folder train, received val, Test without it; name .* train, or give .*val,"),
        (("train/a", "train/b", "val/a", "valid/a"), "expected one folder val, received val, valid; keep one of them"),
        (("train/a", "train/b", "more/a"), "more: expected train, val and test alone, received a further folder"),
        (("train/a", "train/b", "more"), "more: expected train, val and test alone, received a further folder"),
        (("train/a", "train/b", "test/c"), "test/c: expected one of the classes a, b, received another"),
        (("train/a", "train/b", "test"), "test: expected one sub-folder .* per class, received images without sub-f"),
        (("train", "test"), "expected one sub-folder of PNG or JPEG files per class, received none"),
        (("a", "b/deeper"), r"b/deeper: expected PNG or JPEG files alone in a class, received a folder of images$"),
        (("photos/a", "photos/b"), r"photos/a: expected .*, received a folder of images; did you mean .*/photos/\?"),
        ((".",), "expected one sub-folder of PNG or JPEG files per class, received images without sub-folders"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(make, folders, message):
    folder = make("x") / "x" if folders == (".",) else make(*folders)
    with pytest.raises(DataError, match=message) as error:
        datasets.load(f"{folder}/")
    assert "\n" not in str(error.value)


def test_parts_without_images_are_refused(make):
    folder = make("train/a", "train/b", files=("valid/a/", "valid/b/"))
    with pytest.raises(DataError, match=r"valid: expected one sub-folder .* per class, received no images"):
        datasets.load(f"{folder}/")


def test_a_run_keeps_an_empty_class(make):
    """Earlier versions made a class of every folder."""
    folder = make("a", "c", files=("b/",))
    assert layout.find(folder).class_names == ["a", "c"]
    assert layout.find(folder, ["a", "b", "c"]).class_names == ["a", "b", "c"]
    assert [label for _, label in layout.find(folder, ["a", "b", "c"]).files["train"]] == [0] * 4 + [2] * 4


def test_folders_that_earlier_versions_ignored_are_known(make):
    """A run that was trained without them is told what differs."""
    folder = make("train/a", "train/b", "test/a")
    before = datasets.load(f"{folder}/").digest
    after = datasets.load(f"{make('valid/a')}/")
    assert after.earlier_digest == before != after.digest and after.was_read_as(before)
