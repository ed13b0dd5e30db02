"""Functions shared by the programs: exit codes, errors of one line, output and progress."""

import io
import itertools
import os
import re
import subprocess
import sys

import pytest

from bnn import console, datasets, files, geometry, layers, models, runs
from bnn.console.errors import UserError
from bnn.settings import config
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
    """Run a program that performs an action in a destructor; return (exit code, standard error)."""
    code = PROGRAM.format(action=action, go_on=go_on)
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return process.returncode, process.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [("SIGINT", (130, "program.py: interrupted\n")), ("SIGTERM", (143, "program.py: terminated\n"))],
)
def test_a_signal_during_a_destructor_is_not_lost(name, expected):
    assert end_of(f"signal.raise_signal(signal.{name})") == expected


def test_an_error_caused_by_an_interruption_is_reported_as_an_interruption():
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


def test_other_errors_in_destructors_are_shown_as_usual():
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
def test_an_error_that_a_user_can_correct_is_one_line(error, line, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as stop:
        console.run_program("x.py", raising(error))
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"x.py: error: {line}\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    """Also if the package raises it."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(ValueError, match="odd"):
        console.run_program("x.py", raising(ValueError("odd")))
    with pytest.raises(AttributeError):
        console.run_program("x.py", lambda: config.to_json.nothing)


def test_errors_that_users_can_correct_have_one_base_class():
    for error in (config.ConfigError, datasets.DataError, files.WriteError, runs.RunError):
        assert issubclass(error, UserError)
    assert issubclass(files.WriteError, OSError) and issubclass(config.ConfigError, ValueError)


def test_former_names_of_errors_catch_what_is_raised_now():
    assert geometry.QuantizerError is layers.BatchSizeError is config.ConfigError
    assert models.ModelFileError is models.SummaryError is models.ModelError
    assert files.LockError is runs.RunError


# ---- output that cannot be written ----


def end_in_shell(line):
    """Run a line of bash, in which $P is this Python; return (exit code, standard output, standard error)."""
    environment = os.environ | {"P": sys.executable}
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment
    )
    return done.returncode, done.stdout, done.stderr


EVERY_PROGRAM = ("train.py", "analyze.py", "test.py", "data/download.py", "-m bnn", "-m bnn train")


@pytest.mark.parametrize(
    ("where", "received"), [(">&-", "a closed one"), (">/dev/full", "No space left on device")]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_cannot_be_written_is_an_error_of_one_line(where, received, unbuffered):
    """Also for --help, where argparse itself ignores errors."""
    lines = " & ".join(
        f"(PYTHONUNBUFFERED={unbuffered} $P {program} --help {where}; echo $? >&2)"
        for program in EVERY_PROGRAM
    )
    _, out, err = end_in_shell(f"{lines} & wait")
    assert out == ""
    said = [line.partition(": error: ")[2] for line in err.splitlines() if line != "1"]
    assert said == [f"expected to write to standard output, received {received}"] * len(EVERY_PROGRAM)
    assert err.splitlines().count("1") == len(EVERY_PROGRAM)


@pytest.mark.parametrize("action", ["print('x' * 10**6)", "print('x'); return 0"])
def test_a_program_that_cannot_write_its_output_fails(action):
    code = f"from bnn.console import run_program\ndef main(): {action}\nrun_program('x.py', main)"
    expected = "x.py: error: expected to write to standard output, received No space left on device\n"
    assert end_in_shell(f'$P -c "{code}" >/dev/full') == (1, "", expected)


def test_a_closed_pipe_is_not_an_error():
    code = "from bnn.console import run_program\ndef main():\n  for i in range(10**6): print(i)\n"
    code += "run_program('x.py', main)"
    assert end_in_shell(f'$P -c "{code}" | head -1; exit ${{PIPESTATUS[0]}}') == (141, "0\n", "")


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_if_an_error_cannot_be_printed_the_exit_code_shows_it(where):
    assert end_in_shell(f"$P train.py --resume nowhere {where}") == (1, "", "")
    code, out, err = end_in_shell(f"$P train.py --nothing {where}")
    assert code != 0 and out + err == ""


# ---- the name of the command ----


@pytest.mark.parametrize(
    ("called", "command", "expected"),
    [
        ("train.py", "analyze", "python analyze.py"),
        ("../clone/analyze.py", "download", "python data/download.py"),
        ("/usr/local/bin/bnn", "train", "bnn train"),
        ("/x/bnn/__main__.py", "train", "python -m bnn train"),
        ("/x/ipykernel_launcher.py", "train", "python train.py"),
    ],
)
def test_hints_name_the_command_that_was_typed(called, command, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called])
    assert console.typed(command) == expected


def test_commands_are_quoted_where_a_shell_needs_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bnn"])
    words = ("--resume", "My Drive/run 1", "it's", "$HOME", "runs/a")
    typed = console.typed("train", *words)
    assert typed.startswith("bnn train --resume 'My Drive/run 1' ") and typed.endswith(" runs/a")
    shell = subprocess.run(
        ["sh", "-c", f'set -- {typed}; printf "%s\\n" "$@"'], capture_output=True, text=True
    )
    assert shell.stdout.splitlines() == ["bnn", "train", *words]


# ---- progress ----


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_and_removed_at_the_end(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(console.progress([3, 4], unit="layer", description="looking")) == [3, 4]
    shown = sys.stderr.getvalue()
    assert "looking" in shown and "layer" in shown
    assert shown.rstrip(" \r").endswith("]") or shown.endswith("\r")


def test_progress_that_is_updated_by_hand_counts_bytes(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with console.progress(total=4_000_000, unit="B", initial=1_000_000) as bar:
        bar.update(1_000_000)
        assert bar.n == 2_000_000
        assert "2.00M/4.00M" in str(bar)


def test_short_progress_prints_nothing_without_a_terminal(capsys):
    assert list(console.progress(range(3), total=3)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_progress_is_a_line_at_most_every_minute(capsys, monkeypatch):
    clock = iter(range(0, 10_000, 25))  # seconds; each reading of the clock advances it by 25
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    list(console.progress(range(20), unit="batch", description="measuring"))
    lines = capsys.readouterr().err.splitlines()
    times = [60 * int(m) + int(s) for m, s in re.findall(r"\[(\d+):(\d+)<", "".join(lines))]
    assert len(times) == len(lines) > 2
    assert all(after - before >= 60 for before, after in itertools.pairwise([0, *times]))
    assert all("measuring" in line and "/20" in line and "\r" not in line for line in lines)


def test_details_replace_the_usual_text(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    with console.progress(total=10, details=lambda state: f"{state['n']} so far") as bar:
        bar.update(4)
        bar.announce("almost")
        assert "almost" in str(bar)
    assert "0 so far" in sys.stderr.getvalue()
