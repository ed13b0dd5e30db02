"""Which points of a sweep have a job: those of SLURM, and the processes on this machine."""

import contextlib
import getpass
import json
import os
import shutil
import subprocess
import time

from bnn.console.errors import UserError
from bnn.files import lock

SECONDS = 60  # that SLURM may take to answer
IN_USE_S = 120  # in which the processes of an earlier job of the same point end


class ClusterError(UserError):
    """SLURM is not there, does not answer, or refuses a job; the message is one line."""


def answer(*command):
    """Return what a program of SLURM prints.

    Raises:
        ClusterError: it is not there, fails or does not answer.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f"{command[0]}: expected an answer of SLURM, received none in {SECONDS} seconds"
        ) from None
    except OSError:
        raise ClusterError(
            f"{command[0]}: expected SLURM's programs on PATH, received none; cluster local trains on this machine"
        ) from None
    if done.returncode:
        raise ClusterError(f"{command[0]}: expected an answer of SLURM, received: {one_line(done.stderr)}")
    return done.stdout


def one_line(text):
    """Return what a program of SLURM says as one line."""
    lines = [line.split("error: ")[-1].strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines) or "no reason"


def slurm_jobs(sweep):
    """Return the jobs of a sweep that SLURM holds and that are not over.

    Returns:
        Dict from the id of a job to (name of the point, state, reason).

    Raises:
        ClusterError: SLURM does not answer.
    """
    listed = answer("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%T|%r|%k")
    places = {comment(sweep, point): point.name for point in sweep.points}
    found = {}
    for line in listed.splitlines():
        job, state, reason, place = (line.split("|", 3) + [""] * 3)[:4]
        if place in places:
            found[job] = (places[place], state, "" if reason == "None" else reason)
    return found


def comment(sweep, point):
    """The comment of a SLURM job, by which it is found again: the run directory."""
    return str(sweep.run_dir(point).absolute())


def active(sweep):
    """Return a dict from the name of each point that has a SLURM job to (state, reason).

    Without SLURM, or if it does not answer, it is empty: then only run directories tell how far the sweep is.
    """
    if shutil.which("squeue") is None or not any(_cluster(sweep, point) == "slurm" for point in sweep.points):
        return {}
    with contextlib.suppress(ClusterError):
        return {name: (state, reason) for name, state, reason in slurm_jobs(sweep).values()}
    return {}


def _cluster(sweep, point):
    return read(sweep, point).get("cluster")


def read(sweep, point):
    """Return the record of the last job of a point, a dict; empty if there is none."""
    with contextlib.suppress(OSError, ValueError):
        held = json.loads(sweep.record(point, "json").read_text())
        return held if isinstance(held, dict) else {}
    return {}


def hold(sweep, point):
    """Lock a point for the job that this process is; return whether no other one trains it, also after a while.

    The lock ends with the process.
    """
    path = sweep.record(point, "lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    end = time.monotonic() + IN_USE_S
    while time.monotonic() < end:
        try:
            lock.exclude_others(descriptor, path, "job", "for this point")
            return True
        except BlockingIOError:  # `is_alive` of another process also locks it, for an instant
            time.sleep(0.2)
    os.close(descriptor)
    return False


def is_alive(sweep, point):
    """Return whether a process holds the lock of a point."""
    return lock.is_locked(sweep.record(point, "lock"))
