"""The lock of a run directory: other processes are refused, and the lock ends with its process."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from functools import partial

import pytest

from bnn import runs, training
from bnn.console.errors import RunError
from bnn.files import lock
from tests.support import ROOT, TINY, assert_refused, begin, call, without_keras

HOLD = """
import subprocess, sys
from pathlib import Path
from bnn.files import lock
sys.stdin.readline()
lock.hold(Path(sys.argv[1]))
if len(sys.argv) > 2:
    subprocess.Popen(sys.argv[2:])
print("held", flush=True)
sys.stdin.read()
"""


def prepare(folder, *command):
    """Start a process that waits for a line, then locks a folder and runs a command."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, *command],
        cwd=ROOT,
        text=True,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture
def holder(tmp_path):
    """A process that has locked the folder `run`."""
    (tmp_path / "run").mkdir()
    process = prepare(tmp_path / "run")
    go(process)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path, holder):
    folder = tmp_path / "run"
    with pytest.raises(RunError) as caught:
        lock.hold(folder)
    assert str(caught.value) == (
        f"{folder}: expected a run directory that no other process writes into, "
        f"received one in use by process {holder.pid} on {socket.gethostname()}"
    )
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock.hold(folder)
    assert (folder / ".lock").read_text() == f"{os.getpid()} on {socket.gethostname()}\n"


def test_a_child_process_that_lives_longer_does_not_keep_the_lock(tmp_path):
    (tmp_path / "run").mkdir()
    process = prepare(tmp_path / "run", "cat")
    go(process)
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    lock.hold(tmp_path / "run")
    process.stdin.write("the child is alive\n")
    process.stdin.flush()
    assert process.stdout.readline() == "the child is alive\n"
    process.stdin.close()


def test_of_many_processes_exactly_one_gets_the_lock(tmp_path):
    for attempt in range(2):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        processes = [prepare(folder) for _ in range(6)]
        for process in processes:
            go(process)
        for process in processes:
            process.first = process.stdout.readline()  # "" for a process that was refused
        errors = [process.communicate()[1] for process in processes]
        assert sorted(process.first for process in processes) == [*[""] * 5, "held\n"]
        assert sum("received one in use by process" in error for error in errors) == 5


def test_a_process_may_lock_a_folder_twice_and_by_another_name(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    for name in ("run", "run", "link"):
        lock.hold(tmp_path / name)
        lock.verify(tmp_path / name)


def test_a_second_thread_is_refused_while_the_first_holds_the_lock(tmp_path):
    folder, held, done = tmp_path / "run", threading.Event(), threading.Event()
    folder.mkdir()

    def first():
        lock.hold(folder)
        lock.hold(folder)  # its own
        held.set()
        done.wait(60)

    thread = threading.Thread(target=first, name="first")
    thread.start()
    try:
        assert held.wait(60)
        for function in (lock.hold, partial(training.train, data_set="mnist-5k")):
            with pytest.raises(RunError, match=r"in use by another thread of this process, first$"):
                function(folder)
            assert lock.is_held(folder)
    finally:
        done.set()
        thread.join()
    lock.hold(folder)  # the thread has ended without a release
    lock.release(folder)
    assert not lock.is_held(folder)


def test_a_folder_that_was_removed_or_replaced_is_no_longer_held(tmp_path):
    folder = tmp_path / "run"
    lock.verify(folder)  # no error: this process has not locked it
    folder.mkdir()
    lock.hold(folder)
    shutil.rmtree(folder)
    message = f"{folder}: expected the run directory that this training began with, received "
    with pytest.raises(RunError, match=f"^{message}none$"):
        lock.verify(folder)
    folder.mkdir()
    with pytest.raises(RunError, match=f"^{message}another in its place$"):
        lock.verify(folder)
    lock.hold(folder)
    lock.verify(folder)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gives_a_warning_of_one_line(tmp_path, monkeypatch, capsys, code):
    def unsupported(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    lock.hold(tmp_path)
    lock.hold(tmp_path)
    assert capsys.readouterr().err == (
        f"{tmp_path}: expected file locks, which prevent a second training in this directory, received "
        f"{os.strerror(code)}; do not start another training there\n"
    )


def test_an_operating_system_without_locks_gives_a_warning_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lock, "fcntl", None)
    lock.hold(tmp_path)
    assert "expected file locks" in capsys.readouterr().err


# trainings


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of a run that no process has locked."""
    return shutil.copytree(trained[0], tmp_path / "run")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != lock.NAME}


@pytest.mark.parametrize(
    "flags", [("--resume",), (*TINY, "--overwrite", "--run_dir")], ids=["resume", "overwrite"]
)
def test_a_second_training_is_refused_before_keras_loads_and_touches_nothing(copy, flags, tmp_path):
    process = prepare(copy)
    go(process)
    assert process.stdout.readline() == "held\n"
    before = contents(copy)
    refused = call("train.py", *flags, copy, env=without_keras(tmp_path))
    assert_refused(
        refused,
        f"train.py: error: {copy}: expected a run directory that no other process writes into",
        f"received one in use by process {process.pid} on ",
    )
    assert contents(copy) == before
    runs.open_run(copy).load_model("best")  # reading needs no lock
    process.communicate()


def test_of_two_trainings_that_overwrite_a_run_one_is_refused(copy):
    both = [begin("train.py", *TINY, "--epochs", 1, "--run_dir", copy, "--overwrite") for _ in range(2)]
    ends = sorted((process.communicate()[1], process.returncode) for process in both)
    assert ends[0] == ("", 0)
    assert ends[1][1] == 1
    assert ends[1][0].count("\n") == 1 and "received one in use by process" in ends[1][0]
    assert [row["epoch"] for row in runs.open_run(copy).log()] == [1]


def test_an_existing_run_is_refused_before_keras_loads(copy, tmp_path):
    before = contents(copy)
    refused = call("train.py", *TINY, "--run_dir", copy, env=without_keras(tmp_path))
    assert_refused(refused, f"{copy}: expected a new run directory, received one that holds a run")
    assert contents(copy) == before


def test_a_released_lock_is_free_for_others(tmp_path):
    lock.hold(tmp_path)
    assert lock.is_held(tmp_path)
    lock.release(tmp_path)
    lock.release(tmp_path)
    assert not lock.is_held(tmp_path) and not lock.holds(tmp_path)
