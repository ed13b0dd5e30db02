"""What was measured of a run: the rows of log.csv, one per epoch, and whether metrics.json belongs to its network."""

import json

import numpy as np

LOG_COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "flip_ratio",
    "seconds",
)
FRACTIONS = {"accuracy", "val_accuracy", "flip_ratio"}


def rank(row):
    """Return the key by which the best epoch is the largest: validation accuracy, and of equal ones the lower loss."""
    return row["val_accuracy"], -row["val_loss"]


def log_rows(rows, columns):
    """Convert rows of text to numbers, except an incomplete last row.

    Raises:
        ValueError: the rows cannot come from the log of a training run.
    """
    complete = [None not in row and None not in row.values() for row in rows]
    if rows and not complete[-1]:
        del rows[-1], complete[-1]
    if rows and columns != LOG_COLUMNS:
        raise ValueError(f"the columns {list(columns)}")
    if not all(complete):
        raise ValueError(f"a row of another length after {complete.index(False)} others")
    rows = [{k: int(v) if k == "epoch" else float(v) for k, v in row.items()} for row in rows]
    for before, row in zip([{"epoch": 0}, *rows], rows, strict=False):
        if row["epoch"] <= before["epoch"]:
            raise ValueError(f"epoch {row['epoch']} after epoch {before['epoch']}")
        for name, value in row.items():
            if not (0 <= value <= 1 if name in FRACTIONS else 0 <= value < np.inf):
                raise ValueError(f"{name} {value} in epoch {row['epoch']}")
    return rows


def is_measured(run):
    """Return whether a run has a metrics.json that is not older than its best checkpoint."""
    path, network = run.folder / "metrics.json", run.checkpoint("best")
    return path.is_file() and not (network.is_file() and network.stat().st_mtime > path.stat().st_mtime + 1)


def test_accuracy(run):
    """Return the test accuracy of a run, in [0, 1]; None if it was not measured."""
    try:
        held = json.loads((run.folder / "metrics.json").read_text()) if is_measured(run) else {}
        return float(held["test_accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
