"""Train a binary, ternary or continuous network; the result is a run directory.

The defaults are the paper's CIFAR-10 network and settings. Each data set has its own presets; flags override them.
"""

import contextlib
import sys

from bnn import backend
from bnn.commands import several
from bnn.console import typed
from bnn.console.arguments import Parser
from bnn.console.spelling import command_line
from bnn.console.tables import filled
from bnn.settings.flags import (
    LOGS,
    NETWORK,
    START,
    add_data_dir,
    add_flags,
    first_pass,
    folder,
    known,
    of_other_networks,
    take_settings,
)
from bnn.settings.user_code import add_use

PROGRAM = "train.py"
USAGE = "%(prog)s [--data_set NAME] [--run_dir DIR] [FLAGS]\n       %(prog)s --resume RUN"
WORDS = "a run is --run_dir DIR or --resume RUN, a data set --data_set NAME; switches take no value"


def parse(argv=None, program=PROGRAM):
    """Parse the command line: (dict of the given settings, namespace of the other flags)."""
    network = _network(argv, program)
    elsewhere = of_other_networks(network)
    parser = Parser(prog=program, description=__doc__, usage=USAGE, words=WORDS, elsewhere=elsewhere)
    groups = add_flags(parser, network)
    _add_run_flags(groups[START].add_argument)
    groups[LOGS].add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard events to the run directory"
    )
    add_data_dir(groups[START])
    _add_job_flags(parser.add_argument_group("several devices or machines").add_argument)
    add_use(groups[NETWORK])
    options = parser.parse_args(argv)
    given = take_settings(options, network)
    if options.resume and (options.run_dir or options.overwrite or options.init_from):
        parser.error(
            "--resume continues a run unchanged: expected no --run_dir, --overwrite or --init_from with it"
        )
    if isinstance(given.get("seed"), list) and (options.resume or options.init_from):
        parser.error("--seed: expected one seed with --resume or --init_from, received several")
    if isinstance(given.get("seed"), list) and options.distribute:
        parser.error("--seed: expected one seed with --distribute, received several")
    return given, options


def _network(argv, program):
    """The name of the network whose settings have flags: that of --network or of the run to resume; runs --use."""
    options = first_pass(argv, program, "--resume")
    if options.network is None and options.resume:
        from bnn.runs import RunError, open_run

        with contextlib.suppress(RunError):  # the program says so later
            return open_run(options.resume).config.network.name
    return known(options.network)


def _add_run_flags(flag):
    flag(
        "--run_dir",
        type=folder,
        metavar="DIR",
        help="folder of the run (default: a name made from the settings, in runs/)",
    )
    flag("--resume", type=folder, metavar="RUN", help="continue an interrupted run, with its own settings")
    flag(
        "--init_from", type=folder, metavar="RUN", help="start from the weights of a run of the same network"
    )
    flag(
        "--overwrite",
        action="store_true",
        help="replace an existing run (implied by --debug without --run_dir)",
    )
    flag(
        "--summary",
        action="store_true",
        help="print parameters, bytes and multiply-accumulates; train nothing",
    )


def _add_job_flags(flag):
    flag(
        "--distribute",
        action="store_true",
        help="on JAX (KERAS_BACKEND=jax): divide each batch among all devices of this machine, or of all processes "
        "that SLURM or Open MPI started; process 0 writes",
    )
    flag(
        "--coordinator",
        metavar="HOST:PORT",
        help="elsewhere: the address of process 0, with --processes and --process",
    )
    flag("--processes", type=int, metavar="N", help="how many processes train together")
    flag("--process", type=int, metavar="I", help="which of them this is, from 0 to N - 1")


@command_line()
def main(argv=None, program=PROGRAM):
    """Train as the command line says.

    Args:
        argv: list of arguments; None: those of the process.
        program: str, the program's name, for messages and the run's record.

    Returns:
        int, the exit code.
    """
    argv = sys.argv[1:] if argv is None else [*map(str, argv)]
    given, options = parse(argv, program)
    backend.expect_installed()
    from bnn.training import distribution

    given_job = distribution.Processes(options.coordinator, options.processes, options.process)
    options.job = distribution.checked(options.distribute, given_job)
    if isinstance(given.get("seed"), list) and not options.summary:
        return train_seeds(given, options, [*program.split(), *argv])
    if options.summary:
        print_summary(given, options.resume, options.data_dir)
        return 0
    from bnn.training.signals import Interrupted

    try:
        training = prepare(given, options, [*program.split(), *argv])
        if training.complete:
            _say(training, _what_next(training.run))
            return 0
        training.run_to_end(options.tensorboard)
    except Interrupted as stop:
        if not training.complete:
            _say(
                training,
                filled(
                    f"interrupted; saved {stop.run.checkpoint('last')};",
                    f"continue with: {typed('train', '--resume', stop.run.folder)}",
                ),
            )
            return 128 + stop.signal
    run = training.run
    if training.team.writes:  # only this process has the log
        print(filled(f"wrote {run.folder}:", f"{_best(run)};", f"next: {typed('analyze', run.folder)}"))
    return 0


def _say(training, text):
    """Print a text, in one of the processes that train together."""
    if training.team.writes:
        print(text)


def train_seeds(given, options, command):
    """Train once per seed and compare the runs; return the exit code."""
    from bnn.training import seeds
    from bnn.training.signals import Interrupted

    where = {name: getattr(options, name) for name in ("overwrite", "data_dir", "tensorboard")}
    try:
        trained = seeds.train(given.pop("seed"), options.run_dir, command=command, **where, **given)
    except Interrupted as stop:
        how = "the same command"
        if options.overwrite:  # which would train all seeds again
            how = f"{typed('train', '--resume', stop.run.folder)}, then {how} for the seeds that are left"
        print(filled(f"interrupted; saved {stop.run.checkpoint('last')};", f"continue with {how}"))
        return 128 + stop.signal
    folder = trained[0].folder.parent
    several.compare([run.folder for run in trained], folder, options.data_dir)
    return 0


def prepare(given, options, command):
    """Begin or continue the training of the parsed command line."""
    from bnn.training import start

    start.expect_tensorboard(options.tensorboard)
    if options.resume:
        return start.go_on(options.resume, given, data_dir=options.data_dir, job=options.job)
    return start.begin(
        options.run_dir,
        given,
        command=command,
        overwrite=options.overwrite,
        init_from=options.init_from,
        data_dir=options.data_dir,
        job=options.job,
    )


def _best(run):
    best = run.best_epoch()
    return f"best validation accuracy {best['val_accuracy']:.4f} in epoch {best['epoch']}"


def _what_next(run):
    """The text for a run that is complete."""
    return "\n".join(
        [
            filled(
                f"{run.folder} is complete:", f"all {run.training.epochs} epochs are trained,", _best(run)
            ),
            filled("to measure it:", typed("analyze", run.folder)),
            filled(
                "to train further, in a new run:",
                f"{typed('train', '--init_from', run.folder)} --run_dir NEW,",
            ),
            "with the flags of the network and the number of new epochs",
        ]
    )


def print_summary(given, run_dir, data_dir=None):
    """Print the size of the network of the flags or of a run."""
    from bnn import runs

    if run_dir:
        config = runs.open_run(run_dir).config
    else:
        from bnn.training import start

        if isinstance(given.get("seed"), list):
            given["seed"] = given["seed"][0]
        config, _ = start.resolved(given, data_dir)
    backend.load()
    from bnn.models import summary

    print(summary(config.build()))
