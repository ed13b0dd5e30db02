"""The columns of log.csv, the conversion of its rows from text to numbers, and their order. One row is one epoch."""

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
