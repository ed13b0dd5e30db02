"""`~` at every door, and names that are not UTF-8."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnn import datasets, models, packed, runs
from bnn.console.arguments import expanded
from bnn.datasets.catalog import listing_digest
from bnn.files import atomic
from bnn.settings import flags


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_tilde_is_the_home_folder_and_that_of_nobody_stays(home):
    assert expanded("~/x") == flags.folder("~/x") == home / "x"
    assert expanded("~nobody-has-this-name/x") == Path("~nobody-has-this-name/x")


def test_doors_expand_it(home, monkeypatch):
    assert datasets.data_folder("~/sets") == home / "sets"
    monkeypatch.setenv("BNN_DATA", "~/own")
    assert datasets.data_folder() == home / "own"
    (home / "pictures").mkdir()
    assert flags.data_set_name("~/pictures") == "~/pictures/"
    for call, argument in (
        (runs.open_run, "~/run"),
        (models.load_model, "~/m.keras"),
        (packed.load, "~/p.npz"),
    ):
        with pytest.raises(Exception, match="expected") as error:
            call(argument)
        assert not str(error.value).startswith(os.sep * 2)
    np.save(home / "x.npy", np.zeros((2, 3)))
    assert models.load_images("~/x.npy", None).shape == (2, 3)


def test_names_that_are_not_utf_8(home):
    name = os.fsdecode(b"caf\xe9.png")
    atomic.write_csv(home / "t.csv", ["image"], [{"image": name}])
    assert (home / "t.csv").read_text() == "image\ncaf\\udce9.png\n"
    assert listing_digest({name: "0" * 64}) != listing_digest({"caf.png": "0" * 64})
    for label in ("a", "b"):
        (home / "set" / label).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((8, 8), 60 * i, np.uint8)).save(
                os.fsencode(home / "set" / label) + b"/caf\xe9%d.png" % i
            )
    assert len(datasets.load("~/set/").train) > 0
