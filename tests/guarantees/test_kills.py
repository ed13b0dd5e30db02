"""Trainings run as processes, stopped or killed at any moment, end with the same result as uninterrupted ones."""

import concurrent.futures
import csv
import ctypes
import os
import select
import signal
import struct
import sys
import zipfile

import numpy as np
import pytest

from bnn import runs
from bnn.runs import directory
from tests.support import TINY, begin, call, same_but_for_seconds, unwrapped, wait_for_line

TERNARY = (
    *TINY,
    "--levels",
    3,
    "--threshold",
    0.1,
    "--first_layer",
    "whitening",
    "--clip",
    0.5,
    "--schedule",
    "cosine",
    "--warmup",
    1,
    "--augment",
    "crops",
)
KINDS = {"binary": TINY, "ternary": (*TERNARY, "--ckpt_n", 2)}
CAMPAIGN = ("--epochs", 16, "--log_geometry", 1)
KILLS = 12  # of each kind of network
EPOCH_EVENTS = 26  # approximate number of file events in an epoch of the campaign
PNG_END = b"IEND\xaeB`\x82"
linux = pytest.mark.skipif(sys.platform != "linux", reason="file events need inotify")


class FileEvents:
    """The events in a folder: a file is made, written, closed or renamed. Equal pending events count as one."""

    MODIFIED, CLOSED, RENAMED, MADE = 0x2, 0x8, 0x80, 0x100

    def __init__(self, folder):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.inotify_init1(os.O_CLOEXEC)
        mask = self.MODIFIED | self.CLOSED | self.RENAMED | self.MADE
        assert self.libc.inotify_add_watch(self.descriptor, os.fsencode(folder), mask) > 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.descriptor)

    def wait(self, process, count):
        """Wait for `count` events; return early if the process ends."""
        ended = os.pidfd_open(process.pid)
        while count > 0 and self.descriptor in select.select([self.descriptor, ended], [], [])[0]:
            count -= self._read()
        os.close(ended)

    def _read(self):
        """Read the pending events and return their number."""
        content, place, count = os.read(self.descriptor, 4096), 0, 0
        while place < len(content):
            *_, length = struct.unpack_from("iIII", content, place)
            place, count = place + 16 + length, count + 1
        return count


def assert_whole(folder):
    """Check that all files are complete; a kill may leave incomplete files only with hidden names."""
    log = folder / "log.csv"
    if log.exists():
        header, *rows = csv.reader(log.read_text().splitlines())
        assert tuple(header) == directory.LOG_COLUMNS
        assert [row[0] for row in rows] == [str(i + 1) for i in range(len(rows))]
        assert all(len(row) == len(header) for row in rows) and log.read_text().endswith("\n")
    for path in (*folder.glob("[a-z]*.keras"), *folder.glob("[a-z]*.npz")):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


def assert_same(folder, other):
    run, whole = runs.open_run(folder), runs.open_run(other)
    assert same_but_for_seconds(run.log(), whole.log())
    for name in ("last", "best"):
        models = [r.load_model(name, compiled=name == "last") for r in (run, whole)]
        weights = [model.get_weights() for model in models]
        assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True)), name
        if name == "last":
            states = [[np.asarray(v) for v in model.optimizer.variables] for model in models]
            assert all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
    assert {path.name for path in folder.iterdir()} == {path.name for path in other.iterdir()}
    for name in ("geometry.csv", "metrics.json"):
        paths = [f / name for f in (folder, other) if (f / name).exists()]
        # metrics.json names its run
        texts = {path.read_text().replace(f'"{path.parent}"', "") for path in paths}
        assert len(texts) <= 1, name


def in_parallel(*functions):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(function) for function in functions]:
            job.result()


# random kills


class Kill:
    """A random moment: some file events after the start, then a delay, or SIGTERM and some further events."""

    def __init__(self, rng):
        self.events = int(rng.integers(1, 2 * EPOCH_EVENTS))
        self.delay, self.after_sigterm = 0.0, 0
        kind = rng.integers(3)
        if kind == 1:
            self.delay = rng.uniform(0, 0.5)
        if kind == 2:
            self.after_sigterm = int(rng.integers(1, 12))

    def __call__(self, process, events):
        events.wait(process, self.events)
        if self.delay:
            select.select([], [], [], self.delay)
        if self.after_sigterm:
            process.terminate()
            events.wait(process, self.after_sigterm)
        process.kill()


def train_until_killed(folder, args, kill):
    """Train until the kill; return whether the process was still running."""
    with FileEvents(folder) as events:
        process = begin("train.py", *args, fresh=True)
        kill(process, events)
        _, stderr = process.communicate(timeout=300)
    assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGTERM), stderr
    assert_whole(folder)
    return process.returncode == -signal.SIGKILL


def train_with_kills(folder, args, rng):
    folder.mkdir()
    kills = 0
    while kills < KILLS:
        going_on = (folder / "config.json").exists()
        kills += train_until_killed(
            folder, ("--resume", folder) if going_on else (*args, "--run_dir", folder), Kill(rng)
        )
    assert call("train.py", "--resume", folder).returncode == 0
    assert call("analyze.py", folder).returncode == 0


@linux
@pytest.mark.slow
def test_trainings_killed_at_random_moments_end_like_uninterrupted_ones(tmp_path):
    """Two dozen SIGKILLs during a binary and a ternary training, some of them while files are written."""

    def undisturbed(kind):
        assert (
            call("train.py", *KINDS[kind], *CAMPAIGN, "--run_dir", tmp_path / f"{kind} whole").returncode == 0
        )
        assert call("analyze.py", tmp_path / f"{kind} whole").returncode == 0

    def campaign(kind, seed):
        undisturbed(kind)
        train_with_kills(tmp_path / kind, (*KINDS[kind], *CAMPAIGN), np.random.default_rng(seed))

    in_parallel(*(lambda k=k, s=s: campaign(k, s) for s, k in enumerate(KINDS)))
    for kind in KINDS:
        assert_same(tmp_path / kind, tmp_path / f"{kind} whole")


# stops and kills at fixed moments


def stop(number, code, epoch, *args):
    """Send a signal after the line of an epoch, so that it arrives in the next epoch."""
    process = begin("train.py", *args)
    wait_for_line(process, f"epoch {epoch} ")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)
    assert (process.returncode, stderr) == (code, "")
    if number != signal.SIGKILL:
        run = args[-1]
        assert unwrapped(stdout).splitlines()[-1] == (
            f"interrupted; saved {run / 'last.keras'}; continue with: python train.py --resume {run}"
        )


@pytest.mark.slow  # test_loop.py kills at every write, in this process
def test_a_training_that_was_killed_and_stopped_ends_like_an_uninterrupted_one(trained, tmp_path):
    run = tmp_path / "binary"
    stop(signal.SIGKILL, -signal.SIGKILL, "1/3", *TINY, "--run_dir", run)
    stop(signal.SIGINT, 130, "2/3", "--resume", run)
    assert call("train.py", "--resume", run).returncode == 0
    assert_same(run, trained[0])


@pytest.mark.slow
def test_a_ternary_training_that_was_stopped_ends_like_an_uninterrupted_one(tmp_path):
    def undisturbed():
        assert call("train.py", *TERNARY, "--run_dir", tmp_path / "whole").returncode == 0

    def disturbed():
        run = tmp_path / "ternary"
        stop(signal.SIGTERM, 143, "1/3", *TERNARY, "--run_dir", run)
        assert call("train.py", "--resume", run, *TERNARY).returncode == 0

    in_parallel(undisturbed, disturbed)
    assert_same(tmp_path / "ternary", tmp_path / "whole")


# signals before and after the training


@linux
@pytest.mark.parametrize(
    ("program", "events", "number", "code"),
    [
        ("train.py", 2, signal.SIGINT, 130),  # the lock is held, and data are read or Keras is loaded
        ("analyze.py", 7, signal.SIGTERM, 143),  # metrics.json and a part of a figure are written
    ],
)
def test_a_signal_outside_of_training_gives_one_line(trained, tmp_path, program, events, number, code):
    folder = tmp_path / "run"
    folder.mkdir()
    args = (*TINY, "--run_dir", folder) if program == "train.py" else (trained[0], "--output", folder)
    with FileEvents(folder) as watched:
        process = begin(program, *args, fresh=program == "train.py")
        watched.wait(process, events)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=300)
    word = {130: "interrupted", 143: "terminated"}[code]
    assert (process.returncode, stderr) == (code, f"{program}: {word}\n")
    names = {path.name for path in folder.iterdir()}
    if program == "train.py":
        assert names == {".lock"}
    else:
        assert "metrics.json" in names and not [name for name in names if name.startswith(".")]
        assert all((folder / name).read_bytes().endswith(PNG_END) for name in names if name.endswith(".png"))
