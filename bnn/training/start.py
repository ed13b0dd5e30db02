"""From settings to a running training: `train` begins a run, `resume` continues an interrupted one."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from bnn import backend, console, runs
from bnn.console.arguments import expanded
from bnn.console.spelling import argument, option
from bnn.console.tables import filled
from bnn.datasets import DataSet
from bnn.files import lock
from bnn.networks.quantization import spelled_out
from bnn.runs import stored_data, summary
from bnn.settings.config import ConfigError, expect_names, network_of, plain
from bnn.training import display, distribution
from bnn.training.data import load_data, of_arrays, of_call, resolved, split
from bnn.training.distribution import ALONE, Team
from bnn.training.signals import Interrupted


def train(
    run_dir=None,
    *,
    data=None,
    overwrite=False,
    init_from=None,
    data_dir=None,
    tensorboard=False,
    callbacks=(),
    command=None,
    verbose=True,
    distribute=False,
    **settings,
):
    """Train a network from the beginning; the result is a run directory. What train.py does.

    Prints one line about the network and one for each epoch, unless `verbose` is false. SIGINT and SIGTERM save before
    they stop. All random number generators of the process are seeded.

    Args:
        run_dir: str or Path, where the run is kept; None: `runs/` and a name from the settings.
        data: the user's data in place of `data_set`: the arrays (x_train, y_train, x_test, y_test), perhaps followed by
            (x_val, y_val), or a dict of these; see `bnn.datasets.from_arrays`. The run keeps only their digest:
            `resume` and `analyze` need them again.
        overwrite: replace an existing run.
        init_from: str or Path, a run of the same network whose best weights this one begins with; None: random ones.
        data_dir: str or Path of the data sets; None: see `bnn.datasets.data_folder`.
        tensorboard: write TensorBoard events to the run directory.
        callbacks: more keras.callbacks.Callbacks, which must not set the learning rate.
        command: list of str, what config.json keeps as the command; None: this call.
        verbose: bool; False: print nothing and show no progress bar. A warning is printed anyway.
        distribute: True, on JAX: divide each batch among all devices of this process, or of all processes that SLURM or
            Open MPI started; or a `Processes` that says which processes train together. Each calls this function;
            process 0 writes, and callbacks run in all of them.
        **settings: the settings of a `bnn.settings.Config` by their names; the data set's presets are the defaults.
            `network` is a name in `bnn.networks.NETWORKS` or a Network.
            `data_set` is a name, by default the paper's "cifar-10", or a `DataSet` with such a name, or the path of
            an .npz file or of a folder of images; then the shape of the images chooses the preset.

    Returns:
        Run

    Raises:
        ConfigError: there is no such setting, no network or training can have it, or a callback sets the learning rate.
        DataError: the data set is not there.
        RunError: a run is there already, or weights or loss became infinite or NaN.
        RunError: another process writes into the run directory.
        WriteError: the disk is full, or the run directory cannot be written.
        Interrupted: SIGINT or SIGTERM came, perhaps in the last step of all; every finished step is saved.
    """
    job = distribution.checked(distribute)
    expect_tensorboard(tensorboard)
    callbacks = _checked_callbacks(callbacks, job)
    settings = of_call(data, settings)
    command = command or _call(run_dir, init_from, settings)
    with console.shown(verbose):
        training = begin(
            run_dir,
            settings,
            command=command,
            overwrite=overwrite,
            init_from=init_from,
            data_dir=data_dir,
            job=job,
        )
        return training.run_to_end(tensorboard, callbacks)


def resume(
    run_dir,
    *,
    data=None,
    data_dir=None,
    tensorboard=False,
    callbacks=(),
    verbose=True,
    distribute=False,
    **settings,
):
    """Continue an interrupted run, to the same bits as without the interruption; a finished run stays as it is.

    Args:
        run_dir: str or Path of a run directory.
        data: the arrays of a run that was trained on arrays, as for `train`.
        data_dir: str or Path of the data sets; None: see `bnn.datasets.data_folder`.
        tensorboard: write TensorBoard events to the run directory.
        callbacks: as for `train`.
        verbose: as for `train`.
        distribute: as for `train`; the run may have been begun on other devices.
        **settings: must be those with which the run was begun; none need be given. `data_set` may be a `DataSet`.

    Returns:
        Run

    Raises:
        ConfigError: the run was begun with another setting, or a callback sets the learning rate.
        RunError: there is no such run, or it is damaged, or one of the errors of `train`.
    """
    job = distribution.checked(distribute)
    expect_tensorboard(tensorboard)
    callbacks = _checked_callbacks(callbacks, job)
    if data is not None:
        run = runs.open_run(run_dir)
        settings = settings | {"data_set": of_arrays(data, run.training, run.stratified)}
    with console.shown(verbose):
        return go_on(run_dir, settings, data_dir=data_dir, job=job).run_to_end(tensorboard, callbacks)


@dataclass(frozen=True)
class Training:
    """A training that is ready to begin or to continue.

    Attributes:
        run: Run.
        data_set: DataSet.
        model: compiled keras.Model.
        team: Team, the processes and devices that train together.
    """

    run: runs.Run
    data_set: DataSet
    model: object
    team: Team = ALONE

    @property
    def complete(self):
        """Whether every step of every epoch is done."""
        config = self.run.training
        steps = config.epochs * config.steps(len(self.data_set.train))
        return int(self.model.optimizer.iterations) >= steps

    def run_to_end(self, tensorboard=False, callbacks=()):
        """Print what is trained, train it, and unlock the run; the Run. Raises as `loop.fit` does."""
        quiet = contextlib.nullcontext() if self.team.writes else console.shown(False)
        try:
            with self.team.scope(), self.team.together(self.run), quiet:
                return self._run_to_end(tensorboard, callbacks)
        finally:
            lock.release(self.run.folder)

    def _run_to_end(self, tensorboard, callbacks):
        from bnn.training import loop

        run, data_set = self.run, self.data_set
        if self.complete:
            return run
        parts = (
            f"{run.kind} network",
            f"{self.model.count_params():,} parameters",
            f"on {data_set.label}",
            f"{len(data_set.train):,} training {data_set.train.unit}s",
            run.training.precision,
        )
        lines = [filled(f"{run.folder}:", *(f"{part}," for part in parts[:-1]), parts[-1])]
        if run.config.quantization.is_binary_in_effect:
            lines.append("threshold 0: hardly any weight becomes 0, so the network is binary in effect")
        lines.append(display.heading(run.training.epochs))
        try:
            loop.fit(self.model, run, data_set, tensorboard, callbacks, "\n".join(lines), self.team)
        except Interrupted:
            if self.complete and self.team.writes:
                summary.write(run)
            raise
        if self.team.writes:
            summary.write(run)
        return run


def begin(run_dir, settings, *, command, overwrite=False, init_from=None, data_dir=None, job=None):
    """A new run with its untrained network.

    Args:
        run_dir: str, Path or None, as for `train`.
        settings: dict, as for `train`.
        command: list of str, for config.json.
        overwrite: bool, as for `train`.
        init_from: str, Path or None, as for `train`.
        data_dir: str, Path or None, as for `train`.
        job: distribution.Processes; None: a training that is not distributed.

    Returns:
        Training

    Raises:
        UserError: as `train` does; up to data that are missing, without having loaded Keras.
    """
    config, data_set = resolved(settings, data_dir)
    return begin_with(config, run_dir, data_set, command, overwrite, init_from, data_dir, job)


def begin_with(config, run_dir, data_set, command, overwrite=False, init_from=None, data_dir=None, job=None):
    """A new run of a Config; other arguments, result and errors as for `begin`; data_set is a DataSet or None."""
    backend.expect_installed()
    folder = expanded(run_dir or Path("runs") / runs.default_name(config))
    overwrite = overwrite or (config.training.debug and not run_dir)
    team = distribution.start(job)
    team.first(lambda: runs.expect_free(folder, overwrite))
    with lock.released_on_error(folder):
        # A new one is locked when it is made.
        team.first(lambda: folder.is_dir() and lock.hold(folder))
        data_set = load_data(config.training, data_set, data_dir, config.data_options)
        team.expect_divisible(config.training.batch_size)
        runs.Run(folder, config, {}).expect_fit(data_set)
        backend.load()
        config = config.replace(precision=backend.resolve_precision(config.training.precision))
        team.expect_equal(settings=config.flat(), data=data_set.digest)
        with team.scope():
            model = _new_model(config, data_set, init_from)
        initial = model if init_from else None
        run = team.first(lambda: runs.create(folder, config, data_set, command, overwrite, initial))
        run = run or runs.Run(folder, config, stored_data.record(data_set))
        return Training(run, data_set, model, team)


def go_on(run_dir, settings, *, data_dir=None, job=None):
    """An interrupted run with its network as it was; arguments, result and errors as for `resume` and `begin`."""
    _expect_checkpoint(runs.open_run(run_dir))  # before a lock file is created there
    team = distribution.start(job)
    run = team.first(lambda: runs.reopen(run_dir)) or runs.open_run(run_dir)
    with lock.released_on_error(run.folder):
        given, data_set = split(settings)
        _expect_agreement(run, given)
        data_set = data_set or run.load_data(data_dir)
        run.expect_data(data_set)
        if not run.reads_alike(data_set):
            data_set = run.load_data(data_dir)
        data_set = load_data(run.training, data_set, options=run.config.data_options)
        team.expect_divisible(run.training.batch_size)
        backend.load()
        with team.scope():
            if run.checkpoint("last").is_file():
                backend.seed_everything(run.training.seed, run.training.deterministic)
                model = run.load_model("last", compiled=True)
            else:
                model = _new_model(run.config, data_set)
        team.expect_equal(settings=run.config.flat(), checkpoint=int(model.optimizer.iterations))
        return Training(run, data_set, model, team)


def _expect_checkpoint(run):
    """Raise `RunError` for a published run, which would be trained again from its start and lose its network.

    The first epoch always writes last.keras, and does so before the second row of the log.
    """
    if len(run.log()) > 1 and not run.checkpoint("last").is_file():
        raise runs.RunError(
            f"{run.folder}: expected last.keras, from which a training continues, received a run without it; "
            f"to begin a new training with its best weights, use {option('init_from', run.folder)}"
        )


def _expect_agreement(run, given):
    """Raise a `ConfigError` unless a run was begun with the given settings."""
    stored, typed = run.config.flat(), spelled_out(plain(given))
    given = dict(typed)
    if "network" in typed:
        kind, named = network_of(typed)
        given = named | typed | {"network": kind.name}
    given |= type(run.config.network).implied(stored | given, typed)
    expect_names(given, [type(part) for part in run.config.parts.values()])
    for name, value in given.items():
        if value != stored[name] and (name, value) != ("precision", "auto"):
            raise ConfigError(
                f"{argument(name)}: expected {stored[name]!r}, with which {run.folder} was begun, received {value!r}; "
                f"other settings need another {argument('run_dir')}, and {option('init_from', run.folder)} begins "
                "with its weights"
            )


def _new_model(config, data_set, init_from=None):
    """A compiled network as its seed and, for a whitening, the training images make it, or with a run's weights."""
    from bnn.models import whiten
    from bnn.training.loop import compile_model

    training = config.training
    backend.seed_everything(training.seed, training.deterministic)
    model = config.build(training.precision)
    whiten(model, data_set.train.images)
    if init_from:
        runs.open_run(init_from).copy_weights(model)
    compile_model(model, training)
    return model


def _checked_callbacks(callbacks, job=None):
    """Return callbacks as a list; raise `ConfigError`, before anything is written, if one is none or sets the rate."""
    if callbacks is None or (isinstance(callbacks, list | tuple) and not callbacks):
        return []
    distribution.start(job)  # before Keras is used
    from bnn.training.schedule import expect_no_rates, listed

    callbacks = listed(callbacks)
    expect_no_rates(callbacks)
    return callbacks


def expect_tensorboard(wanted):
    """Raise a `ConfigError` if TensorBoard events are wanted where TensorFlow is not installed."""
    if wanted:
        backend.expect_tensorflow(argument("tensorboard"))


def _call(run_dir, init_from, settings):
    """A call of `train` as the words that config.json keeps as a command."""
    settings, _ = split(settings)
    folders = {"run_dir": run_dir, "init_from": init_from}
    words = [f"{name}={value}" for name, value in folders.items() if value is not None]
    return ["bnn.train", *words, *(f"{name}={value!r}" for name, value in settings.items())]
