"""A program started by forking prints and returns the same as in a new interpreter."""

import signal

import pytest

from tests.support import TINY, begin, call, can_fork, wait_for_line

pytestmark = pytest.mark.skipif(not can_fork(), reason="programs are not forked here")


@pytest.mark.parametrize("args", [("--help",), ("--nonsense",), ("--resume", "nowhere")])
def test_a_forked_program_gives_the_same_as_a_new_process(tmp_path, args):
    warm, fresh = (call("train.py", *args, cwd=tmp_path, fresh=fresh) for fresh in (False, True))
    assert (warm.returncode, warm.stdout, warm.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        "raise SystemExit",
        "raise SystemExit(3)",
        "raise SystemExit('why')",
        "raise KeyboardInterrupt",
        "import atexit; atexit.register(print, 'last')",
        "import sys; sys.stderr.write('half a line')",
        "import threading; threading.Timer(0.1, print, ['last']).start()",
    ],
)
def test_a_forked_program_ends_like_a_new_process(end):
    """It does not free its memory, but all that Python does before is done."""
    warm, fresh = (call("-c", f"print('first')\n{end}", fresh=fresh) for fresh in (False, True))
    assert (warm.returncode, warm.stdout) == (fresh.returncode, fresh.stdout)
    assert warm.stderr.splitlines()[-1:] == fresh.stderr.splitlines()[-1:]


def test_an_uncaught_error_is_a_traceback(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(sys.argv, __name__)\n1 / 0\n")
    process = call(script, "a b", cwd=tmp_path)
    assert (process.returncode, process.stdout) == (1, f"{[str(script), 'a b']} __main__\n")
    assert process.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_a_signal_ends_a_forked_process(tmp_path):
    process = begin("train.py", *TINY, "--run_dir", tmp_path / "run")
    wait_for_line(process, "parameters")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
