"""The runs in a folder: which there are, how far they are, and what distinguishes them."""

import time
from pathlib import Path

from bnn.console.arguments import expanded
from bnn.console.tables import aligned, filled
from bnn.files import lock
from bnn.networks.table import DEFAULT
from bnn.runs.directory import RunError, open_run
from bnn.runs.folders import within
from bnn.runs.log import test_accuracy

COLUMNS = ("state", "epochs", "val", "test", "date", "data")
HEADING = "run"
SETTINGS = "settings that differ from the preset"
UNTOLD = {
    "data_set",
    "epochs",
    "precision",
    "input_shape",
    "input_range",
    "classes",
}  # or shown in other columns


def find(folder):
    """List the run directories in a folder, and in its sub-folders, which hold the seeds of one training.

    Args:
        folder: str or Path.

    Returns:
        List of Path, sorted.
    """
    folder = expanded(folder)
    return sorted([*within(folder), *within(folder, 2)])


def expand(path):
    """Return the run directories that a path names: itself, or those of the seeds in it.

    Raises:
        RunError: it holds no run.
    """
    path = expanded(path)
    if not (path / "config.json").is_file():
        if seeds := within(path):
            return seeds
        if groups := sorted({found.parent for found in within(path, 2)}):
            raise RunError(
                f"{path}: expected a run directory or a folder of runs, received a folder of such folders; "
                f"name one or several of them, such as {groups[0]}"
            )
    return [open_run(path).folder]


def text(folder):
    """Return a table of the runs of a folder, at most 80 columns wide, or one line that says there is none.

    A run has a line with its name, one with a value for each of `COLUMNS`, and its settings.
    """
    paths = find(folder)
    if not paths:
        return f"{folder}/: no runs"
    found = [_row(path) for path in paths]
    rows = aligned([COLUMNS, *(row for row, _ in found)], left=True).splitlines()
    names = [HEADING, *(str(path.relative_to(folder)) for path in paths)]
    settings = [(SETTINGS,), *(settings for _, settings in found)]
    return "\n".join(
        f"{name}\n  {row}\n{filled(f'  {first}', *others)}"
        for name, row, (first, *others) in zip(names, rows, settings, strict=True)
    )


def _row(path):
    """Return the values of a run for `COLUMNS`, and a list of its settings."""
    try:
        run = open_run(path)
        log = run.log()
    except RunError:
        return ["damaged", *["-"] * (len(COLUMNS) - 1)], ["-"]
    changed = max(file.stat().st_mtime for file in (path / "config.json", path / "log.csv") if file.is_file())
    row = [
        _state(run, log),
        f"{log[-1]['epoch'] if log else 0}/{run.training.epochs}",
        _fraction(max((row["val_accuracy"] for row in log), default=None)),
        _fraction(test_accuracy(run)),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(changed)),
        Path(run.training.data_set).name,
    ]
    return row, [f"{key}={_short(value)}" for key, value in distinguishing(run).items()]


def _state(run, log):
    if lock.is_held(run.folder):
        return "training"
    done = log[-1]["epoch"] if log else 0
    return "complete" if done >= run.training.epochs else "interrupted"


def distinguishing(run):
    """Return the settings of a Run that differ from the preset of its data, and its seed: a dict."""
    usual = run.config.preset().flat() | {"network": DEFAULT}
    settings = run.config.flat()
    told = {name: value for name, value in settings.items() if value != usual[name] and name not in UNTOLD}
    return told | {"seed": run.training.seed}


def _fraction(value):
    return "-" if value is None else f"{value:.4f}"


def _short(value):
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else value
