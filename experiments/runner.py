"""The shared parts of the experiments: flags, a small network, trainings that can be resumed, tables and figures."""

import dataclasses
import functools
import json
import re
import signal
from pathlib import Path

import numpy as np

from bnn import backend, datasets, runs, training
from bnn.console import progress
from bnn.console.arguments import Parser
from bnn.console.errors import UserError
from bnn.datasets.catalog import CIFAR_10, ENTRIES, TINY_SHAKESPEARE
from bnn.files import atomic
from bnn.runs import RunError
from bnn.settings.config import resolve
from bnn.settings.flags import add_data_dir
from bnn.settings.presets import DATA_SETS
from bnn.training.sweeps.folder import Sweep
from bnn.training.sweeps.plan import Point
from bnn.training.sweeps.start import joined, launch
from bnn.training.sweeps.status import COMPLETE, totals

ROOT = Path(__file__).resolve().parent.parent
# The paper's network with fewer channels: a hundred epochs of CIFAR-10 take about an hour on two cores.
NARROW = {"conv": (32, 32, 64, 64, 128, 128), "fc": (256,)}
SMOKE = {"data_set": "mnist-5k", "conv": (4, 4), "max_pool": (1, 1), "fc": (8,), "epochs": 2, "debug": True}
SIZES = ("conv", "max_pool", "fc")
SMOKE_TEXT = {
    "data_set": TINY_SHAKESPEARE.name, "blocks": 1, "heads": 2, "width": 16, "context": 16, "epochs": 1, "debug": True,
}  # fmt: skip
REFIT_IMAGES = 2000
testing = functools.partial(progress, description="testing")  # progress over the test images


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment with the options of its command line.

    Attributes:
        name: str.
        settings: dict of settings for all of its trainings, as for `bnn.train`.
        quick: bool, whether this is a smoke test.
        runs: Path of the folder with one run directory per training.
        results: Path of the folder for the table and the figure.
        analyzed: int, the number of test images for the statistics.
        data_dir: Path of the data sets, or None for the default folder.
        finished: Run to use instead of training the binary network, or None.
        validation: int, the number of validation images, or None for those of the split. CIFAR-10 has too few: the last
            training images join them. Of other data sets at most the first ones are used.
        training_images: int, the number of training images to use, the first ones, or None for all.
        sweep: dict with "cluster" and "jobs", how `bnn.training.sweep` trains a grid, or None to train in this process.
    """

    name: str
    settings: dict
    quick: bool
    runs: Path
    results: Path
    analyzed: int
    data_dir: Path | None = None
    finished: runs.Run | None = None
    validation: int | None = None
    training_images: int | None = None
    sweep: dict | None = None

    @functools.cached_property
    def data(self):
        """The DataSet of the trainings."""
        options = {"context": self.settings["context"]} if "context" in self.settings else {}
        data = datasets.load(self.settings["data_set"], self.data_dir, **options)
        if self.validation is not None and data.name == CIFAR_10.name:
            data = with_validation(data, self.validation)
        elif self.validation is not None:
            data = dataclasses.replace(data, validation=data.validation[: self.validation])
        return dataclasses.replace(data, train=data.train[: self.training_images])

    def seeds(self, count):
        """Return the seeds of `count` trainings, a range that begins with --seed; one seed in a smoke test."""
        first = self.settings["seed"]
        return range(first, first + (1 if self.quick else count))

    def trained(self, name, callbacks=(), **changes):
        """Start or resume a training and return its run. A finished run is not changed.

        Args:
            name: str, the name of the run directory.
            callbacks: list of additional keras.callbacks.Callback.
            **changes: settings that are added to the experiment's settings or replace them.

        Returns:
            Run

        Raises:
            bnn.training.Interrupted: SIGINT or SIGTERM was received. The training has saved its state.
            RunError: the run directory holds a run with other settings.
        """
        import keras

        given, folder = self.settings | changes, self.runs / name
        keras.utils.clear_session()
        if not (folder / "config.json").is_file():
            return training.train(folder, callbacks=callbacks, **given | {"data_set": self.data})
        expect_settings(runs.open_run(folder), given)
        # Also resume a finished run: if it was killed after the last log row, its checkpoint may be older.
        return training.resume(folder, data_set=self.data, callbacks=callbacks)

    def of_each(self, names, seeds, measure):
        """Measure networks that the experiment trains by itself, one by one. What is finished is kept in `runs`.

        Args:
            names: names of the networks.
            seeds: int, how many.
            measure: function from a name and a seed to rows, dicts of numbers and texts.

        Returns:
            List of all rows, each with "network" and "seed".
        """
        rows = []
        for seed in self.seeds(seeds):
            for name in names:
                path = self.place(f"{self.name}-{name}", seed, "json")
                if not path.is_file():
                    found = measure(name, seed)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    atomic.write_json(path, found)
                rows += [{"network": name, "seed": seed, **row} for row in json.loads(path.read_text())]
        return rows

    def place(self, name, seed, suffix):
        """Return the Path of a file about a network that the experiment trains by itself."""
        stem = run_name(f"{name}-{self.data.name}-{self.settings['epochs']}epochs", seed)
        return self.runs / f"{stem}.{suffix}"

    def train_grid(self, grid):
        """With --jobs or --cluster, train networks as a sweep, several at once; `trained` then finds them complete.

        Args:
            grid: dict from the name of each run directory to the settings that it adds to the experiment's or replaces.

        Raises:
            UserError: a training failed, or jobs of SLURM are not over.
        """
        if self.sweep is None:
            return
        points = [
            Point(name, {"run": name}, resolve(self.settings | changes)) for name, changes in grid.items()
        ]
        data_dir = self.data_dir and str(self.data_dir.absolute())
        made = joined(Sweep(self.runs, tuple(points), self.settings, data_dir=data_dir))
        found = launch(made, **self.sweep).status()
        if any(state.state != COMPLETE for state in found):
            raise UserError(
                f"{self.runs}: expected complete trainings, received {totals(found)}; repeat the command when they are"
            )

    def binary_network(self):
        """Return the binary network of the experiment: that of the given run, or else train it."""
        if self.finished:
            self.finished.expect_fit(self.data)
            return self.finished.load_model()
        return self.trained("binary").load_model("last")

    def refit(self, model):
        """Refit batch norm on the first training images, in place."""
        from bnn.models import refit_batch_norm

        refit_batch_norm(model, self.data.train.images[: 200 if self.quick else REFIT_IMAGES])

    def layers(self, model, **options):
        """Return the Report of a network on the first test images; options are those of `analyze`."""
        from bnn.analysis import analyze

        bar = functools.partial(progress, description="measuring")
        return analyze(model, self.data.test.images[: self.analyzed], progress=bar, **options)

    def write(self, rows, draw):
        """Write the table (rows with equal keys), then the figure that a function draws, and print their paths."""
        from bnn import plots

        table = self.write_table(rows)
        (picture,) = plots.save(draw(), self.results / self.name, ("png",))
        print(f"wrote {table} and {picture}")

    def write_table(self, rows, part=None):
        """Write rows with equal keys, of the experiment or of a part of it, and return the Path of the file."""
        self.results.mkdir(parents=True, exist_ok=True)
        path = self.results / f"{self.name}{f'_{part}' if part else ''}.csv"
        atomic.write_csv(path, list(rows[0]), [{k: rounded(v) for k, v in row.items()} for row in rows])
        return path


def begin(
    name,
    description,
    epochs,
    argv=None,
    one_network=False,
    own_networks=False,
    grid=False,
    data_set=CIFAR_10.name,
    training_images=None,
    validation=None,
):
    """Read a command line and return its Experiment.

    Args:
        name: str.
        description: str, the docstring of the script, for --help.
        epochs: int, the default number of epochs of each training.
        argv: list of arguments, or None for those of the process.
        one_network: bool, whether the experiment trains only one binary network. A finished run can then replace it.
        own_networks: bool, whether it trains networks of its own instead of the narrow one or the paper's.
        grid: bool, whether it calls `train_grid`, which can train several networks at once.
        data_set: str, the default one; mnist-5k if it is not downloaded. Text is the only one.
        training_images: int, how many to use by default, the first ones; None: all, and there is no flag.
        validation: int or None, as in Experiment.

    Raises:
        RunError: the run does not exist, or its network is not binary.
    """
    parser = Parser(
        prog=f"python -m experiments.{name}",
        description=description,
    )
    flag, text = parser.add_argument, data_set == TINY_SHAKESPEARE.name
    if not text:
        flag("--data_set", choices=DATA_SETS, help=f"default: {data_set} if downloaded, else mnist-5k")
    flag(
        "--epochs",
        type=int,
        default=epochs,
        metavar="N",
        help="epochs of each training (default: %(default)s)",
    )
    flag("--seed", type=int, default=0, metavar="N", help="seed of the first training (default: %(default)s)")
    if training_images:
        flag(
            "--training_images",
            type=int,
            default=training_images,
            metavar="N",
            help="use the first N training images (default: %(default)s)",
        )
    if not own_networks:
        paper_help = "cifar-10: use the paper's widths; a step then takes many times longer"
        flag("--paper_network", action="store_true", help=paper_help)
    if one_network:
        run_help = "use the network of a run, such as results/cifar-10-binary/seed0, instead of training one"
        flag("--run", type=Path, metavar="DIR", help=run_help)
    if grid:
        flag(
            "--jobs",
            type=int,
            metavar="N",
            help="train N networks at once, as bnn sweep does (default: in this process)",
        )
        flag(
            "--cluster",
            choices=("local", "slurm"),
            help="train as jobs, as bnn sweep does (default: in this process)",
        )
    flag("--runs", type=Path, metavar="DIR", help=f"run directories (default: runs/experiments/{name})")
    add_data_dir(parser)
    flag("--results", type=Path, metavar="DIR", help="table and figure (default: results/experiments)")
    what = "sequences" if text else "digits"
    quick_help = f"smoke test: tiny networks, 500 {what}, in runs/experiments/quick; the results mean nothing"
    flag("--quick", action="store_true", help=quick_help)
    options = parser.parse_args(argv)
    if not text:
        data_set = options.data_set or data_set_here(options.data_dir, data_set)
    finished = binary_run(options.run) if one_network and options.run else None
    if options.quick:
        settings, place = SMOKE_TEXT if text else SMOKE, ROOT / "runs" / "experiments" / "quick"
        folders = (place / name, place)
    else:
        narrow = data_set == "cifar-10" and not vars(options).get("paper_network")
        settings = (NARROW if narrow else {}) | {"data_set": data_set, "epochs": options.epochs}
        folders = (ROOT / "runs" / "experiments" / name, ROOT / "results" / "experiments")
    settings = settings | {"seed": options.seed}
    if own_networks:
        settings = {name: value for name, value in settings.items() if name not in SIZES}
    if finished:
        settings |= {"data_set": finished.training.data_set}
    return Experiment(
        name,
        settings,
        quick=options.quick,
        runs=options.runs or folders[0],
        results=options.results or folders[1],
        analyzed=50 if options.quick else 500,
        data_dir=options.data_dir,
        finished=finished,
        sweep=_sweep(options) if grid else None,
        validation=validation,
        training_images=vars(options).get("training_images"),
    )


def _sweep(options):
    given = {"cluster": options.cluster, "jobs": options.jobs}
    return given if any(value is not None for value in given.values()) else None


def with_validation(data, count):
    """Return a DataSet that has `count` validation images, because the last training images join them.

    A run directory does not record this split. Continue such a training with the command of the experiment, not with
    `train.py --resume`, which uses the split of the data set.
    """
    cut = len(data.train) + len(data.validation) - count
    pairs = zip(vars(data.train[cut:]).values(), vars(data.validation).values(), strict=True)
    validation = datasets.Split(*map(np.concatenate, pairs))
    return dataclasses.replace(data, train=data.train[:cut], validation=validation)


def choose_rate(rates, train):
    """Train with each learning rate, and choose by the validation accuracy at the end.

    Args:
        rates: list of floats.
        train: function from a rate to the Run that was trained with it.

    Returns:
        (the best rate, dict from each rate to its validation accuracy).
    """
    accuracy = {rate: train(rate).log()[-1]["val_accuracy"] for rate in rates}
    return max(accuracy, key=accuracy.get), accuracy


def verdict(claim, holds, why):
    """Print whether an expectation holds, and the numbers that decide it."""
    print(f"{claim}: {'holds' if holds else 'refuted'} ({why})")


def run_name(name, seed):
    """Return the name of the run directory of a network with a seed, without spaces."""
    return f"{re.sub('[,:]? ', '-', name)}-seed{seed}"


def mean_and_spread(key, values):
    """Return the cells of a summary: the mean over the seeds as `key`, the standard deviation as `key_std`."""
    return {key: float(np.mean(values)), f"{key}_std": float(spread(values))}


def spread(values):
    """Return the standard deviation (n - 1) of values over the seeds, NaN with one seed."""
    return np.std(values, ddof=1) if len(values) > 1 else np.nan


def with_spread(mean, deviation, decimals):
    """Format a mean over the seeds and its standard deviation, which is left out if it is NaN."""
    return f"{mean:.{decimals}f}" + ("" if np.isnan(deviation) else f" +- {deviation:.{decimals}f}")


def points(effect):
    """Format a row with the effects of a change on both accuracies, in points: "validation 1.20 +- 0.10, test ..."."""
    parts = ("validation", "test")
    return ", ".join(f"{part} {with_spread(effect[part], effect[f'{part}_std'], 2)}" for part in parts)


def data_set_here(data_dir, wanted=CIFAR_10.name):
    """Return the name of a data set if it is downloaded, else that of the digits, which need no download."""
    downloaded = (datasets.data_folder(data_dir) / ENTRIES[wanted].folder).is_dir()
    return wanted if downloaded else "mnist-5k"


def binary_run(folder):
    """Open the run in a folder, and raise `RunError` if its network is not binary."""
    run = runs.open_run(folder)
    if run.kind != "binary":
        raise RunError(f"{folder}: expected a binary network, received a {run.kind} one")
    return run


def perform(experiment, measure):
    """Run an experiment and write its results. An interruption loses nothing.

    Args:
        experiment: Experiment.
        measure: function from the experiment to (rows of the table, function that draws the figure).

    Returns:
        Int, the exit code.
    """
    backend.load()
    from bnn import plots

    try:
        with plots.in_style():
            experiment.write(*measure(experiment))
    except (training.Interrupted, KeyboardInterrupt):
        print("interrupted; repeat the command to continue")
        return 128 + signal.SIGINT
    return 0


def expect_settings(run, given):
    """Raise `RunError` unless a run was started with the given settings."""
    received = run.config.flat()
    for name, value in resolve(given).flat().items():
        if received.get(name) != value and (name, value) != ("precision", "auto"):
            raise RunError(
                f"{run.folder}: expected a run with {name} {value}, received one with {received.get(name)}; "
                "delete it, or use another --runs"
            )


def rounded(value):
    """Round a float to six significant digits; return other values unchanged."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
