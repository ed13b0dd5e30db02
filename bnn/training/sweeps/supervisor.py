"""What a job of a sweep runs: a process that trains one point, and is started again if it is killed."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from bnn.console.errors import UserError
from bnn.files import atomic
from bnn.training.sweeps import queue
from bnn.training.sweeps.folder import open_sweep
from bnn.training.sweeps.status import is_complete

FRUITLESS = (
    5  # jobs in a row that their time limit ended without a new checkpoint, after which a point has failed
)
KILLS = 10  # without a new epoch in between, after which a point has failed
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
TAIL = 4000  # bytes of a log that are read for its last line


class PointFailed(UserError):
    """The training of a point ended with an error; the message is its last line."""


@dataclass
class Supervisor:
    """Trains one point until it is complete; submitit calls it in a job.

    SIGTERM, from SLURM or from the program that submitted the job, stops the training, which saves its state. If SLURM
    did not end the job itself, it is requeued; so it is before the time limit, when submitit calls `checkpoint`.

    Args:
        folder: str, the folder of the sweep.
        name: str, the name of the point.
        cores: tuple of int, the processor cores to use on this machine; None: those of the job.
        devices: str, CUDA_VISIBLE_DEVICES for the training; None: as for the job.
        fruitless: int, how many jobs before this one, in a row, their time limit ended without a new checkpoint.
    """

    folder: str
    name: str
    cores: tuple[int, ...] | None = None
    devices: str | None = None
    fruitless: int = 0
    child: object = field(default=None, init=False, repr=False)
    stopped: bool = field(default=False, init=False, repr=False)
    checkpoint_before: int | None = field(default=None, init=False, repr=False)

    def __getstate__(self):
        return vars(self) | {"child": None, "stopped": False}

    def __call__(self):
        """Train to the end; the name of the point.

        Raises:
            PointFailed: the training failed.
        """
        signal.signal(signal.SIGTERM, self._stop)
        sweep = open_sweep(self.folder)
        point = sweep.point(self.name)
        if not queue.hold(sweep, point):
            print(f"{self.name}: another job trains it")
            return self.name
        if self.cores is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)
        sweep.record(point, "failed").unlink(missing_ok=True)
        self.checkpoint_before = _checkpoint(sweep, point)
        code = self._train(sweep, point)
        if is_complete(sweep, point):
            return self.name
        if self.stopped:
            if "SLURM_JOB_ID" in os.environ:
                _requeue_unless_ended(os.environ["SLURM_JOB_ID"])
            sys.exit(128 + signal.SIGTERM)
        line = last_line(sweep.record(point, "log")).removeprefix("bnn sweep: error: ") or f"exit code {code}"
        if code < 0:
            line = f"killed {KILLS} times by {signal.Signals(-code).name} without a new epoch; perhaps out of memory"
        atomic.write(sweep.record(point, "failed"), f"{line}\n".encode(errors="replace"))
        raise PointFailed(line)

    def checkpoint(self):
        """Stop the training, which saves its state, and return what submitit shall call in the next job, or None."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        if self.child is not None:
            with contextlib.suppress(ChildProcessError):  # without reaping it, which `_train` does
                os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOWAIT)
        sweep = open_sweep(self.folder)
        point = sweep.point(self.name)
        self.fruitless = 0 if _checkpoint(sweep, point) != self.checkpoint_before else self.fruitless + 1
        if self.fruitless < FRUITLESS:
            return DelayedSubmission(self)
        line = (
            f"the time limit ended {FRUITLESS} jobs in a row without a new checkpoint; a longer one is needed"
        )
        atomic.write(sweep.record(point, "failed"), f"{line}\n".encode())
        return None

    def _stop(self, *_):
        self.stopped = True
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()

    def _train(self, sweep, point):
        """Train in other processes until one is not killed; the exit code of the last one."""
        killed, code = 0, 0
        with sweep.record(point, "log").open("ab") as log:
            while not self.stopped:
                epochs = _epochs(sweep, point)
                self.child = subprocess.Popen(
                    [sys.executable, "-m", "bnn", "sweep", self.folder, "--point", self.name],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment(point),
                    preexec_fn=_prepare,
                    start_new_session=True,
                )
                if self.stopped:  # a signal came before the process was known
                    self._stop()
                code = self.child.wait()
                if code == 128 + signal.SIGTERM and not self.stopped:
                    self.stopped = True  # SLURM may signal all processes, and this one a little later
                if code >= 0:
                    break
                killed = 1 if _epochs(sweep, point) > epochs else killed + 1
                if killed == KILLS:
                    break
        return code

    def _environment(self, point):
        """The environment of a training: threads for the cores of the job, and its GPUs."""
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        if self.devices is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices
        elif self.cores is not None:
            environment.pop("CUDA_VISIBLE_DEVICES", None)  # submitit hides the GPUs
        number = _cores(self.cores)
        # With the setting, the number of threads is part of the result; see `bnn.backend.seed_everything`.
        fixed = ("TF_NUM_INTRAOP_THREADS",) if point.config.training.deterministic else ()
        if number:
            for name in THREADS:
                if name not in fixed:
                    environment.setdefault(name, str(number))
        return environment


def _cores(cores):
    """The number of cores of this job; None if that is not known."""
    if cores is not None:
        return len(cores)
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return None


def _prepare():
    """In the new process, before the training: it ends with its parent, and ignores the signals meant for that one."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(WITH_PARENT, signal.SIGTERM)


def _epochs(sweep, point):
    """The number of lines in the log of a point; 0 if there is none."""
    folder = sweep.run_dir(point)
    with contextlib.suppress(OSError):
        return (folder / "log.csv").read_bytes().count(b"\n")
    return 0


def _checkpoint(sweep, point):
    """The time of the last checkpoint of a point; None if there is none."""
    with contextlib.suppress(OSError):
        return (sweep.run_dir(point) / "last.keras").stat().st_mtime_ns
    return None


def _requeue_unless_ended(job):
    """Requeue a SLURM job that runs, or that its time limit ended.

    A job that was preempted is requeued by SLURM, and one that a user canceled stays canceled.
    """
    with contextlib.suppress(queue.ClusterError):
        shown = queue.answer("scontrol", "show", "job", "--oneliner", job)
        about = dict(re.findall(r"(\w+)=(\S*)", shown))
        late = seconds(about.get("RunTime")) >= seconds(about.get("TimeLimit")) > 0
        if about.get("JobState") == "RUNNING" or late:
            queue.answer("scontrol", "requeue", job)
            time.sleep(5)  # until SLURM ends this job, so that it does not end by itself


def seconds(text):
    """Return the seconds of a time as SLURM prints it, "1-02:03:04"; 0 for others, such as UNLIMITED."""
    if not text or not re.fullmatch(r"(\d+-)?\d+(:\d+){1,2}", text):
        return 0
    days, _, clock = text.rpartition("-")
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return 86400 * int(days or 0) + total


def last_line(path):
    """Return the last line of a text file that is not empty, a str; "" if there is none."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""
