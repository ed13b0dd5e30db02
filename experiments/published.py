"""The published tables of experiments, read again: for Markdown pages, and for the figure of r against the gain."""

import csv

import numpy as np

from bnn.analysis.core import comparison
from bnn.runs import RunError

LAW = ("gain", "r_within", "r_two_numbers")
SHOWN = {"angle_mean_deg": 1, "gain": 2, "r_within": 3, "r_two_numbers": 3}  # decimals
KERNELS = ("kernel", "recurrent_kernel")
# Groups of the figure: (experiment, names of the columns that tell layers apart, values of columns that select rows).
GROUPS = {
    "LSTM and GRU": ("recurrent", ("cell", "kernel"), {"network": "binary"}),
    "Bi-Real net": ("residual", ("layer",), {"network": "shortcuts", "kernels": "binary"}),
    "ReActNet": ("residual", ("layer",), {"network": "ReActNet", "kernels": "binary"}),
}


def read(folder, name):
    """Read a table.

    Args:
        folder: Path, such as results/experiments.
        name: str, that of the file without its suffix.

    Returns:
        List of dicts; numbers are floats, and empty cells None. Without the file, [].
    """
    path = folder / f"{name}.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)]


def expected(folder, name):
    """The same, and raise `RunError` if there is no such table."""
    rows = read(folder, name)
    if not rows:
        raise RunError(f"{folder / name}.csv: expected the table of an experiment, received none")
    return rows


def _value(text):
    try:
        return float(text) if text else None
    except ValueError:
        return text


def select(rows, **values):
    """Return the rows with the given values."""
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def law(folder):
    """Return the layers of binary residual and recurrent networks, those of them whose tables are published.

    Args:
        folder: Path with the tables.

    Returns:
        Dict from a group's name to its rows for `bnn.plots.correlation_by_gain`; values are means over the seeds.
    """
    found = {}
    for group, (name, keys, chosen) in GROUPS.items():
        layers = {}
        for row in select(read(folder, name), **chosen):
            layers.setdefault(" ".join(row[key] for key in keys), []).append(row)
        rows = [
            {"layer": layer} | {key: float(np.mean([row[key] for row in seeds])) for key in LAW}
            for layer, seeds in layers.items()
        ]
        found |= {group: rows} if rows else {}
    return found


def recurrent(folder):
    """Return (headings, rows of cells) for the networks of the experiment `recurrent`.

    Raises:
        RunError: its tables are not there.
    """
    rows, steps = expected(folder, "recurrent"), expected(folder, "recurrent_steps")
    last = max(row["step"] for row in steps)
    cells = []
    for cell, network in dict.fromkeys((row["cell"], row["network"]) for row in rows):
        mine = select(rows, cell=cell, network=network)
        first, second = (select(mine, kernel=kernel) for kernel in KERNELS)
        at_end = select(steps, cell=cell, network=network, step=last)
        both = [
            ", ".join(_pooled(part, key, digits) for part in (first, second)) for key, digits in SHOWN.items()
        ]
        percent = [_pooled(first, key, 2, 100) for key in ("test_accuracy", "replaced_accuracy")]
        r = [_pooled(at_end, key, 3) for key in ("r_forced", "r_free")]
        rate = f"{first[0]['learning_rate']:g}"
        cells.append([f"{cell.upper()}, {network}", rate, *percent, *both, *r])
    heads = [
        "network",
        "learning rate",
        "accuracy, %",
        "with replaced kernels, %",
        "angle: input, recurrent",
        "gain",
    ]
    heads += ["r within units", "r from two numbers", f"r at step {last:.0f}, forced", "free"]
    return heads, cells


def residual(folder):
    """Return (headings, rows of cells) for the networks of the experiment `residual`.

    Raises:
        RunError: its table is not there.
    """
    rows, cells = expected(folder, "residual"), []
    for network, kernels in dict.fromkeys((row["network"], row["kernels"]) for row in rows):
        mine = select(rows, network=network, kernels=kernels)
        seeds = [select(mine, seed=seed) for seed in dict.fromkeys(row["seed"] for row in mine)]
        first = [layers[0] for layers in seeds]
        layers = list(dict.fromkeys(row["layer"] for row in mine))
        gains = [np.mean([row["gain"] for row in select(mine, layer=layer)]) for layer in layers]
        means = [_over_layers(seeds, key, digits) for key, digits in SHOWN.items()]
        lost = _over_layers(seeds, "accuracy lost", 2, 100) if kernels == "real" else "-"
        rate, accuracy = f"{first[0]['learning_rate']:g}", _pooled(first, "test_accuracy", 2, 100)
        cells.append(
            [
                f"{network}, {kernels}",
                rate,
                accuracy,
                *means[:2],
                f"{min(gains):.1f} to {max(gains):.1f}",
                *means[2:],
                lost,
            ]
        )
    heads = ["network", "learning rate", "accuracy, %", "angle", "gain", "of the layers", "r within units"]
    return [*heads, "r from two numbers", "points lost per binarized layer"], cells


def _pooled(rows, key, digits, factor=1):
    """The mean over the rows, one per seed, with its standard deviation."""
    return comparison.pool(factor * row[key] for row in rows).text(digits)


def _over_layers(seeds, key, digits, factor=1):
    """The same for means over the layers; `seeds` has a list of rows for each seed."""
    return comparison.pool(factor * float(np.mean([row[key] for row in rows])) for rows in seeds).text(digits)
