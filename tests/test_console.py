"""What the programs share: exit codes, and one line for whatever ends them."""

import subprocess
import sys

import pytest

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
