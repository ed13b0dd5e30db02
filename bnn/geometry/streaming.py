"""Statistics of data that arrive in batches. The memory does not grow with the number of batches.

Means and co-moments are float64 and are merged with the update of Chan, Golub & LeVeque [1]_. A small variance is
never computed as the difference of two large sums.

References:
    .. [1] Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
       Stanford University, STAN-CS-79-773, 1979.
"""

import numpy as np

CHUNK = 1 << 16  # pairs at a time: two float64 blocks of 512 KiB stay in the second-level cache
ROWS = 1 << 12  # rows at a time: enough for a fast matrix product, and few terms in a float32 sum

without_warnings = np.errstate(invalid="ignore", over="ignore")
"""Decorator: non-finite input yields NaN without a warning."""


def chunks(x, y):
    """Flatten two arrays of equal shape and yield both in pieces that fit into the cache."""
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape:
        raise ValueError(f"x, y: expected equal shapes, received {x.shape} and {y.shape}")
    x, y = x.reshape(-1), y.reshape(-1)
    for start in range(0, x.size, CHUNK):
        yield x[start : start + CHUNK], y[start : start + CHUNK]


class Mergeable:
    """Statistics that can be computed in parts, in several processes: `add(**other.state())` merges another one."""

    def state(self):
        """Return all that was accumulated, a dict from name to array or int."""
        return {"count": self.count, "mean": self._mean, "scatter": self._scatter}

    def add(self, count, mean, scatter):
        """Add all data of another one, given by its `state`; the shapes must be those of this one.

        Raises:
            ValueError: the shapes differ.
        """
        expect_shapes(self.state(), {"count": count, "mean": mean, "scatter": scatter})
        self._merge(int(count), np.asarray(mean), np.asarray(scatter))
        return self


def expect_shapes(own, given):
    """Raise `ValueError` unless two dicts of arrays have the same shapes."""
    wanted, received = ({name: np.shape(value) for name, value in part.items()} for part in (own, given))
    if wanted != received:
        raise ValueError(f"state: expected the shapes {wanted}, received {received}")


class CorrelationStatistics(Mergeable):
    """Pearson correlation, regression slope and sign flips of a stream of pairs (paper, Figs 3-5).

    If a value is not finite, r and the slope are NaN, and so are the mean and the deviation of its array, or infinite.
    """

    def __init__(self):
        self.count = 0
        self._flips = 0
        self._mean = np.zeros(2)
        self._scatter = np.zeros((2, 2))

    def update(self, x, y):
        """Add pairs.

        Args:
            x: (...) array_like of real numbers.
            y: array_like of the same shape.

        Returns:
            self.

        Raises:
            ValueError: the shapes differ.
        """
        block = np.empty((2, min(CHUNK, np.size(x))))
        for pair in chunks(x, y):
            self._update_chunk(*pair, block[:, : pair[0].size])
        return self

    @without_warnings
    def _update_chunk(self, x, y, centered):
        flips = np.count_nonzero((x < 0) & (y > 0)) + np.count_nonzero((x > 0) & (y < 0))
        origin = np.array([x[0], y[0]], np.float64)
        # Subtracting the first pair makes the deviations of a constant exactly 0.
        np.subtract(x, origin[0], out=centered[0], dtype=np.float64)
        np.subtract(y, origin[1], out=centered[1], dtype=np.float64)
        shift = centered.mean(axis=1)
        centered -= shift[:, None]
        # einsum stays on one thread. BLAS would split these short sums over threads and wait for busy cores.
        xx, xy, yy = (np.einsum("i,i", centered[i], centered[j]) for i, j in ((0, 0), (0, 1), (1, 1)))
        self._merge(x.size, origin + shift, np.array([[xx, xy], [xy, yy]]), flips)

    @without_warnings
    def merge(self, other):
        """Add all pairs of another `CorrelationStatistics`."""
        self._merge(other.count, other._mean, other._scatter, other._flips)

    def state(self):
        """See `Mergeable.state`."""
        return super().state() | {"flips": self._flips}

    @without_warnings
    def add(self, count, mean, scatter, flips):
        """See `Mergeable.add`."""
        expect_shapes(self.state(), {"count": count, "mean": mean, "scatter": scatter, "flips": flips})
        self._merge(int(count), np.asarray(mean), np.asarray(scatter), int(flips))
        return self

    def _merge(self, count, mean, scatter, flips):
        if count == 0:
            return
        self.count += count
        self._flips += flips
        delta = mean - self._mean
        self._mean = self._mean + delta * (count / self.count)
        self._scatter = self._scatter + scatter
        self._scatter += np.outer(delta, delta) * (count * (self.count - count) / self.count)

    @property
    def mean(self):
        """The means of x and y, (2,) float64 array; NaN without data."""
        return self._mean.copy() if self.count else np.full(2, np.nan)

    @property
    def std(self):
        """The (population) standard deviations of x and y, (2,) float64 array; NaN without data."""
        return np.sqrt(np.diag(self._scatter) / self.count) if self.count else np.full(2, np.nan)

    @property
    @without_warnings
    def r(self):
        """The Pearson correlation, float in [-1, 1]; NaN without data, or if x or y is constant."""
        (xx, xy), (_, yy) = self._scatter
        scale = np.sqrt(xx) * np.sqrt(yy)
        return float(np.clip(xy / scale, -1, 1)) if scale != 0 else float("nan")

    @property
    @without_warnings
    def slope(self):
        """The slope of the least-squares line of y on x, float; NaN without data, or if x is constant."""
        (xx, xy), _ = self._scatter
        return float(xy / xx) if xx != 0 else float("nan")

    @property
    def sign_flips(self):
        """The fraction of pairs with x y < 0, float in [0, 1]; a zero is not a flip; NaN without data."""
        return self._flips / self.count if self.count else float("nan")


class SecondMoments(Mergeable):
    """Mean and covariance of a stream of vectors.

    Float32 rows are centered and multiplied in float32, up to 4096 rows at a time, and their sums are added in float64.
    This is twice as fast as float64 and needs half the memory. Rounding happens only after the first row has been
    subtracted. Therefore its size is relative to the standard deviations, a few 1e-6 of their products, which is far
    below the sampling error of any practical number of rows. Float64 rows stay float64.

    Args:
        d: int, >= 1, the length of a vector.
    """

    def __init__(self, d):
        self.count = 0
        self._mean = np.zeros(d)
        self._scatter = np.zeros((d, d))

    def update(self, rows):
        """Add vectors.

        Args:
            rows: (n, d) array_like of real numbers, n >= 0.

        Returns:
            self.

        Raises:
            ValueError: the shape is not (n, d).
        """
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != self._mean.size:
            raise ValueError(f"rows: expected shape (n, {self._mean.size}), received {rows.shape}")
        for start in range(0, len(rows), ROWS):
            self._update_chunk(rows[start : start + ROWS])
        return self

    @without_warnings
    def _update_chunk(self, rows):
        # Subtracting the first row makes the deviations of a constant exactly 0.
        origin = rows[0].astype(np.float64)
        centered = np.empty(rows.shape, np.result_type(rows.dtype, np.float32))
        np.subtract(rows, origin, out=centered, casting="same_kind")
        shift = centered.mean(axis=0, dtype=np.float64)
        np.subtract(centered, shift, out=centered, casting="same_kind")
        self._merge(len(rows), origin + shift, centered.T @ centered)

    @without_warnings
    def merge(self, other):
        """Add all vectors of another `SecondMoments`."""
        self._merge(other.count, other._mean, other._scatter)

    def _merge(self, count, mean, scatter):
        if count == 0:
            return
        self.count += count
        delta = mean - self._mean
        self._mean = self._mean + delta * (count / self.count)
        self._scatter += scatter
        delta = delta * np.sqrt(count * (self.count - count) / self.count)
        self._scatter += np.outer(delta, delta)

    @property
    def mean(self):
        """The mean, (d,) float64 array; NaN without data."""
        return self._mean.copy() if self.count else np.full_like(self._mean, np.nan)

    @property
    def covariance(self):
        """The population covariance E[(a - m)(a - m)^T], (d, d) symmetric float64 array; NaN without data."""
        return self._scatter / self.count if self.count else np.full_like(self._scatter, np.nan)

    @property
    def second_moment(self):
        """The second moment E[a a^T], (d, d) symmetric float64 array; NaN without data."""
        return self.covariance + np.outer(self.mean, self.mean)


class CrossMoments(Mergeable):
    """Means of a stream of pairs of vectors x and y, the covariance of x, and the covariances of x with y.

    Sums are as in `SecondMoments`. The covariance of y, which may be long, is left out.

    Args:
        p: int, >= 1, the length of x.
        q: int, >= 1, the length of y.
    """

    def __init__(self, p, q):
        self.count = 0
        self._p, self._mean = p, np.zeros(p + q)
        self._scatter = np.zeros((p, p + q))

    @without_warnings
    def update(self, x, y):
        """Add pairs.

        Args:
            x: (n, p) array_like of real numbers.
            y: (n, q) array_like of real numbers.

        Returns:
            self.
        """
        for start in range(0, len(x), ROWS):
            rows = np.concatenate([x[start : start + ROWS], y[start : start + ROWS]], axis=1)
            origin = rows[0].astype(np.float64)
            # As in `SecondMoments`, the deviations of a constant are exactly 0.
            centered = rows - rows[0]
            shift = centered.mean(axis=0, dtype=np.float64)
            np.subtract(centered, shift, out=centered, casting="same_kind")
            self._merge(len(rows), origin + shift, centered[:, : self._p].T @ centered)
        return self

    def _merge(self, count, mean, scatter):
        if count == 0:
            return
        delta, total = mean - self._mean, self.count + count
        self._scatter += scatter
        self._scatter += np.outer(delta[: self._p], delta) * (self.count * count / total)
        self._mean = self._mean + delta * (count / total)
        self.count = total

    @property
    def means(self):
        """The means of x, (p,), and of y, (q,) float64 arrays; 0 without data."""
        return self._mean[: self._p].copy(), self._mean[self._p :].copy()

    @property
    def covariances(self):
        """The covariance of x, (p, p), and those of x with y, (p, q) float64 arrays; NaN without data."""
        scatter = self._scatter / self.count if self.count else np.full_like(self._scatter, np.nan)
        return scatter[:, : self._p], scatter[:, self._p :]
