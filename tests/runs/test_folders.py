"""Folders that cannot hold a run, and suggestions for mistyped paths of runs."""

import os
import subprocess
import sys

import pytest

from bnn.runs import RunError, expect_free, open_run
from bnn.runs.folders import why_unwritable
from tests.support import ROOT, assert_refused


@pytest.fixture
def place(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere/at/all")
    (tmp_path / "file").write_text("")
    return tmp_path


BAD = [
    ("loop", "a symbolic link: Too many levels of symbolic links"),
    ("loop/run", "Too many levels of symbolic links"),
    ("dangling", "a symbolic link: No such file or directory"),
    ("file", "a file"),
    ("file/run", "Not a directory"),
    ("x" * 300, "File name too long"),
    ("new/" + "x" * 300, "File name too long"),
]


@pytest.mark.parametrize(("name", "reason"), BAD)
def test_the_error_gives_the_reason_and_nothing_is_written(place, name, reason):
    before = sorted(path.name for path in place.iterdir())
    assert why_unwritable(place / name) == reason
    with pytest.raises(
        RunError, match=f"expected a run directory that can be made and written, .* {reason}$"
    ):
        expect_free(place / name)
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_reported(place):
    (place / "closed").mkdir(mode=0o500)
    assert why_unwritable(place / "closed") == "Permission denied"
    assert why_unwritable(place / "closed" / "run") == "Permission denied"


def test_the_check_does_not_create_the_folder(place):
    assert why_unwritable(place / "a" / "b") is None
    assert why_unwritable(place) is None
    assert not (place / "a").exists()


def test_training_refuses_such_a_folder_before_keras_loads(place):
    code = "import sys; sys.modules['keras'] = None\n"
    code += "from bnn.console import run_program; from bnn.commands.train import main; run_program('x', main)"
    done = subprocess.run(
        [sys.executable, "-c", code, "--data_set", "mnist-5k", "--run_dir", place / "file" / "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert_refused(done, "expected a run directory that can be made and written, received Not a directory")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("demo", "runs/demo"), ("runs/dmo", "runs/demo"), ("dem0", "runs/demo"), ("other/nets", "other/net")],
)
def test_a_mistyped_run_gets_a_suggestion(place, typed, meant, monkeypatch):
    monkeypatch.chdir(place)
    for folder in ("runs/demo", "other/net"):
        (place / folder).mkdir(parents=True)
        (place / folder / "config.json").write_text("{}")
    with pytest.raises(RunError, match=rf"received no such folder; did you mean {meant}\?$"):
        open_run(typed)
    with pytest.raises(RunError, match=r"received no such folder$"):
        open_run("something-else")
