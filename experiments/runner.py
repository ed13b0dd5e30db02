"""What the experiments share: flags, a small network, trainings that go on where they stopped, tables and figures."""

import argparse
import functools
import signal
from dataclasses import dataclass
from pathlib import Path

from bnn import backend, datasets, runs, training
from bnn.config import DATA_SETS, settings_for
from bnn.console import progress
from bnn.datasets.catalog import CIFAR_10
from bnn.files import records
from bnn.flags import add_data_dir
from bnn.runs import RunError

ROOT = Path(__file__).resolve().parent.parent
# The paper's network, narrow enough for a hundred epochs of CIFAR-10 in about an hour on two cores.
NARROW = {"conv": (32, 32, 64, 64, 128, 128), "fc": (256,)}
SMOKE = {"data_set": "mnist-5k", "conv": (4, 4), "max_pool": (1, 1), "fc": (8,), "epochs": 2, "debug": True}
testing = functools.partial(progress, description="testing")  # shown while test images are scored


@dataclass(frozen=True)
class Experiment:
    """An experiment as its command line wants it.

    Attributes:
        name: str.
        settings: dict of settings for all its trainings, as `bnn.training.train` takes them.
        quick: whether this is a smoke test.
        runs: Path of the folder with a run directory for each training.
        results: Path of the folder for table and figure.
        analyzed: int, test images that statistics are over.
        data_dir: Path of the data sets, or None for the usual place.
        finished: Run that stands in for the training of the binary network, or None.
    """

    name: str
    settings: dict
    quick: bool
    runs: Path
    results: Path
    analyzed: int
    data_dir: Path | None = None
    finished: runs.Run | None = None

    @functools.cached_property
    def data(self):
        """The DataSet of the trainings."""
        return datasets.load(self.settings["data_set"], self.data_dir)

    def trained(self, name, callbacks=(), **changes):
        """The run of a training, which is begun, or gone on with, or left as it is if it is finished.

        Args:
            name: str, of the run directory.
            callbacks: further keras.callbacks.Callbacks.
            **changes: settings beside or instead of the experiment's.

        Returns:
            Run

        Raises:
            bnn.training.Interrupted: SIGINT or SIGTERM came; the training has saved.
            RunError: the run directory holds a run of other settings.
        """
        import keras

        given, folder = self.settings | changes, self.runs / name
        keras.utils.clear_session()
        if not (folder / "config.json").is_file():
            return training.train(folder, data_dir=self.data_dir, callbacks=callbacks, **given)
        expect_settings(runs.open_run(folder), given)
        # A finished one too: a kill after the last log row may have left the checkpoint before.
        return training.resume(folder, data_dir=self.data_dir, callbacks=callbacks)

    def binary_network(self):
        """The binary network that an experiment looks into: of the run that was given, else trained here."""
        if self.finished:
            self.finished.expect_fit(self.data)
            return self.finished.load_model()
        return self.trained("binary").load_model("last")

    def layers(self, model, **options):
        """The Report of a network over the first test images; options are those of `analyze`."""
        from bnn.analysis import analyze

        bar = functools.partial(progress, description="measuring")
        return analyze(model, self.data.test.images[: self.analyzed], progress=bar, **options)

    def write(self, rows, figure):
        """Write the table, rows with the same keys, and the figure, and say where."""
        table, picture = self.write_table(rows), self.results / f"{self.name}.png"
        figure.savefig(picture)
        print(f"wrote {table} and {picture}")

    def write_table(self, rows, part=None):
        """Write rows with the same keys, of the experiment or of a part of it, and return the file's Path."""
        self.results.mkdir(parents=True, exist_ok=True)
        path = self.results / f"{self.name}{f'_{part}' if part else ''}.csv"
        records.write_csv(path, list(rows[0]), [{k: rounded(v) for k, v in row.items()} for row in rows])
        return path


def begin(name, description, epochs, argv=None, one_network=False):
    """The Experiment of a command line.

    Args:
        name: str.
        description: str, for --help: the script's docstring.
        epochs: int, of each training unless --epochs says otherwise.
        argv: list of arguments; None: those of the process.
        one_network: whether one binary network is all that it trains: a finished run may then stand in for it.

    Raises:
        RunError: there is no such run, or its network is not binary.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("--data_set", choices=DATA_SETS, help="default: cifar-10 if downloaded, else mnist-5k")
    flag("--epochs", type=int, default=epochs, metavar="N", help="of each training (default: %(default)s)")
    flag("--seed", type=int, default=0, metavar="N", help="of the first training (default: %(default)s)")
    flag("--paper_network", action="store_true",
         help="cifar-10: the paper's widths, a step of which takes many times longer")  # fmt: skip
    if one_network:
        flag("--run", type=Path, metavar="DIR",
             help="look into this run's network, such as results/cifar-10-binary/seed0, and train none")  # fmt: skip
    flag("--runs", type=Path, metavar="DIR", help=f"run directories (default: runs/experiments/{name})")
    add_data_dir(parser)
    flag("--results", type=Path, metavar="DIR", help="table and figure (default: results/experiments)")
    flag("--quick", action="store_true",
         help="smoke test: tiny networks, 500 digits, in runs/experiments/quick; the results mean nothing")  # fmt: skip
    options = parser.parse_args(argv)
    data_set = options.data_set or data_set_here(options.data_dir)
    finished = binary_run(options.run) if one_network and options.run else None
    if options.quick:
        settings, place = SMOKE, ROOT / "runs" / "experiments" / "quick"
        folders = (place / name, place)
    else:
        narrow = data_set == "cifar-10" and not options.paper_network
        settings = (NARROW if narrow else {}) | {"data_set": data_set, "epochs": options.epochs}
        folders = (ROOT / "runs" / "experiments" / name, ROOT / "results" / "experiments")
    settings = (
        settings | {"seed": options.seed} | ({"data_set": finished.training.data_set} if finished else {})
    )
    return Experiment(
        name, settings, options.quick, options.runs or folders[0], options.results or folders[1],
        50 if options.quick else 500, options.data_dir, finished,
    )  # fmt: skip


def data_set_here(data_dir):
    """CIFAR-10 if it is in the folder of the data sets, else the digits that are always there."""
    downloaded = (datasets.data_folder(data_dir) / CIFAR_10.folder).is_dir()
    return CIFAR_10.name if downloaded else "mnist-5k"


def binary_run(folder):
    """The run of a folder, if its network is binary; else a RunError."""
    run = runs.open_run(folder)
    if run.model.kind != "binary":
        raise RunError(f"{folder}: expected a binary network, received a {run.model.kind} one")
    return run


def perform(experiment, measure):
    """Do an experiment and write what it gave; an interruption loses nothing.

    Args:
        experiment: Experiment.
        measure: function from it to (rows of the table, figure).

    Returns:
        int, the exit code.
    """
    backend.load()
    from bnn import plots

    try:
        with plots.in_style():
            experiment.write(*measure(experiment))
    except (training.Interrupted, KeyboardInterrupt):
        print("interrupted; the same command goes on")
        return 128 + signal.SIGINT
    return 0


def expect_settings(run, given):
    """Raise a RunError unless a run was begun with the given settings."""
    for expected, received in zip(settings_for(given), (run.model, run.training), strict=True):
        for name, value in vars(expected).items():
            found = getattr(received, name)
            if found != value and (name, value) != ("precision", "auto"):
                raise RunError(f"{run.folder}: expected a run with {name} {value}, received one with {found}; "
                               "delete it, or give another --runs")  # fmt: skip


def rounded(value):
    """A number to as many digits as are worth keeping."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
