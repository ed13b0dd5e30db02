"""The summary.txt of a run, which a person can read: settings, accuracy, and the table of analyze.py."""

from bnn.console.errors import UserError
from bnn.console.spelling import words
from bnn.console.tables import cell, html_table
from bnn.files import atomic
from bnn.runs.log import test_accuracy
from bnn.settings.config import to_json

NAME = "summary.txt"


def write(run, report=None):
    """Write summary.txt into a run directory.

    Args:
        run: Run.
        report: Report of the run, whose table and test accuracy are added; None before an analysis.

    Returns:
        Path
    """
    path = run.folder / NAME
    atomic.write(path, f"{text(run, report)}\n".encode())
    return path


def text(run, report=None):
    """Return the summary as text."""
    parts = [f"{_network(run)}, trained on {_data(run)}", _accuracy(run, report)]
    for title, part in run.config.parts.items():
        rows = "\n".join(f"  {name} = {words(value)}" for name, value in to_json(part).items())
        parts.append(f"{title}\n{rows}")
    return "\n\n".join([*parts, report.text()] if report else parts)


def html(run):
    """Return a short table of a run for a notebook, as HTML."""
    try:
        log = run.log()
    except UserError:
        log = []
    best = max((row["val_accuracy"] for row in log), default=None)
    rows = [
        ["network", _network(run)],
        ["data", _data(run)],
        ["epochs", f"{log[-1]['epoch'] if log else 0} of {run.training.epochs}"],
        ["best validation accuracy", cell(best, 4)],
        ["test accuracy", cell(test_accuracy(run), 4)],
    ]
    return html_table([["run", str(run.folder)], *rows])


def _network(run):
    weights = run.config.network.weights(run.config.inputs)
    return f"{run.kind} network, {weights:,} weights"


def _data(run):
    return f"{run.data['name']} (SHA-256 {run.data['digest'][:8]})"


def _accuracy(run, report):
    log, lines = run.log(), []
    if log:
        best = run.best_epoch()
        lines.append(
            f"best validation accuracy {best['val_accuracy']:.4f} in epoch {best['epoch']}, "
            f"{log[-1]['epoch']} of {run.training.epochs} epochs done"
        )
    if report and "test_accuracy" in report.about:
        lines.append(f"test accuracy {report.accuracy}")
    return "\n".join(lines or ["no epoch done"])
