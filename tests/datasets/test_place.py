"""The folder in which data sets are looked for and stored."""

from pathlib import Path

import pytest

from bnn import datasets
from bnn.datasets import catalog, data_folder
from bnn.datasets.catalog import MNIST
from tests.support import ROOT


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("BNN_DATA", raising=False)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Make the package look installed in site-packages."""
    monkeypatch.setattr(catalog, "CLONE", tmp_path / "site-packages")
    (tmp_path / "site-packages" / "data").mkdir(parents=True)  # another package's
    return tmp_path


def test_a_clone_uses_its_own_data_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert data_folder() == ROOT / "data"


def test_an_installed_package_uses_data_in_the_current_folder(installed):
    assert data_folder() == Path("data")


def test_an_argument_overrides_the_variable_and_the_variable_overrides_the_defaults(monkeypatch, installed):
    monkeypatch.setenv("BNN_DATA", "/srv/sets")
    assert data_folder() == Path("/srv/sets")
    assert data_folder("here") == Path("here")
    monkeypatch.setenv("BNN_DATA", "")
    assert data_folder() == Path("data")


@pytest.mark.parametrize("named", [True, False])
def test_data_are_read_from_the_chosen_folder(monkeypatch, tmp_path, named):
    if not named:
        monkeypatch.setenv("BNN_DATA", str(tmp_path))
    with pytest.raises(datasets.DataError) as error:
        datasets.load("MNIST", tmp_path if named else None)
    assert f"expected its files in {tmp_path / MNIST.folder}, received none" in str(error.value)


HINT = r"run (python data/download\.py|(python -m )?bnn download) --data_set MNIST, or name"


def test_the_suggested_download_command_exists(monkeypatch, installed):
    monkeypatch.chdir(installed)
    with pytest.raises(datasets.DataError, match=HINT):
        datasets.load("MNIST")
    monkeypatch.setattr(catalog, "CLONE", ROOT)
    with pytest.raises(datasets.DataError, match=HINT):
        datasets.load("MNIST", installed)
