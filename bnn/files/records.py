"""JSON and CSV files that are written in one step."""

import csv
import io
import json

import numpy as np

from bnn.files import atomic


def write_json(path, value):
    """Write JSON atomically. Non-finite numbers become null because JSON has no NaN."""
    atomic.write(path, (json.dumps(_without_nan(value), indent=1, allow_nan=False) + "\n").encode())


def write_csv(path, columns, rows):
    r"""Write a header and rows, dicts from column to value, atomically; bytes that are not UTF-8 become \udcXX."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic.write(path, text.getvalue().encode(errors="backslashreplace"))


def _without_nan(value):
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
