"""What the programs share: exit codes, and one line for whatever ends them."""

import io
import subprocess
import sys

import pytest

from bnn import config, console, datasets, files, runs
from bnn.errors import UserError
from tests.support import ROOT

PROGRAM = """
import signal
from bnn.console import run_program

class Destructor:
    def __del__(self):
        {action}

def main():
    Destructor()
    while {go_on}:
        pass

run_program("program.py", main)
"""


def end_of(action, go_on=True):
    """(exit code, standard error) of a program in one of whose destructors something happens."""
    code = PROGRAM.format(action=action, go_on=go_on)
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return process.returncode, process.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [("SIGINT", (130, "program.py: interrupted\n")), ("SIGTERM", (143, "program.py: terminated\n"))],
)
def test_a_signal_that_meets_a_destructor_is_not_lost(name, expected):
    assert end_of(f"signal.raise_signal(signal.{name})") == expected


def test_an_error_that_follows_from_an_interruption_is_one():
    code = """
import signal
from bnn.console import run_program

def main():
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        None.close()

run_program("program.py", main)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stderr) == (143, "program.py: terminated\n")


def test_other_errors_in_destructors_are_shown_as_ever():
    code, stderr = end_of("raise ValueError('odd')", go_on=False)
    assert code == 0
    assert stderr.startswith("Exception ignored in") and stderr.endswith("ValueError: odd\n")


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("expected this,\n received that"), "expected this, received that"),
        (config.ConfigError("epochs: expected more"), "epochs: expected more"),
        (FileNotFoundError(2, "No such file", "x.csv"), "No such file: x.csv"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error, line, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as stop:
        console.run_program("x.py", raising(error))
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"x.py: error: {line}\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    """Wherever it is raised, in the package too."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(ValueError, match="odd"):
        console.run_program("x.py", raising(ValueError("odd")))
    with pytest.raises(AttributeError):
        console.run_program("x.py", lambda: config.to_json.nothing)


def test_errors_that_users_mend_have_one_base():
    for error in (config.ConfigError, datasets.DataError, files.LockError, files.WriteError, runs.RunError):
        assert issubclass(error, UserError)
    assert issubclass(files.WriteError, OSError) and issubclass(config.ConfigError, ValueError)


# ---- progress ----


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_shows_on_a_terminal_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(console.progress([3, 4], unit="layer", description="looking")) == [3, 4]
    shown = sys.stderr.getvalue()
    assert "looking" in shown and "layer" in shown
    assert shown.rstrip(" \r").endswith("]") or shown.endswith("\r")


def test_progress_moved_by_hand_counts_bytes(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with console.progress(total=4_000_000, unit="B", initial=1_000_000) as bar:
        bar.update(1_000_000)
        assert bar.n == 2_000_000
        assert "2.00M/4.00M" in str(bar)


def test_progress_is_silent_elsewhere(capsys):
    assert list(console.progress(range(3), total=3)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
