"""The installed package: a wheel in a new environment, used from another folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser

import pytest
from packaging.requirements import Requirement

from tests.support import ROOT

pytestmark = pytest.mark.slow  # builds, installs, and loads Keras in new processes
SHIPPED = ROOT / "results" / "cifar-10-binary" / "seed0"
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def run(command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, so that the clone is not changed."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "bnn", source / "bnn", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run([*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", source / "wheels", source])
    (path,) = (source / "wheels").iterdir()
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A new environment with the wheel, which finds the other packages in the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    python = folder / "bin" / "python"
    run([*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel])
    packages = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    with open(os.path.join(packages, "others.pth"), "w") as file:  # noqa: PTH123, PTH118
        file.write(sysconfig.get_path("purelib"))
    return folder / "bin"


def without_data():
    return {name: value for name, value in os.environ.items() if name != "BNN_DATA"}


def test_the_wheel_holds_all_modules_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    kinds = ("*.py", "*.pyi", "*.html", "*.css", "*.js")  # the last three are of the pages
    paths = [path for kind in kinds for path in (ROOT / "bnn").rglob(kind)]
    assert names == {str(path.relative_to(ROOT)) for path in paths}


def test_building_leaves_nothing_behind(wheel):
    """Neither an .egg-info nor build/, from which a later wheel would include deleted modules."""
    source = wheel.parent.parent
    assert {path.name for path in source.iterdir()} == {
        "bnn",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "wheels",
    }


def test_a_backend_is_only_installed_on_request(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    metadata = Parser().parsestr(archive.read(name).decode())
    needed = {extra: set() for extra in ("", "tensorflow", "jax", "packed", "onnx", "notebooks")}
    for requirement in map(Requirement, metadata.get_all("Requires-Dist")):
        for extra, packages in needed.items():
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                packages.add(requirement.name)
    assert {"keras", "numpy", "scipy"} <= needed[""]
    assert needed["tensorflow"] - needed[""] == {"tensorflow", "tensorboard"}
    assert needed["jax"] - needed[""] == {"jax"}
    assert needed["packed"] - needed[""] == {"numba"}
    assert needed["onnx"] - needed[""] == {"onnx"}
    assert needed["notebooks"] - needed[""] == {"jupyter"}


def test_the_library_works_from_another_folder(environment, tmp_path):
    code = f"""
import sys
import bnn
assert "numpy" not in sys.modules
assert "site-packages" in bnn.__file__, bnn.__file__
assert 0.78 < bnn.geometry.angle([0.0, 1.0], [1.0, 1.0]) < 0.79
assert "keras" not in sys.modules
assert bnn.layers.QuantDense(3).units == 3
model = bnn.open_run({str(SHIPPED)!r}).load_model()
assert model.count_params() > 10**7
assert len(bnn.datasets.load("mnist-5k").train) == 4000
assert bnn.files  # every package can be used
"""
    run([environment / "python", "-c", code], cwd=tmp_path, env=without_data())


def test_the_command_works_from_another_folder(environment, tmp_path):
    bnn = environment / "bnn"
    assert "usage: bnn" in run([bnn, "--help"], cwd=tmp_path)
    network = ["--conv", 4, "--max_pool", 1, "--fc", 8]
    settings = ["--data_set", "mnist-5k", "--debug", "--epochs", 1, "--run_dir", "first"]
    out = run([bnn, "train", *network, *settings], cwd=tmp_path)
    assert out.endswith("next: bnn analyze first\n")
    out = run([bnn, "analyze", "first", "--images", 20], cwd=tmp_path)
    assert "test accuracy" in out and (tmp_path / "first" / "metrics.json").is_file()


@pytest.mark.parametrize("named", [True, False])
def test_data_are_in_the_folder_of_the_variable_or_in_the_current_one(environment, tmp_path, named):
    variable = {"BNN_DATA": str(tmp_path / "sets")} if named else {}
    done = subprocess.run(
        [environment / "bnn", "train", "--data_set", "MNIST"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=without_data() | variable,
    )
    place = tmp_path / "sets" / "MNIST" if named else "data/MNIST"
    assert done.returncode == 1
    assert f"expected its files in {place}, received none; run bnn download --data_set MNIST" in done.stderr
