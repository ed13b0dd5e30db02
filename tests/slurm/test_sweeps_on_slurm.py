"""A sweep on a real SLURM, which the test brings up and takes down: whatever ends jobs, the results are the same."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from bnn import runs
from bnn.training.sweeps.folder import open_sweep
from tests.support import begin, command, same_but_for_seconds

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0,
    reason=f"needs root and SLURM, here without {', '.join(MISSING) or 'root'}",
)
SETTINGS = (
    "--data_set",
    "mnist-5k",
    "--conv",
    "--max_pool",
    "--fc",
    "32",
    "--epochs",
    "8",
    "--deterministic",
)
GRID = ("--levels", "2", "3", "--threshold", "0.02", "--seed", "0", "1")
POINTS = [f"levels{levels}/seed{seed}" for levels in (2, 3) for seed in (0, 1)]
LIMIT_S = 900
UNFINISHED = "PENDING,RUNNING,SUSPENDED,COMPLETING"  # SLURM lists jobs that have ended for five more minutes


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A running SLURM; programs that the tests start use it."""
    folder = tmp_path_factory.mktemp("slurm")
    script = Path(__file__).with_name("cluster.sh")
    subprocess.run([script, folder], check=True, stdout=subprocess.DEVNULL)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield
    subprocess.run([script, folder, "stop"], check=True)
    del os.environ["SLURM_CONF"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The same sweep on this machine."""
    folder = tmp_path_factory.mktemp("sweeps") / "local"
    done = sweep(*SETTINGS, *GRID, "--sweep_dir", folder, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    return folder


def sweep(*arguments):
    line = command("-m", "bnn", "sweep", *arguments)
    return subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S)


def submit(folder, *flags):
    return sweep(*SETTINGS, *GRID, "--sweep_dir", folder, "--cluster", "slurm", *flags)


def shown(*line):
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout


def jobs(state="RUNNING"):
    return shown("squeue", "--noheader", "--partition=main", f"--states={state}", "--format=%i").split()


def wait_for(condition):
    end = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.5)
    return found


def states(folder):
    return [state.state for state in open_sweep(folder).status()]


def wait_for_the_end(folder):
    wait_for(
        lambda: not any(state.is_active for state in open_sweep(folder).status()) and not jobs(UNFINISHED)
    )


def processes(job):
    listed = shown("scontrol", "listpids", job).splitlines()[1:]
    return [pid for pid in (int(line.split()[0]) for line in listed) if pid > 1]


def trainings():
    """The processes of trainings within jobs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0") if path.exists() else []
        if b"--point" in words:
            found.append(int(path.parent.name))
    return found


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def expect_equal(folder, reference):
    for name in POINTS:
        one, other = (runs.open_run(place / name) for place in (folder, reference))
        assert same_but_for_seconds(one.log(), other.log()), name
        for checkpoint in ("last", "best"):
            weights = (run.load_model(checkpoint).get_weights() for run in (one, other))
            for mine, theirs in zip(*weights, strict=True):
                np.testing.assert_array_equal(mine, theirs)


def test_jobs_that_are_preempted_killed_and_requeued_end_like_those_of_this_machine(
    slurm, undisturbed, tmp_path
):
    done = submit(tmp_path / "sweep")
    assert done.returncode == 0 and "submitted 4 jobs; 0 were under way already" in done.stdout, done.stderr
    again = submit(tmp_path / "sweep")
    assert "submitted 0 jobs; 4 were under way already" in again.stdout
    wait_for(lambda: list(tmp_path.glob("sweep/*/*/last.keras")))
    shown(
        "sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"
    )  # preempts all
    wait_for(lambda: trainings())
    kill(trainings()[:1])  # a training, which its job starts again
    first = wait_for(lambda: jobs())[0]
    kill(processes(first))  # all of a job, which SLURM notices
    time.sleep(10)
    if running := jobs():
        shown("scontrol", "requeue", running[-1])
    wait_for_the_end(tmp_path / "sweep")
    if states(tmp_path / "sweep").count("complete") < 4:
        submit(tmp_path / "sweep")  # the job whose batch script was killed
        wait_for_the_end(tmp_path / "sweep")
    assert states(tmp_path / "sweep") == ["complete"] * 4
    expect_equal(tmp_path / "sweep", undisturbed)


def test_time_limits_and_canceled_jobs_cost_nothing(slurm, undisturbed, tmp_path):
    assert submit(tmp_path / "sweep", "--time", "2").returncode == 0
    canceled = wait_for(lambda: jobs())[0]
    wait_for(lambda: list(tmp_path.glob("sweep/*/*/log.csv")))
    shown("scancel", canceled)
    wait_for_the_end(tmp_path / "sweep")
    assert "complete" in states(tmp_path / "sweep")
    submit(tmp_path / "sweep", "--time", "2")
    wait_for_the_end(tmp_path / "sweep")
    assert states(tmp_path / "sweep") == ["complete"] * 4
    expect_equal(tmp_path / "sweep", undisturbed)


def test_a_submission_that_is_killed_is_finished_by_the_next_one(slurm, tmp_path):
    folder = tmp_path / "sweep"
    grid = ("--seed", *map(str, range(12)))
    line = [*SETTINGS[:-1], "--epochs", "1", "--debug", *grid, "--sweep_dir", folder, "--cluster", "slurm"]
    process = begin("-m", "bnn", "sweep", *line, fresh=True)
    wait_for(lambda: len(jobs("all")) > random.Random(0).randrange(2, 6))
    process.kill()
    process.wait()
    done = sweep(*line)
    assert done.returncode == 0, done.stderr
    comments = shown("squeue", "--noheader", "--format=%k").split()
    assert len(set(comments)) == len(comments) >= 12 - states(folder).count("complete")
    shown("scancel", "--partition=main")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--partition", "mian"),
            "--partition: expected one of main, urgent, received 'mian'; did you mean main?",
        ),
        (("--slurm", "nodelist=nowhere"), "expected a job that SLURM accepts, received: "),
        (("--slurm", "nonsense=1"), "expected a job that SLURM accepts, received: "),
        (("--memory", "100000"), "expected a job that SLURM accepts, received: "),
    ],
)
def test_what_slurm_refuses_is_one_line(slurm, tmp_path, flags, message):
    done = submit(tmp_path / "sweep", *flags)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr
