"""Start a sweep, or what is missing of it: `sweep` in Python, `bnn sweep` on a command line; and train one point."""

import contextlib
import time
from pathlib import Path

from bnn import console, runs
from bnn.console.arguments import expanded
from bnn.console.errors import ConfigError, RunError, expect
from bnn.console.spelling import argument, option
from bnn.files import lock
from bnn.runs import summary
from bnn.settings import user_code
from bnn.settings.config import TrainConfig
from bnn.training import start
from bnn.training.data import load_data
from bnn.training.sweeps import folder as folders
from bnn.training.sweeps import jobs as submission
from bnn.training.sweeps import plan, status
from bnn.training.sweeps.folder import Sweep

USUAL = Path("runs") / "sweeps"
IN_USE_S = 60  # how long a job waits for one that still writes into its run directory


def sweep(
    sweep_dir=None,
    *,
    cluster=None,
    jobs=None,
    gpus=None,
    slurm=None,
    variants=None,
    use=(),
    data_dir=None,
    verbose=True,
    **settings,
):
    """Train one network for each combination of settings; what `bnn sweep` does.

    Every setting of `bnn.train` may have a list of values; of a setting that is a list itself, such as `conv`, a list
    of lists is several values. There is one run directory for each combination and seed. The same call again trains
    only what is missing, and goes on with what was interrupted; with more values, the sweep grows.

    Args:
        sweep_dir: str or Path of the folder of the run directories; None: `runs/sweeps/` and a name from the settings.
        cluster: "local" trains on this machine and returns when all is done; "slurm" submits jobs to SLURM and returns.
            None: as the sweep was started last, at first "local".
        jobs: int, how many are trained at once on this machine; None: one for every two cores.
        gpus: int, GPUs of each job; None: on this machine all of them, with SLURM none.
        slurm: dict of the options of SLURM jobs: partition, time, memory (GB), cpus, requeue, and any of sbatch.
        variants: dict from a name to a dict of settings: the combinations are trained with each of them.
        use: list of str or Path of Python files that register networks, quantizers or data sets; each job runs them.
        data_dir: str or Path of the data sets; None: see `bnn.datasets.data_folder`.
        verbose: bool; False: print nothing.
        **settings: settings of `bnn.train`, each with one or several values. None at all: those of the sweep in
            `sweep_dir`.

    Returns:
        Sweep: its points, how far they are, the complete runs and their comparison. A point that failed does not stop
        the others; `status()` has its last line.

    Raises:
        ConfigError: there is no such setting or value, or the sweep in that folder was begun with other settings.
        RunError: the folder, or a run directory in it, holds something else, or another process starts the sweep.
        ClusterError: SLURM is not there, does not answer or refuses a job.
        DataError: the data set is not there.
    """
    submission.expect_submitit()
    for path in use:
        user_code.load(path)
    with console.shown(verbose):
        made = prepare(sweep_dir, settings, variants, use, data_dir)
        return launch(made, cluster, jobs, gpus, slurm)


def prepare(sweep_dir, settings, variants=None, use=(), data_dir=None):
    """The Sweep of the arguments of `sweep`, joined with the one that the folder holds; nothing is written yet."""
    if not settings and not variants:
        if sweep_dir is None:
            raise ConfigError("sweep: expected settings, such as seed with several values, received none")
        return folders.open_sweep(sweep_dir)
    points = plan.points(settings, variants, data_dir)
    folder = expanded(sweep_dir) if sweep_dir else USUAL / default_name(settings, variants)
    if reason := runs.folders.why_unwritable(folder):
        raise RunError(f"{folder}: expected a folder that can be made and written, received {reason}")
    made = Sweep(
        folder,
        tuple(points),
        plan.single(settings),
        tuple(str(expanded(path).absolute()) for path in use),
        None if data_dir is None else str(expanded(data_dir).absolute()),
    )
    return joined(made)


def joined(made):
    """A Sweep with the points that its folder already has; raises an error if the folder holds something else."""
    if folders.is_sweep(made.folder):
        made = folders.merged(folders.open_sweep(made.folder), made)
    else:
        folders.expect_free(made.folder)
    folders.expect_runs(made)
    return made


def default_name(settings, variants=None):
    """The name of the folder of a sweep: the data set and the settings that vary, such as "mnist-5k-levels-seed"."""
    data_set = plan.single(settings).get("data_set")
    varied = [*(["variants"] if variants else []), *plan.axes(settings)]
    name = Path(str(data_set or TrainConfig.data_set)).name.removesuffix(".npz")
    parts = varied if "data_set" in varied else [name, *varied]
    return "-".join(parts)


def launch(made, cluster=None, jobs=None, gpus=None, slurm=None):
    """Write the plan of a Sweep and train or submit what is missing; arguments, result and errors as for `sweep`."""
    kept = made.jobs or {}
    options = {"cluster": cluster, "jobs": jobs, "gpus": gpus, "slurm": slurm}
    options = kept if not any(value is not None for value in options.values()) and kept else options
    cluster = options["cluster"] or "local"
    expect(cluster in submission.CLUSTERS, argument("cluster"), " or ".join(submission.CLUSTERS), cluster)
    if cluster == "local":
        expect(
            not options["slurm"], argument("slurm"), f"{option('cluster', 'slurm')} with it", options["slurm"]
        )
        jobs_of = submission.OnThisMachine(made, options["jobs"], options["gpus"])
    else:
        expect(
            options["jobs"] is None,
            argument("jobs"),
            f"{option('cluster', 'local')} with it",
            options["jobs"],
        )
        jobs_of = submission.OnSlurm(made, slurm_options(options["slurm"], options["gpus"]))
    expect_data(made)
    with _only_one(made.folder):
        made = Sweep(**vars(made) | {"jobs": options | {"cluster": cluster}})
        made.save()
        missing = [state.point for state in made.status() if state.state != status.COMPLETE]
        console.say(submission.opening(made, missing, cluster))
        if cluster == "local":
            for point in missing:
                made.record(point, "failed").unlink(missing_ok=True)
            jobs_of.run(missing)
        elif missing:
            submitted = jobs_of.submit(missing)
            console.say(f"submitted {submitted} jobs; {len(missing) - submitted} were under way already")
    return made


def slurm_options(given, gpus=None):
    """The `Slurm` of a dict of options; those that are none of its own go to sbatch."""
    given = {"gpus": gpus} | (given or {})
    own = {name: value for name, value in given.items() if name in submission.Slurm.__dataclass_fields__}
    more = {name: value for name, value in given.items() if name not in own} | own.pop("more", {})
    return submission.Slurm(**own, more=more)


def expect_data(made):
    """Raise an error now, and not in every job, if a data set is not there or has fewer images than a batch."""
    largest = {}  # batch of each data set
    for whole in (point.config for point in made.points if not status.is_complete(made, point)):
        config, options = whole.training, whole.data_options
        key = (config.data_set, config.debug, config.steps_per_epoch, *options.items())
        if key not in largest or config.batch_size > largest[key][0].batch_size:
            largest[key] = config, options
    for config, options in largest.values():
        load_data(config, data_dir=made.data_dir, options=options)


@contextlib.contextmanager
def _only_one(folder):
    """Context manager: within it, no other process starts the sweep in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock.hold(folder)
    except lock.InUseError as error:
        raise lock.InUseError(
            f"{folder}: expected a sweep that no other process starts", error.holder
        ) from None
    try:
        yield
    finally:
        lock.release(folder)


def train_point(sweep_dir, name, command):
    """Train a point of a sweep in this process, or go on with it; the Run.

    Raises:
        RunError: there is no such sweep or point, or another process trains it.
        UserError: the errors of `bnn.train`.
        Interrupted: as for `bnn.train`.
    """
    made = folders.open_sweep(sweep_dir)
    for path in made.use:
        user_code.load(path)
    point = made.point(name)
    training = _when_free(lambda: _begun(made, point, command))
    run = training.run_to_end()
    if not (
        run.folder / summary.NAME
    ).is_file():  # the process was killed between the last step and this file
        summary.write(run)
    return run


def _begun(made, point, command):
    folder = made.run_dir(point)
    if (folder / "config.json").is_file():
        return start.go_on(folder, point.config.flat(), data_dir=made.data_dir)
    return start.begin_with(point.config, folder, None, command, data_dir=made.data_dir)


def _when_free(begin):
    """Call a function that locks a run directory, again and again for a time while another process holds the lock."""
    end = time.monotonic() + IN_USE_S
    while True:
        try:
            return begin()
        except lock.InUseError:
            if time.monotonic() > end:
                raise
        time.sleep(1)
