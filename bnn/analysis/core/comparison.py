"""Pool the statistics of networks that differ only in the seed: mean, standard deviation and number."""

import math
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Pooled:
    """Values of one number over several seeds.

    Attributes:
        mean: float.
        std: float, the sample standard deviation (n - 1); NaN for a single value.
        n: int, the number of values.
    """

    mean: float
    std: float
    n: int

    def text(self, decimals=3):
        """Return mean ± standard deviation as text; only the mean for a single value or for equal values."""
        mean = f"{self.mean:.{decimals}f}"
        return f"{mean} ± {self.std:.{decimals}f}" if self.std > 0 else mean


def pool(values):
    """Pool the values of one number.

    Args:
        values: iterable of at least one number, one per seed. None and NaN are missing values.

    Returns:
        Pooled; None if a value is missing.
    """
    values = list(values)
    if any(value is None or math.isnan(value) for value in values):
        return None
    return Pooled(
        statistics.mean(values), statistics.stdev(values) if len(values) > 1 else math.nan, len(values)
    )


def pool_rows(sources):
    """Pool the statistics of networks with the same layers.

    Args:
        sources: list with one source per seed: a Report, the content of a metrics.json, or a list of rows, which are
            dicts with "layer" and statistics.

    Returns:
        Dict from each layer to a dict from a statistic to Pooled or None. It has the statistics that all rows of the
        layer have.

    Raises:
        ValueError: the networks have different layers.
    """
    tables = [{row["layer"]: row for row in rows_of(source)} for source in sources]
    for table in tables:
        if list(table) != list(tables[0]):
            raise ValueError(f"layers: expected {', '.join(tables[0])} in all, received {', '.join(table)}")
    return {layer: _pooled([table[layer] for table in tables]) for layer in tables[0]}


def rows_of(source):
    """Return the rows of a Report, of the content of a metrics.json, or of a list of rows."""
    if hasattr(source, "rows"):
        return source.rows()
    return source["layers"] if isinstance(source, dict) else source


def _pooled(rows):
    shared = [key for key in rows[0] if key != "layer" and all(key in row for row in rows)]
    return {key: pool(row[key] for row in rows) for key in shared}
