#!/usr/bin/env python3
"""Train a binary, ternary or continuous network; the result is a run directory.

The defaults are the paper's CIFAR-10 network and settings. Each data set has presets, overridden by flags.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from bnn import backend
from bnn.config import ConfigError, settings_for
from bnn.console import run_program
from bnn.files import lock
from bnn.flags import add_flags, take_settings


def parse(argv=None):
    """The command line: (dict of settings given by hand, namespace of the other flags)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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
    argv = sys.argv[1:] if argv is None else [*map(str, argv)]
    options = parser.parse_args(argv, argparse.Namespace(command=["train.py", *argv]))
    given = take_settings(options)
    if options.resume and (options.run_dir or options.overwrite or options.init_from):
        parser.error(
            "--resume goes on with a run as it is: expected no --run_dir, --overwrite or --init_from beside it"
        )
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}, options


def main(argv=None):
    """Train as the command line says.

    Args:
        argv: list of arguments; None: those of the process.

    Returns:
        int, the exit code.
    """
    given, options = parse(argv)
    if options.summary:
        print_summary(given, options.resume)
        return 0
    if options.tensorboard:
        backend.expect_tensorflow("--tensorboard")
    run, data_set, model = resume(options.resume, given) if options.resume else start(given, options)
    from bnn import runs, training
    from bnn.training import journal

    print(f"{run.folder}: {run.model.kind} network, {model.count_params():,} parameters, on {data_set.label}, "
          f"{len(data_set.train):,} training images, {run.training.precision}")  # fmt: skip
    try:
        training.train(model, run, data_set, options.tensorboard)
    except journal.Interrupted as stop:
        print(
            f"interrupted; saved {run.checkpoint('last')}; go on with: python train.py --resume {run.folder}"
        )
        return 128 + stop.signal
    rows = run.log()
    if not rows:
        raise runs.RunError(f"{run.folder}: expected log.csv with a row an epoch, received none")
    best = max(rows, key=lambda row: row["val_accuracy"])
    print(f"wrote {run.folder}: best validation accuracy {best['val_accuracy']:.4f} in epoch {best['epoch']}; "
          f"next: python analyze.py {run.folder}")  # fmt: skip
    return 0


def print_summary(given, folder):
    """Say how small the network of the flags is, or of a run."""
    from bnn import runs

    model_config = runs.open_run(folder).model if folder else settings_for(given)[0]
    backend.load()
    from bnn.models import build_model, summary

    print(summary(build_model(model_config)))


def start(given, options):
    """A new run: (Run, DataSet, compiled model)."""
    from bnn import runs

    model_config, train_config = settings_for(given)
    folder = options.run_dir or Path("runs") / runs.default_name(model_config, train_config)
    overwrite = options.overwrite or (train_config.debug and not options.run_dir)
    runs.expect_free(folder, overwrite)
    if folder.is_dir():
        lock.hold(folder)  # A new one is locked when it is made.
    data_set = load_data(train_config)
    backend.load()
    from bnn import training
    from bnn.models import build_model

    train_config = dataclasses.replace(
        train_config, precision=backend.resolve_precision(train_config.precision)
    )
    backend.seed_everything(train_config.seed, train_config.deterministic)
    model = build_model(model_config, train_config.precision)
    training.compile_model(model, train_config)
    if options.init_from:
        runs.open_run(options.init_from).copy_weights(model)
        model.optimizer.build(model.trainable_variables)
    initial = model if options.init_from else None
    run = runs.create(folder, model_config, train_config, data_set, options.command, overwrite, initial)
    return run, data_set, model


def resume(folder, given):
    """An interrupted run: (Run, DataSet, compiled model)."""
    from bnn import runs

    run = runs.reopen(folder)
    stored = dataclasses.asdict(run.model) | dataclasses.asdict(run.training)
    for name, value in given.items():
        if value != stored[name] and (name, value) != ("precision", "auto"):
            raise ConfigError(
                f"--{name}: expected {stored[name]!r}, with which {folder} was begun, received {value!r}"
            )
    data_set = load_data(run.training)
    run.expect_data(data_set)
    backend.load()
    from bnn import training
    from bnn.models import build_model

    backend.seed_everything(run.training.seed, run.training.deterministic)
    if run.checkpoint("last").is_file():
        return run, data_set, run.load_model("last", compiled=True)
    model = build_model(run.model, run.training.precision)
    training.compile_model(model, run.training)
    return run, data_set, model


def load_data(config):
    """The data set of a TrainConfig, cut down for --debug."""
    from bnn import datasets

    data_set = datasets.load(config.data_set)
    if config.debug:
        data_set = dataclasses.replace(
            data_set, train=data_set.train[:500], validation=data_set.validation[:100]
        )
    if config.batch_size > len(data_set.train):
        most = f"at most the {len(data_set.train)} training images"
        raise ConfigError(f"--batch_size: expected {most}, received {config.batch_size}")
    return data_set


if __name__ == "__main__":
    run_program("train.py", main)
