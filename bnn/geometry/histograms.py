"""Two-dimensional histograms of data that arrive in batches."""

import numpy as np

from bnn.geometry.streaming import chunks, without_warnings

SAME = 1e-5  # edges that differ by less of the whole width are those of float32 sums in another order


class Histogram2D:
    """Counts of a stream of pairs on a grid of equal cells (paper, Figs 3 and 5).

    Args:
        x_edges: (nx + 1,) array_like, increasing and evenly spaced, for example from `even_edges`.
        y_edges: (ny + 1,) array_like, increasing and evenly spaced.

    Attributes:
        x_edges: (nx + 1,) float64 array.
        y_edges: (ny + 1,) float64 array.
        counts: (nx, ny) int64 array; a cell counts values with lower edge <= value < upper edge.
        outside: int, the number of pairs that are outside the grid or not finite.

    Raises:
        ValueError: edges are not increasing or not evenly spaced.
    """

    def __init__(self, x_edges, y_edges):
        self.x_edges, self.y_edges = _checked("x_edges", x_edges), _checked("y_edges", y_edges)
        self.counts = np.zeros((self.x_edges.size - 1, self.y_edges.size - 1), np.int64)
        self.outside = 0

    def update(self, x, y):
        """Count pairs.

        Args:
            x: (...) array_like of real numbers.
            y: array_like of the same shape.

        Returns:
            self.

        Raises:
            ValueError: the shapes differ.
        """
        for pair in chunks(x, y):
            self._update_chunk(*pair)
        return self

    def state(self):
        """Return the edges and all that was counted, a dict from name to array or int."""
        names = ("x_edges", "y_edges", "counts", "outside")
        return {name: getattr(self, name) for name in names}

    def add(self, x_edges, y_edges, counts, outside):
        """Add the counts of another histogram, given by its `state`.

        Raises:
            ValueError: its edges are others, by more than rounding.
        """
        for own, given in ((self.x_edges, x_edges), (self.y_edges, y_edges)):
            if own.shape != np.shape(given) or not np.allclose(own, given, rtol=0, atol=SAME * np.ptp(own)):
                raise ValueError(f"edges: expected {own}, received {given}")
        self.counts += counts
        self.outside += int(outside)
        return self

    def _update_chunk(self, x, y):
        nx, ny = self.counts.shape
        # A border of one cell on every side counts the pairs outside, so no pairs must be selected first.
        cells = _cell(x, self.x_edges) * (ny + 2) + _cell(y, self.y_edges)
        counts = np.bincount(cells, minlength=(nx + 2) * (ny + 2)).reshape(nx + 2, ny + 2)[1:-1, 1:-1]
        self.counts += counts
        self.outside += x.size - int(counts.sum())


@without_warnings
def _cell(x, edges):
    """Return the cell of each value: 1 ... n between the edges, 0 or n + 1 outside, 0 for NaN."""
    size = edges.size - 1
    # Divide by the width instead of multiplying by its inverse: this is exact for lattice values on edges.
    position = (x - edges[0]) / ((edges[-1] - edges[0]) / size) + 1
    return np.nan_to_num(np.clip(position, 0, size + 1, out=position), copy=False).astype(np.int64)


def _checked(name, edges):
    edges = np.asarray(edges, np.float64)
    if edges.ndim != 1 or edges.size < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"{name}: expected at least 2 increasing values, received {edges!r}")
    even = np.linspace(edges[0], edges[-1], edges.size)
    if not np.allclose(edges, even, rtol=0, atol=1e-9 * np.ptp(edges)):
        raise ValueError(f"{name}: expected evenly spaced values, received {edges!r}")
    return edges


def even_edges(std, bins, *, widths=4.0, step=0.0):
    """Make the edges of `bins` equal cells, symmetric about 0, that reach at least `widths` standard deviations.

    Args:
        std: float, >= 0; 0 or NaN is replaced by 1.
        bins: int, >= 1.
        widths: float, > 0.
        step: float, >= 0, the step of values on a lattice; 0 for other values. For example, sums of +-1 have step 2.
            The width of a cell is then a whole number of steps. Each cell contains equally many lattice points, and
            no stripes appear.

    Returns:
        (bins + 1,) float64 array.
    """
    width = 2 * widths * (std if std > 0 else 1.0) / bins
    width = max(1, np.ceil(width / step)) * step if step else width
    return width * (np.arange(bins + 1) - bins / 2)
