"""Data-parallel training on JAX: every device holds the network and computes a share of each batch.

`keras.distribution.DataParallel` replicates the weights and divides the batches; XLA adds up the gradients. All
operations are those of the whole batch, so batch norm uses the moments of all its images.
"""

import contextlib
import hashlib
import json
import os
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnn import backend
from bnn.console import note
from bnn.console.errors import ConfigError, RunError, UserError
from bnn.console.spelling import argument, option

CONNECT = 40  # seconds within which all processes must have started
HEARTBEAT = 40  # seconds of silence, as of a busy machine, after which a process counts as ended
SHUTDOWN = 10  # seconds that a process waits for the others when it ends
ADDRESS = re.compile(r"\S+:\d{1,5}")
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")


class Processes(NamedTuple):
    """The processes of a job that train together; without values, those of SLURM or Open MPI, or this one alone.

    Attributes:
        coordinator: str, "HOST:PORT" of process 0.
        processes: int, their number.
        process: int, the number of this one, from 0.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None


def checked(distribute, given=None):
    """Return the Processes of the arguments of `train`, or None for a training that is not distributed.

    Args:
        distribute: bool or Processes.
        given: Processes; None: take `distribute`.

    Raises:
        ConfigError: they are incomplete or impossible, or the backend is not JAX.
    """
    given = given or (distribute if isinstance(distribute, Processes) else Processes())
    names = [name for name, value in given._asdict().items() if value is not None]
    if not distribute:
        if names:
            raise ConfigError(f"{argument(names[0])}: expected together with {option('distribute')}")
        return None
    if 0 < len(names) < 3:
        missing = ", ".join(argument(name) for name in given._fields if name not in names)
        raise ConfigError(f"{argument(names[0])}: expected together with {missing}")
    if names:
        _expect_possible(*given)
    name = backend.name()
    if name != "jax":
        raise ConfigError(
            f"{argument('distribute')}: expected the backend jax, with which alone Keras distributes a training, "
            f"received {name}; set KERAS_BACKEND=jax"
        )
    return given


def _expect_possible(coordinator, processes, process):
    if not ADDRESS.fullmatch(str(coordinator)) or not 0 < int(str(coordinator).rpartition(":")[2]) < 65536:
        raise ConfigError(
            f"{argument('coordinator')}: expected HOST:PORT, such as node1:29500, received {coordinator!r}"
        )
    if processes < 1:
        raise ConfigError(f"{argument('processes')}: expected 1 or more, received {processes}")
    if not 0 <= process < processes:
        raise ConfigError(f"{argument('process')}: expected 0 to {processes - 1}, received {process}")


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Attributes:
        index: int, of this process; process 0 writes.
        count: int, of the processes.
        distribution: keras.distribution.DataParallel; None: a training that is not distributed.
    """

    index: int = 0
    count: int = 1
    distribution: Any = None

    @property
    def writes(self):
        """Whether this process writes files and prints."""
        return self.index == 0

    @property
    def devices(self):
        """The number of devices of all processes."""
        return 1 if self.distribution is None else self.distribution.num_model_replicas

    def scope(self):
        """Context manager: variables that are made within it are on all devices, and `fit` distributes its batches."""
        return contextlib.nullcontext() if self.distribution is None else self.distribution.scope()

    @contextlib.contextmanager
    def outside(self):
        """Context manager: within it, Keras computes on this process alone."""
        if self.distribution is None:
            yield
            return
        import keras

        before = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)

    @contextlib.contextmanager
    def together(self, run):
        """Context manager: an operation that fails because another process has ended raises `RunError`.

        Args:
            run: Run, for the message.
        """
        if self.count == 1:
            yield
            return
        import jax

        try:
            yield
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            reason = " ".join(str(error).split())[:160]
            raise RunError(
                f"expected all {self.count} processes to train to the end, received none of another ({reason}); "
                f"continue with {option('resume', run.folder)} in all of them"
            ) from error

    def share(self, batch_size):
        """The rows of a batch that this process reads, a slice."""
        return slice(batch_size * self.index // self.count, batch_size * (self.index + 1) // self.count)

    def expect_divisible(self, batch_size):
        """Raise `ConfigError` unless every device gets the same number of images of a batch."""
        if batch_size % self.devices:
            below = batch_size // self.devices * self.devices
            near = " or ".join(str(n) for n in (below, below + self.devices) if n)
            raise ConfigError(
                f"{argument('batch_size')}: expected a multiple of the {self.devices} devices, which divide each batch "
                f"evenly, such as {near}, received {batch_size}"
            )

    def largest(self, number):
        """The largest of one number of each process, an int; all processes must call it."""
        return number if self.count == 1 else int(self._gathered(np.int32(number)).max())

    def first(self, action):
        """Return what `action()` gives in process 0, None in others; if it raises an error, all processes end."""
        if self.count == 1:
            return action()
        found, error = None, None
        if self.writes:
            try:
                found = action()
            except UserError as raised:
                error = raised
        if self.largest(int(error is not None)):
            raise error or RunError(
                "expected process 0 to begin the training, received an error, which it printed"
            )
        return found

    def expect_equal(self, **values):
        """Raise `ConfigError` unless all processes have the same values, which JSON can hold."""
        if self.count == 1:
            return
        for name, value in values.items():
            digest = hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).digest()
            rows = self._gathered(np.frombuffer(digest, np.uint8).astype(np.int32))
            others = [i for i, row in enumerate(rows) if (row != rows[0]).any()]
            if others:
                raise ConfigError(
                    f"expected the same {name} in all {self.count} processes, received others in process {others[0]} "
                    "than in process 0"
                )

    def _gathered(self, value):
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(value))


ALONE = Team()


def start(job):
    """Connect the processes of a job, and return their Team; the backend is loaded.

    Args:
        job: Processes; None: a training that is not distributed.

    Raises:
        RunError: the coordinator does not answer, or a process does not start, within a minute.
        ConfigError: the processes have different numbers of devices.
    """
    if job is None:
        return ALONE
    backend.load()
    import jax
    import keras

    if not jax.distributed.is_initialized() and (job.coordinator or _in_cluster()):
        _connect(job)
    if jax.device_count() != jax.process_count() * jax.local_device_count():
        raise ConfigError(
            f"{argument('distribute')}: expected equally many devices in each process, received "
            f"{jax.local_device_count()} of {jax.device_count()} in process {jax.process_index()}"
        )
    parallel = keras.distribution.DataParallel(auto_shard_dataset=False)
    return Team(jax.process_index(), jax.process_count(), parallel)


def _in_cluster():
    """Whether SLURM or Open MPI started several processes."""
    for names, size in ((SLURM, SLURM[2]), (MPI, MPI[0])):
        if all(name in os.environ for name in names) and os.environ[size] != "1":
            return True
    return False


def _connect(job):
    import jax

    # It would take SIGTERM away from the training, which saves and stops by itself.
    jax.config.update("jax_enable_preemption_service", False)
    where = f"the coordinator {job.coordinator}" if job.coordinator else "the coordinator of the job"
    expected = (
        f"{argument('distribute')}: expected an answer of {where} and all processes within {CONNECT} seconds"
    )
    # JAX would abort with a stack trace of its own after its timeout, which Python cannot catch.
    watch = threading.Timer(
        CONNECT, _give_up, [f"{Path(sys.argv[0]).name}: error: {expected}, received none"]
    )
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            job.coordinator,
            job.processes,
            job.process,
            initialization_timeout=10 * CONNECT,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=SHUTDOWN,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise RunError(f"{expected}, received none ({reason})") from None
    finally:
        watch.cancel()


def _give_up(line):
    note(line)
    os._exit(1)
