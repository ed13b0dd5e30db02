"""Submit the missing points of a sweep with submitit: as processes of this machine, or as jobs of SLURM."""

import contextlib
import io
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bnn import console
from bnn.console.errors import ConfigError, expect
from bnn.console.spelling import argument
from bnn.console.suggestions import did_you_mean
from bnn.console.tables import filled
from bnn.files.atomic import write_json
from bnn.training.sweeps import queue, status
from bnn.training.sweeps.supervisor import Supervisor, last_line, seconds

CLUSTERS = ("local", "slurm")
CORES_PER_JOB = 2
MINUTES = 60 * 24 * 365  # of a job without a time limit
WARNING_S = 90  # before the time limit, in which a training saves; SLURM may send the signal a minute earlier
TRIES = 3  # of a local job that ended without a result
POLL_S = 0.5
REQUEUES = 100  # of a job that was killed
RESERVED = ("comment", "requeue", "no_requeue", "output", "error", "open_mode", "array", "job_name")
PACKAGE = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Slurm:
    """The options of SLURM jobs; None: the default of the cluster.

    Attributes:
        partition: str.
        time: str, the time limit as SLURM reads it: minutes, or days-hours:minutes:seconds.
        memory: float, GB of each job.
        cpus: int, processor cores of each job.
        gpus: int, GPUs of each job.
        requeue: bool, whether SLURM may requeue a job that it preempts or whose node fails.
        more: dict from further options of sbatch to their values, such as {"account": "vision"}.
    """

    partition: str | None = None
    time: str | None = None
    memory: float | None = None
    cpus: int | None = None
    gpus: int | None = None
    requeue: bool = True
    more: dict | None = None

    def __post_init__(self):
        for name in ("memory", "cpus", "gpus"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            expect(value is None or (number and value > 0), name, "a positive number", value)
        expect(self.time is None or self.minutes > 0, "time", "minutes, or D-HH:MM:SS", self.time)
        for name in self.more or {}:
            own = name.replace("-", "_") in RESERVED
            expect(not own, argument("slurm"), "options that the sweep does not set itself", name)

    @property
    def minutes(self):
        """The time limit in whole minutes, 0 if it is no time."""
        text = str(self.time)
        return int(text) if text.isdigit() else -(-seconds(text) // 60)

    def parameters(self):
        """Return the parameters of submitit."""
        valid = {
            "qos",
            "account",
            "constraint",
            "exclude",
            "gres",
            "nodelist",
            "dependency",
            "exclusive",
            "mail_user",
        }
        more = {name.replace("-", "_"): value for name, value in (self.more or {}).items()}
        extra = {name.replace("_", "-"): value for name, value in more.items() if name not in valid}
        found = {
            "partition": self.partition,
            "time": self.minutes if self.time else MINUTES,
            "mem": f"{max(1, round(1024 * self.memory))}MB" if self.memory else None,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus,
            **{name: value for name, value in more.items() if name in valid},
            "additional_parameters": {"requeue" if self.requeue else "no-requeue": True} | extra,
        }
        return {name: value for name, value in found.items() if value is not None}


def expect_submitit():
    """Raise `ConfigError` unless submitit is installed."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise ConfigError(
            "submitit: expected the package that submits jobs, received an environment without it; "
            "install it with: pip install 'bnn-geometry[sweeps]'"
        ) from None


def expect_slurm(slurm):
    """Raise an error unless SLURM answers and has the partition of the options."""
    partitions = queue.answer("sinfo", "--noheader", "--format=%R").split()
    known = dict.fromkeys(partitions)
    for partition in (slurm.partition or "").split(",") if slurm.partition else ():
        if partition not in known:
            hint = did_you_mean(partition, known)
            raise ConfigError(
                f"{argument('partition')}: expected one of {', '.join(known)}, received {partition!r}{hint}"
            )


def _python():
    """How jobs start Python: with this package, wherever they run."""
    places = [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return shlex.join(["/usr/bin/env", f"PYTHONPATH={os.pathsep.join(places)}", sys.executable])


def _executor(kind, sweep):
    # A path of submitit may hold its own tags, such as %j.
    return kind(folder=sweep.submitit, max_num_timeout=10**6, python=_python())


def _record(sweep, point, **about):
    path = sweep.record(point, "json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, about)


class OnSlurm:
    """Submits points to SLURM.

    Args:
        sweep: Sweep.
        slurm: Slurm.
    """

    def __init__(self, sweep, slurm):
        expect_slurm(slurm)
        self.sweep, self.slurm = sweep, slurm

    def submit(self, points):
        """Submit those of the points that have no job; the number of jobs submitted.

        Raises:
            ClusterError: SLURM refuses a job; those submitted before go on.
        """
        points = self._without_job(points)
        executor = self._prepared()
        for count, point in enumerate(console.progress(points, unit="job", description="submitting")):
            try:
                self._submit(executor, point)
            except KeyboardInterrupt:
                console.say(
                    f"{count} of {len(points)} jobs are submitted and go on; the same command submits the others"
                )
                raise
        return len(points)

    def _prepared(self):
        import submitit

        unlimited = self.slurm.time is None

        class SlurmExecutor(submitit.SlurmExecutor):  # its name is that of the cluster
            def _make_submission_file_text(self, command, uid):
                text = super()._make_submission_file_text(command, uid)
                lines = text.splitlines(keepends=True)
                return "".join(
                    line for line in lines if not (unlimited and line.startswith("#SBATCH --time="))
                )

        executor = _executor(SlurmExecutor, self.sweep)
        delay = WARNING_S if unlimited else min(WARNING_S, 15 * self.slurm.minutes)
        executor.update_parameters(**self.slurm.parameters(), signal_delay_s=delay, teardown=TEARDOWN)
        return executor

    def _submit(self, executor, point):
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        sweep = self.sweep
        executor.parameters["job_name"] = f"{sweep.folder.name}/{point.name}"
        executor.parameters["additional_parameters"]["comment"] = queue.comment(sweep, point)
        try:
            # submitit also prints what sbatch says, which is in its error.
            with contextlib.redirect_stderr(io.StringIO()):
                job = executor.submit(Supervisor(str(sweep.folder.absolute()), point.name))
        except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError) as error:
            raise queue.ClusterError(
                f"{point.name}: expected a job that SLURM accepts, received: {queue.one_line(str(error))}; "
                "jobs submitted before go on"
            ) from None
        _record(sweep, point, cluster="slurm", job=job.job_id)
        sweep.record(point, "failed").unlink(missing_ok=True)

    def _without_job(self, points):
        """The points that have no job, after jobs were canceled whose submission was interrupted."""
        held = {}
        for job, (name, _, _) in queue.slurm_jobs(self.sweep).items():
            if (self.sweep.submitit / f"{job}_submitted.pkl").is_file():
                held[name] = job
            else:
                queue.answer("scancel", job)
        return [point for point in points if point.name not in held]


# A job that was killed from outside, not by SLURM or its user, is requeued; the exit code is that of srun.
TEARDOWN = [
    "code=$?",
    f'if [ "$code" -ge 128 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {REQUEUES} ] &&',
    '  scontrol show job --oneliner "$SLURM_JOB_ID" | grep -q "JobState=RUNNING"; then',
    '  scontrol requeue "$SLURM_JOB_ID"',
    "fi",
    'exit "$code"',
]


class OnThisMachine:
    """Trains points as processes of this machine, a number at once, with equal parts of its cores and GPUs.

    Args:
        sweep: Sweep.
        jobs: int, how many at once; None: one for every two cores, or one for the GPUs of each.
        gpus: int, GPUs of each; None: all have all.
    """

    def __init__(self, sweep, jobs=None, gpus=None):
        self.sweep = sweep
        devices = _devices()
        cores = (
            sorted(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else range(os.cpu_count() or 1)
        )
        if jobs is None:
            jobs = len(devices) // gpus if gpus else max(1, len(cores) // CORES_PER_JOB)
        expect(isinstance(jobs, int) and jobs > 0, argument("jobs"), "a positive number", jobs)
        if gpus and jobs * gpus > len(devices):
            raise ConfigError(
                f"{argument('gpus')}: expected at most the {len(devices)} GPUs of this machine for all jobs, received "
                f"{gpus} for each of {jobs}"
            )
        each = max(1, len(cores) // jobs)
        self.parts = [tuple(cores[(each * i + k) % len(cores)] for k in range(each)) for i in range(jobs)]
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.devices = [",".join(devices[i * gpus : (i + 1) * gpus]) if gpus else shown for i in range(jobs)]
        self.running = {}  # slot -> (point, submitit job)
        self.tries = {}

    def run(self, points):
        """Train points until each is complete or has failed; those that a job of an earlier call trains are awaited."""
        import submitit

        executor = _executor(submitit.LocalExecutor, self.sweep)
        executor.update_parameters(timeout_min=MINUTES)
        waiting = list(points)
        total = sum(point.config.training.epochs for point in points)
        try:
            with console.progress(
                total=total, unit="epoch", description="sweep", details=self._details
            ) as bar:
                self.found = status.states(self.sweep, {})
                while waiting or self.running:
                    waiting = self._step(executor, waiting)
                    self.found = status.states(self.sweep, {})
                    names = {point.name for point in points}
                    bar.update(sum(s.epochs for s in self.found if s.point.name in names) - bar.n)
                    time.sleep(POLL_S)
        except KeyboardInterrupt:
            self._stop()
            raise

    def _details(self, _):
        return status.totals(self.found)

    def _step(self, executor, waiting):
        """Note which jobs ended and start others; the points that still wait."""
        for slot, (point, job) in [*self.running.items()]:
            if job.done():
                del self.running[slot]
                waiting = waiting + self._ended(point)
        later = []
        for point in waiting:
            free = [slot for slot in range(len(self.parts)) if slot not in self.running]
            if queue.is_alive(self.sweep, point):  # in a job of an earlier call
                later.append(point)
            elif status.is_complete(self.sweep, point):
                self._say(point)
            elif free:
                self.running[free[0]] = (point, self._start(executor, point, free[0]))
            else:
                later.append(point)
        return later

    def _start(self, executor, point, slot):
        job = Supervisor(str(self.sweep.folder.absolute()), point.name, self.parts[slot], self.devices[slot])
        with _without_interrupts():
            started = executor.submit(job)
        _record(self.sweep, point, cluster="local", job=started.job_id, host=socket.gethostname())
        return started

    def _ended(self, point):
        """Say how a job ended; [point] if it ended without a result and is tried again, else []."""
        failed = self.sweep.record(point, "failed")
        if status.is_complete(self.sweep, point) or failed.is_file():
            self._say(point)
            return []
        epochs = status.of_point(self.sweep, point).epochs
        tries, before = self.tries.get(point.name, (0, -1))
        tries = 1 if epochs > before else tries + 1
        self.tries[point.name] = (tries, epochs)
        if tries <= TRIES:
            return [point]
        line = last_line(self.sweep.record(point, "log")) or "a job that ended without a line"
        failed.write_text(f"killed {tries} times without a new epoch; the last line was: {line}\n")
        self._say(point)
        return []

    def _say(self, point):
        state = status.of_point(self.sweep, point)
        if state.state == status.COMPLETE:
            console.say(f"{point.name}: complete, best validation accuracy {state.val_accuracy:.4f}")
        else:
            console.say(f"{point.name}: failed: {state.why}")

    def _stop(self):
        """Ask the jobs of this call to save and stop, and wait until they have."""
        for _, job in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)  # the controller of submitit passes it on
        while any(not job.done() for _, job in self.running.values()):
            time.sleep(0.1)


@contextlib.contextmanager
def _without_interrupts():
    """Context manager: processes started within it ignore Ctrl-C, which a terminal sends to all of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def _devices():
    """The names of the GPUs that this process may use, a list of str."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [name for name in shown.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return [str(i) for i in range(len(done.stdout.splitlines()))] if done.returncode == 0 else []


def opening(sweep, missing, cluster):
    """The text with which a sweep begins; `missing` are the points that are not complete."""
    what = "train on this machine" if cluster == "local" else "train in jobs of SLURM"
    count = len(sweep.points)
    parts = [
        f"{sweep.folder}: {count} trainings,",
        f"{count - len(missing)} complete,",
        f"{len(missing)} to {what}",
    ]
    return filled(*parts)
