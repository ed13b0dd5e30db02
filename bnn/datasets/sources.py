"""Fetch files from a folder at a URL, packages of the npm registry and wheels, in a child process that is watched."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bnn import console
from bnn.datasets import transfer
from bnn.datasets.transfer import SourceError
from bnn.files.atomic import WriteError

FIRST_S = 20  # limit for the first byte
PACE_S = 30  # after it, the speed is checked over intervals of this length
SLOWEST = 1000  # bytes per second, the lowest average speed in an interval
TICK_S = 0.05  # time between two checks
NPM_MARGIN = 20_000_000  # bytes that npm may store in addition to a package and its copy in the cache
PIP_MARGIN = 20_000_000  # bytes that pip may store in addition to a wheel and the copy that it receives
PIP_ERROR = "ERROR: "


def fetch_url(url, target, limit):
    """Fetch a file.

    Args:
        url: str, an http, https or file URL.
        target: Path to write to.
        limit: int, the maximum size in bytes.

    Raises:
        SourceError: the file cannot be fetched in time, or it is too large. The message begins with its name.
        WriteError: `target` is not writable.
    """
    with _workplace(target) as folder:
        try:
            code, said = watched([url, "content"], folder, limit, target.name)
            reason = said[-1] if said else f"expected an answer, received exit code {code}"
            if code == transfer.NOT_WRITABLE:
                raise WriteError(f"{target.parent}: expected to write into it, received {reason}")
            if code:
                raise SourceError(reason, absent=code == transfer.ABSENT)
        except SourceError as error:
            raise SourceError(f"{target.name}: {error}", error.absent) from None
        (folder / "content").replace(target)


def fetch_package(spec, target, limit):
    """Fetch the .tgz file of a package with the user's npm and its settings. npm's cache is removed afterwards.

    Args:
        spec: str, NAME@VERSION.
        target: Path to write to.
        limit: int, the maximum size in bytes.

    Raises:
        SourceError: npm is missing, fails, hangs, or writes unexpected files.
        OSError: the folder is not writable.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("expected npm on the PATH, received none")
    options = ["--loglevel=error", "--logs-max=0", "--ignore-scripts", "--no-update-notifier"]
    with _workplace(target) as folder:
        command = [npm, "pack", *options, "--cache", str(folder / "cache"), spec]
        code, said = watched(command, folder, 2 * limit + NPM_MARGIN, spec)
        if code:
            raise _failed("npm", code, [line.removeprefix("npm error") for line in said])
        _take_only("npm", folder.glob("*.tgz"), target, limit)


def fetch_wheel(requirement, target, limit, tags=None):
    """Fetch a wheel with pip and the user's settings, such as a mirror of the index. Nothing is built or installed.

    Args:
        requirement: str, NAME==VERSION.
        target: Path to write to.
        limit: int, the maximum size in bytes.
        tags: (python, abi, platform), such as ("cp311", "cp311", "manylinux_2_28_x86_64"), of a wheel for a machine
            that may be another one; the platform may be several, joined by dots. None: a wheel for this machine.

    Raises:
        SourceError: pip is missing, fails, hangs, or writes unexpected files.
        OSError: the folder is not writable.
    """
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--no-input",
        "-qq",
        "--dest",
        "wheels",
    ]
    if tags:
        python, abi, platforms = tags
        options += ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
        options += [word for platform in platforms.split(".") for word in ("--platform", platform)]
    with _workplace(target) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            *options,
            requirement,
        ]
        code, said = watched(command, folder, 2 * limit + PIP_MARGIN, requirement)
        if code:
            errors = [line.removeprefix(PIP_ERROR) for line in said if line.startswith(PIP_ERROR)] or said[
                -1:
            ]
            raise _failed("pip", code, errors)
        _take_only("pip", folder.glob("wheels/*.whl"), target, limit)


def _failed(program, code, errors):
    reason = ", ".join(" ".join(line.split())[:200] for line in errors[:2])
    return SourceError(f"expected {program} to exit with 0, received {code}{reason and f' ({reason})'}")


def _take_only(program, paths, target, limit):
    """Move the only file that a program wrote to its place."""
    found = [path for path in paths if path.is_file() and not path.is_symlink()]
    if len(found) != 1:
        raise SourceError(f"expected {program} to write one {target.suffix} file, received {len(found)}")
    _expect_size(found[0].stat().st_size, limit)
    found[0].replace(target)


@contextlib.contextmanager
def _workplace(target):
    """Yield a new folder beside a file, which is removed at the end."""
    folder = target.with_name("transfer")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def watched(words, folder, limit, what):
    """Run a transfer in a folder, and end it if it is too slow or stores too much.

    Args:
        words: list of str, a URL and a file name, or a command; see `bnn.datasets.transfer`.
        folder: Path of an empty folder, in which the transfer runs and writes, temporary files as well.
        limit: int, the maximum size in bytes of all files in the folder.
        what: str, the description of the progress bar.

    Returns:
        (int, the exit code; list of str, the first lines that were written to standard error)

    Raises:
        SourceError: the transfer was ended. No process that it started is left.
    """
    mark, marked = time.monotonic(), 0
    with console.progress(unit="B", description=what) as bar, _process_group(words, folder) as process:
        while _runs(process):
            now, received = time.monotonic(), _bytes_below(folder)
            bar.update(received - bar.n)
            _expect_size(received, limit)
            if received < marked or (received and not marked):  # another attempt, or the first byte
                mark, marked = now, received
            elif now - mark > (PACE_S if marked else FIRST_S):
                _expect_pace(received - marked, marked)
                mark, marked = now, received
    _expect_size(_bytes_below(folder), limit)
    with (folder / "stderr").open("rb") as file:
        lines = file.read(2000).decode(errors="replace").split("\n")
    return process.returncode, [line for line in lines if line.strip()]


def _expect_size(received, limit):
    if received > limit:
        raise SourceError(f"expected at most {limit:,} bytes, received more")


def _expect_pace(received, began):
    if not began:
        raise SourceError(f"expected a first byte within {FIRST_S} s, received none")
    if received < SLOWEST * PACE_S:
        raise SourceError(
            f"expected at least {SLOWEST:,} bytes per second, received {received:,} bytes in {PACE_S} s"
        )


@contextlib.contextmanager
def _process_group(words, folder):
    """Yield a transfer that leads its own process group. The whole group is killed at exit in any case.

    The transfer also ends as soon as the pipe to its standard input is closed, even if an interruption prevents
    `Popen` from returning it, or if this process is killed.
    """
    command = [sys.executable, "-P", "-W", "ignore", transfer.__file__, *words]
    options = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.DEVNULL,
        "env": os.environ | {"TMPDIR": str(folder)},
    }
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, cwd=folder, stderr=stderr, start_new_session=True, **options)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # none of them runs any more
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdin.close()


def _runs(process):
    """Wait for a moment; return whether a process still runs."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(TICK_S)
    return process.returncode is None


def _bytes_below(folder):
    """Return the total size of all files in a folder that another process is writing into."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(parent, name)).st_size
    return total
