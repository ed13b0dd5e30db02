"""Networks that differ in their seed alone, pooled: mean, standard deviation and number."""

import math
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Pooled:
    """A value over seeds.

    Attributes:
        mean: float.
        std: float, the standard deviation of a sample, with n - 1; NaN for a single value.
        n: int, how many values.
    """

    mean: float
    std: float
    n: int

    def text(self, decimals=3):
        """Mean ± standard deviation; the mean alone of one value, or of values that are all alike."""
        mean = f"{self.mean:.{decimals}f}"
        return f"{mean} ± {self.std:.{decimals}f}" if self.std > 0 else mean


def pool(values):
    """Pool the values of one number.

    Args:
        values: iterable of numbers, one for each seed, at least one; None is a missing one.

    Returns:
        Pooled; None if a value is missing.
    """
    values = list(values)
    if any(value is None for value in values):
        return None
    return Pooled(
        statistics.mean(values), statistics.stdev(values) if len(values) > 1 else math.nan, len(values)
    )


def pool_rows(sources):
    """Pool the statistics of networks with the same layers.

    Args:
        sources: list with, for each seed, a Report, the content of a metrics.json, or a list of rows: dicts with
            "layer" and statistics.

    Returns:
        dict from layer to a dict from each number that all rows of the layer have to its Pooled, or None.

    Raises:
        ValueError: the networks have other layers.
    """
    tables = [{row["layer"]: row for row in rows_of(source)} for source in sources]
    for table in tables:
        if list(table) != list(tables[0]):
            raise ValueError(f"layers: expected {', '.join(tables[0])} in all, received {', '.join(table)}")
    return {layer: _pooled([table[layer] for table in tables]) for layer in tables[0]}


def rows_of(source):
    """The rows of a Report, of the content of a metrics.json, or of what is a list of rows already."""
    if hasattr(source, "rows"):
        return source.rows()
    return source["layers"] if isinstance(source, dict) else source


def _pooled(rows):
    shared = [key for key in rows[0] if key != "layer" and all(key in row for row in rows)]
    return {key: pool(row[key] for row in rows) for key in shared}
