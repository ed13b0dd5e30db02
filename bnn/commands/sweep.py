"""Train one network for each combination of settings: a sweep, on this machine or as jobs of SLURM.

A flag may have several values: --levels 2 3 --seed 0 1 2 are six trainings. A flag that is a list itself is repeated:
--conv 16 32 --conv 32 64. Or the settings are in a file, as levels = [2, 3]. The same call again trains only what is
missing.
"""

import argparse
import contextlib
import signal
import sys
import time
import tomllib
from pathlib import Path

from bnn import backend, console
from bnn.commands import figures
from bnn.console import typed
from bnn.console.arguments import Parser, expanded
from bnn.console.errors import ConfigError
from bnn.console.spelling import command_line
from bnn.console.tables import filled
from bnn.settings.flags import (
    NETWORK,
    START,
    add_data_dir,
    add_flags,
    first_pass,
    folder,
    known,
    of_other_networks,
    take_several,
)
from bnn.settings.user_code import add_use

PROGRAM = "bnn sweep"
USAGE = (
    "%(prog)s [SWEEP.toml] [--sweep_dir DIR] [--cluster slurm] [FLAGS, each with one or several values]\n"
    "       %(prog)s DIR [--status | --table | --figure]"
)
WORDS = "a sweep is SWEEP.toml, the folder of one, or settings such as --seed 0 1 2"
EVERY_S = 2  # between two tables of --status
SLURM_FLAGS = ("partition", "time", "memory", "cpus")


def parse(argv=None, program=PROGRAM):
    """The command line: (dict of settings with one or several values, namespace of the other flags)."""
    network = known(first_pass(argv, program).network)
    parser = Parser(
        prog=program, description=__doc__, usage=USAGE, words=WORDS, elsewhere=of_other_networks(network)
    )
    parser.add_argument(
        "sweep",
        nargs="?",
        type=folder,
        metavar="SWEEP.toml|DIR",
        help="settings in a file, or the folder of a sweep",
    )
    groups = add_flags(parser, network, several=True)
    flag = groups[START].add_argument
    flag(
        "--sweep_dir",
        type=folder,
        metavar="DIR",
        help="folder of the run directories (default: runs/sweeps/ and the name of the file or of the settings)",
    )
    add_data_dir(groups[START])
    add_use(groups[NETWORK])
    _add_job_flags(parser.add_argument_group("jobs").add_argument)
    _add_slurm_flags(parser.add_argument_group("jobs of SLURM, with --cluster slurm").add_argument)
    _add_result_flags(parser.add_argument_group("results of the sweep in DIR").add_argument)
    options = parser.parse_args(argv)
    return take_several(options, network), options


def _add_job_flags(flag):
    flag(
        "--cluster",
        choices=("local", "slurm"),
        help="where to train: local, this machine, or slurm (default: local)",
    )
    flag(
        "--jobs",
        type=int,
        metavar="N",
        help="local: trainings at once, which share the cores (default: cores / 2)",
    )
    flag("--gpus", type=int, metavar="N", help="GPUs of each training (default: local: all; slurm: none)")


def _add_slurm_flags(flag):
    flag("--partition", metavar="NAME", help="partition (default: that of the cluster)")
    flag(
        "--time",
        metavar="LIMIT",
        help="time limit in minutes, or D-HH:MM:SS; a training goes on in the next job",
    )
    flag("--memory", type=float, metavar="GB", help="memory of each job")
    flag("--cpus", type=int, metavar="N", help="processor cores of each job")
    flag(
        "--no_requeue", action="store_true", help="do not requeue jobs; the same call again goes on with them"
    )
    flag(
        "--slurm",
        nargs="+",
        type=_pair,
        action="extend",
        metavar="KEY=VALUE",
        help="further options of sbatch, such as account=vision",
    )


def _add_result_flags(flag):
    flag(
        "--status", action="store_true", help="show how far it is; on a terminal until all is over or Ctrl-C"
    )
    flag(
        "--table",
        action="store_true",
        help="print and write the results, one row per setting, pooled over the seeds",
    )
    flag("--figure", action="store_true", help="draw the results")
    flag("--point", metavar="NAME", help="train one point in this process; what each job does")


def _pair(text):
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, received {text!r}")
    return name, value


@command_line()
def main(argv=None, program=PROGRAM):
    """Run the sweep of the command line; arguments and result as for `bnn.commands.train.main`."""
    argv = sys.argv[1:] if argv is None else [*map(str, argv)]
    given, options = parse(argv, program)
    read = _read(options.sweep) if options.sweep and not options.sweep.is_dir() else {}
    if options.sweep and options.sweep.is_dir():
        if options.sweep_dir or given:
            what = "--sweep_dir" if options.sweep_dir else f"--{next(iter(given))}"
            raise ConfigError(f"{what}: expected none with the folder of a sweep, received {options.sweep}")
        options.sweep_dir = options.sweep
    if options.point or options.status or options.table or options.figure:
        return _look(options, read, [*program.split(), *argv])
    return _start(given, options, read)


def _read(path):
    """The content of a file with a sweep, a dict."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: expected a file with a sweep, or the folder of one, received no such file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: expected settings in TOML, such as levels = [2, 3], received: {error}"
        ) from None


def _folder(options, read):
    """The folder of the sweep that the command line or its file names, or None."""
    if options.sweep_dir or "sweep_dir" not in read:
        from bnn.training.sweeps.start import USUAL

        named = USUAL / options.sweep.stem if read and options.sweep else None
        return options.sweep_dir or named
    return expanded(str(read["sweep_dir"]))


def _start(given, options, read):
    """Train or submit what is missing."""
    from bnn.training.sweeps import jobs, plan, status
    from bnn.training.sweeps.start import launch, prepare

    _expect_tables(options.sweep, read)
    settings = {name: value for name, value in read.items() if name not in plan.ARGUMENTS} | given
    sweep_dir = _folder(options, read)
    if (
        not settings
        and not read.get("variants")
        and (sweep_dir is None or (options.sweep and not options.sweep.is_dir()))
    ):
        raise ConfigError(f"{options.sweep or 'sweep'}: expected settings, received none; {WORDS}")
    backend.expect_installed()
    jobs.expect_submitit()
    use = [*map(Path, read.get("use", ())), *map(Path, (module.__file__ for module in options.use or ()))]
    data_dir = options.data_dir or read.get("data_dir")
    made = prepare(sweep_dir, settings, read.get("variants"), use, data_dir)
    look = typed("sweep", made.folder, "--status")
    slurm = (read.get("slurm") or {}) | _slurm(options)
    try:
        made = launch(
            made,
            *(_first(getattr(options, name), read.get(name)) for name in ("cluster", "jobs", "gpus")),
            slurm or None,
        )
    except KeyboardInterrupt as stop:
        on_slurm = (options.cluster or read.get("cluster") or (made.jobs or {}).get("cluster")) == "slurm"
        what = (
            "jobs that were submitted go on"
            if on_slurm
            else "trainings that had begun have saved their state"
        )
        print(filled(f"interrupted; {what};", "the same command continues the sweep;", f"to look: {look}"))
        return 128 + (signal.SIGTERM if isinstance(stop, console.Terminated) else signal.SIGINT)
    found = made.status()
    if made.jobs["cluster"] == "slurm" and any(state.is_active for state in found):
        print(filled(f"{status.totals(found)};", f"the runs are in {made.folder};", f"to look: {look}"))
        return 0
    print(
        filled(
            f"{status.totals(found)};",
            f"the runs are in {made.folder};",
            f"next: {typed('sweep', made.folder, '--table')}",
        )
    )
    return 0 if all(state.state == status.COMPLETE for state in found) else 1


def _first(typed, read):
    return read if typed is None else typed


def _expect_tables(path, read):
    for name in ("variants", "slurm"):
        if name in read and not isinstance(read[name], dict):
            raise ConfigError(f"{path}: {name}: expected a table, received {read[name]!r}")
    for name, kind, what in (
        ("use", list, "a list of files"),
        ("jobs", int, "a number"),
        ("cluster", str, "local or slurm"),
    ):
        if name in read and not isinstance(read[name], kind):
            raise ConfigError(f"{path}: {name}: expected {what}, received {read[name]!r}")


def _slurm(options):
    """The options of SLURM jobs that were typed, a dict."""
    found = {name: getattr(options, name) for name in SLURM_FLAGS if getattr(options, name) is not None}
    return found | ({"requeue": False} if options.no_requeue else {}) | dict(options.slurm or ())


def _look(options, read, command):
    """Show the status or the results of a sweep, or train one of its points."""
    from bnn.training.sweeps.folder import open_sweep

    place = _folder(options, read)
    if place is None:
        flag = next(name for name in ("point", "status", "table", "figure") if getattr(options, name))
        raise ConfigError(f"--{flag}: expected the folder of a sweep, received none")
    if options.point:
        return _point(place, options.point, command)
    sweep = open_sweep(place)
    if options.status:
        _status(sweep)
    if options.table or options.figure:
        _results(sweep, options)
    return 0


def _point(place, name, command):
    from bnn.training.signals import Interrupted
    from bnn.training.sweeps.start import train_point

    backend.expect_installed()
    try:
        run = train_point(place, name, command)
    except Interrupted as stop:
        print(f"interrupted; saved {stop.run.checkpoint('last')}")
        return 128 + stop.signal
    print(f"wrote {run.folder}")
    return 0


def _status(sweep):
    """Print how far a sweep is; on a terminal again and again until all is over."""
    from bnn.training.sweeps import status

    text = status.text(found := sweep.status())
    print(text)
    with contextlib.suppress(KeyboardInterrupt):
        while sys.stdout.isatty() and any(state.is_active for state in found):
            sys.stdout.flush()
            time.sleep(EVERY_S)
            lines = text.count("\n") + 1
            text = status.text(found := sweep.status())
            print(f"\x1b[{lines}F\x1b[J{text}")
        return
    print("the jobs go on")


def _results(sweep, options):
    """Print and write the table of the results, and draw them."""
    from bnn import plots
    from bnn.training.sweeps import results

    backend.expect_installed()
    compared = results.compare(sweep, options.data_dir)
    found = results.rows(sweep, compared)
    print(f"{results.text(found)}\n")
    paths = results.save(sweep, found, compared)
    if options.figure:
        with figures.expected("sweep", kept=", ".join(map(str, paths))):
            labels = [row.label for row in found]
            figures.print_key(settings=labels)
            paths += plots.save(
                plots.by_setting(labels, [row.group for row in found]), sweep.folder / "sweep", ("png", "pdf")
            )
    print(filled("wrote", *(f"{path}," for path in paths[:-1]), str(paths[-1])))
