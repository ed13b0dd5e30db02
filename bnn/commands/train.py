"""Train a binary, ternary or continuous network; the result is a run directory.

The defaults are the paper's CIFAR-10 network and settings. Each data set has presets, overridden by flags.
"""

import argparse
import sys
from pathlib import Path

from bnn.config import settings_for
from bnn.flags import add_data_dir, add_flags, take_settings

PROGRAM = "train.py"


def parse(argv=None, program=PROGRAM):
    """The command line: (dict of settings given by hand, namespace of the other flags)."""
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    flag = parser.add_argument_group("run directory").add_argument
    flag(
        "--run_dir",
        type=Path,
        metavar="DIR",
        help="where the run is kept (default: runs/ and a name from the settings)",
    )
    flag(
        "--overwrite",
        action="store_true",
        help="replace a run that is there (implied by --debug without --run_dir)",
    )
    flag("--resume", type=Path, metavar="RUN", help="go on with an interrupted run, with its own settings")
    flag("--init_from", type=Path, metavar="RUN", help="start from the weights of a run of the same network")
    flag(
        "--summary",
        action="store_true",
        help="print parameters, bytes and multiply-accumulates; train nothing",
    )
    flag("--tensorboard", action="store_true", help="write TensorBoard events to the run directory")
    add_data_dir(parser)
    options = parser.parse_args(argv)
    given = take_settings(options)
    if options.resume and (options.run_dir or options.overwrite or options.init_from):
        parser.error(
            "--resume goes on with a run as it is: expected no --run_dir, --overwrite or --init_from beside it"
        )
    return given, options


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
    if options.summary:
        print_summary(given, options.resume)
        return 0
    from bnn.training.signals import Interrupted

    try:
        run = train(given, options, [*program.split(), *argv])
    except Interrupted as stop:
        print(f"interrupted; saved {stop.run.checkpoint('last')}; "
              f"go on with: {_spelled('train', program)} --resume {stop.run.folder}")  # fmt: skip
        return 128 + stop.signal
    best = run.best_epoch()
    print(f"wrote {run.folder}: best validation accuracy {best['val_accuracy']:.4f} in epoch {best['epoch']}; "
          f"next: {_spelled('analyze', program)} {run.folder}")  # fmt: skip
    return 0


def train(given, options, command):
    """Train as the parsed command line says; the Run."""
    from bnn import training

    shared = {"data_dir": options.data_dir, "tensorboard": options.tensorboard}
    if options.resume:
        return training.resume(options.resume, **shared, **given)
    return training.train(
        options.run_dir, overwrite=options.overwrite, init_from=options.init_from, command=command, **shared,
        **given,
    )  # fmt: skip


def print_summary(given, folder):
    """Say how small the network of the flags is, or of a run."""
    from bnn import backend, runs

    model_config = runs.open_run(folder).model if folder else settings_for(given)[0]
    backend.load()
    from bnn.models import build_model, summary

    print(summary(build_model(model_config)))


def _spelled(name, program):
    """How those who call this program by that name call another one."""
    return f"python {name}.py" if program.endswith(".py") else f"bnn {name}"
