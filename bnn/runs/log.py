"""The rows of log.csv, one for each epoch: their columns, and numbers out of text."""

import numpy as np

LOG_COLUMNS = (
    "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "flip_ratio", "seconds",
)  # fmt: skip
FRACTIONS = {"accuracy", "val_accuracy", "flip_ratio"}


def log_rows(rows, columns):
    """Rows of text as numbers, but for a torn last one; raises `ValueError` for what no training logs."""
    whole = [None not in row and None not in row.values() for row in rows]
    if rows and not whole[-1]:
        del rows[-1], whole[-1]
    if rows and columns != LOG_COLUMNS:
        raise ValueError(f"the columns {list(columns)}")
    if not all(whole):
        raise ValueError(f"a row of another length after {whole.index(False)} others")
    rows = [{k: int(v) if k == "epoch" else float(v) for k, v in row.items()} for row in rows]
    for before, row in zip([{"epoch": 0}, *rows], rows, strict=False):
        if row["epoch"] <= before["epoch"]:
            raise ValueError(f"epoch {row['epoch']} after epoch {before['epoch']}")
        for name, value in row.items():
            if not (0 <= value <= 1 if name in FRACTIONS else 0 <= value < np.inf):
                raise ValueError(f"{name} {value} in epoch {row['epoch']}")
    return rows
