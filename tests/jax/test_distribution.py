"""Training on several devices and processes, compared with one process that has one device."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from bnn import runs, training
from bnn.console.errors import ConfigError
from bnn.training import Batches, Processes, distribution
from tests.jax import distributed_trainings
from tests.jax.distributed_trainings import TRAININGS, Rolled
from tests.support import ROOT, TINY, command, small_data

DATA = small_data()
FLAGS = (*TINY[:-1], "--continuous", "--debug", "--epochs", "30", "--precision", "float32")
ENDS = 60  # seconds within which all processes of a job end after one of them has


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def begin(line, **environment):
    pipe = subprocess.PIPE
    env = os.environ | environment
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, bufsize=1, cwd=ROOT, env=env)


def begin_job(count, line_of):
    """Start the processes of a job; `line_of(address, process)` is a command line."""
    address = free_address()
    return [begin(line_of(address, process)) for process in range(count)]


def ended(processes, seconds=ENDS):
    """Wait until all processes have ended; their exit codes, what they printed, and their errors."""
    limit = time.monotonic() + seconds
    try:
        outputs = [process.communicate(timeout=limit - time.monotonic()) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], *zip(*outputs, strict=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A dict from the name of each training to two Runs of one process, which differ in the order of their sums."""
    found = {}
    for name in TRAININGS:
        folder = tmp_path_factory.mktemp("alone")
        first = distributed_trainings.run(name, folder / "first")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training.loop, "Batches", Rolled)
            found[name] = first, distributed_trainings.run(name, folder / "rolled")
    return found


def numbers(run):
    """Losses of all epochs, and all weights after the last."""
    log = [value for row in run.log() for key, value in row.items() if key in ("loss", "val_loss")]
    return [np.array(log), *run.load_model("last").get_weights()]


def spread(run, other):
    """The largest difference of losses, and of weights relative to the learning rate, by which a step changes them."""
    losses, *weights = (np.abs(a - b).max() for a, b in zip(numbers(run), numbers(other), strict=True))
    return losses, max(weights)


@pytest.mark.parametrize(
    "processes", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_devices_and_processes_train_as_one(alone, tmp_path, processes):
    """Only the order of sums differs, so the deviation is of the size of that between two orders in one process."""
    module = "tests.jax.distributed_trainings"
    if processes == 1:
        flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
        job = [begin([sys.executable, "-m", module, "-", "1", "0", str(tmp_path)], **flags)]
    else:
        job = begin_job(
            processes,
            lambda address, process: [
                *(sys.executable, "-m", module, address),
                *(str(processes), str(process), str(tmp_path)),
            ],
        )
    codes, printed, errors = ended(job, 500)
    assert codes == [0] * processes, errors
    assert all("epoch" not in text for text in printed[1:])
    for name, (first, rolled) in alone.items():
        run = runs.open_run(tmp_path / name)
        losses, weights = spread(run, first)
        if name == "stochastic":  # with other random numbers, the loss would differ by 0.05
            assert losses < 1e-3
            continue
        order_losses, order_weights = spread(rolled, first)
        assert losses <= 10 * order_losses + 1e-6, name
        assert weights <= 10 * order_weights + 1e-6, name
        assert (run.folder / "geometry.csv").exists() == (name == "logged")


def test_shares_are_the_batch_in_its_order():
    whole = Batches(DATA.train, 20, 3, augmentation="flips-and-crops")
    shares = [
        Batches(DATA.train, 20, 3, augmentation="flips-and-crops", share=distribution.Team(i, 4).share(20))
        for i in range(4)
    ]
    for step in range(len(whole)):
        for whole_part, parts in zip(
            whole[step], zip(*(share[step] for share in shares), strict=True), strict=True
        ):
            assert {len(part) for part in parts} == {5}
            np.testing.assert_array_equal(np.concatenate(parts), whole_part)


def line(run, address, process, *flags):
    job = ("--distribute", "--coordinator", address, "--processes", 2, "--process", process)
    return command("train.py", *flags, *job) if flags else command("train.py", "--resume", run, *job)


def at_epoch(process, number):
    for text in process.stdout:
        if text.startswith(f"epoch {number:2d}/"):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
def test_a_job_that_is_stopped_and_killed_resumes_to_the_end(tmp_path):
    """Bit for bit as a job of two processes that nothing disturbed."""
    run = tmp_path / "run"
    job = begin_job(2, lambda address, process: line(run, address, process, *FLAGS, "--run_dir", run))
    at_epoch(job[0], 2)
    job[1].send_signal(signal.SIGTERM)
    codes, printed, errors = ended(job)
    assert codes == [143, 143], errors
    assert "interrupted; saved" in printed[0] and "interrupted" not in printed[1]
    (partial,) = run.glob("partial-*.npz")
    for victim in (1, 0):
        job = begin_job(2, lambda address, process: line(run, address, process))
        at_epoch(job[0], len(runs.open_run(run).log()) + 2)
        job[victim].kill()
        codes, _, _ = ended(job)
        assert all(codes), codes
    assert not partial.exists()
    codes, _, errors = ended(begin_job(2, lambda address, process: line(run, address, process)), 300)
    assert codes == [0, 0], errors
    assert [row["epoch"] for row in runs.open_run(run).log()] == list(range(1, 31))
    whole = tmp_path / "whole"
    job = begin_job(2, lambda address, process: line(whole, address, process, *FLAGS, "--run_dir", whole))
    codes, _, errors = ended(job, 300)
    assert codes == [0, 0], errors
    found, expected = (runs.open_run(folder).load_model("last").get_weights() for folder in (run, whole))
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_what_cannot_be_distributed_is_refused_in_one_line(tmp_path, monkeypatch):
    address = free_address()

    def refused(message, distribute, **settings):
        with pytest.raises((ConfigError, runs.RunError), match=message) as caught:
            training.train(tmp_path / "run", data_set=DATA, distribute=distribute, **settings)
        assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()

    refused("coordinator: expected together with processes, process", Processes(address))
    refused("process: expected 0 to 1, received 2", Processes(address, 2, 2))
    refused(
        "coordinator: expected HOST:PORT, such as node1:29500, received 'node1'", Processes("node1", 2, 1)
    )
    monkeypatch.setattr("bnn.backend.name", lambda: "tensorflow")
    refused("expected the backend jax, .* received tensorflow; set KERAS_BACKEND=jax", True)


def test_a_coordinator_that_never_answers_and_a_batch_that_is_not_divisible_give_one_line(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        waiting = begin(line(None, address, 1, *FLAGS, "--run_dir", tmp_path / "run"))
        flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
        odd = begin(command("train.py", *FLAGS, "--run_dir", tmp_path / "odd", "--distribute"), **flags)
        codes, _, errors = ended([odd, waiting], 150)
    assert codes == [1, 1], errors
    assert "--batch_size: expected a multiple of the 3 devices" in errors[0]
    assert "such as 18 or 21, received 20" in errors[0]
    assert "expected an answer of the coordinator" in errors[1]
    assert len([text for text in errors[1].splitlines() if "error" in text.lower()]) == 1, errors[1]
