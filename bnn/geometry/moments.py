"""Means and covariances of each unit or coordinate of data that arrive in batches, updated as in `streaming`."""

import numpy as np

from bnn.geometry.streaming import ROWS, Mergeable, without_warnings

FIRST, SECOND = [0, 0, 1], [0, 1, 1]  # the factors of the products (x, x), (x, y), (y, y) of a pair


class UnitMoments(Mergeable):
    """Mean and covariance of a stream of pairs, separately for each unit.

    Args:
        units: int, the number of units.
    """

    def __init__(self, units):
        self.count = 0
        self._mean = np.zeros((2, units))
        self._scatter = np.zeros((3, units))  # of (x, x), (x, y), (y, y)

    def update(self, x, y):
        """Add pairs.

        Args:
            x: (n, units) array_like of real numbers.
            y: array_like of the same shape.

        Returns:
            self.
        """
        for start in range(0, len(x), ROWS):
            self._update_chunk(*(np.asarray(v[start : start + ROWS], np.float64) for v in (x, y)))
        return self

    @without_warnings
    def _update_chunk(self, x, y):
        origin = np.stack([x[0], y[0]])
        # Subtracting the first pair makes the deviations of a constant exactly 0.
        x, y = x - origin[0], y - origin[1]
        shift = np.stack([x.mean(axis=0), y.mean(axis=0)])
        x, y = x - shift[0], y - shift[1]
        scatter = np.stack([np.einsum("nu,nu->u", p, q) for p, q in ((x, x), (x, y), (y, y))])
        self._merge(len(x), origin + shift, scatter)

    @without_warnings
    def merge(self, count, mean, scatter):
        """Add groups of pairs that are given by their moments.

        Args:
            count: int, the number of pairs in each group.
            mean: (groups, 2, units) float64 array, the means of x and y in each group.
            scatter: (groups, 3, units) float64 array, the sums of the products (x, x), (x, y) and (y, y) of the
                deviations from these means.

        Returns:
            self.
        """
        # As in `_update_chunk`, equal means give exactly 0.
        deviations = mean - mean[0]
        shift = deviations.mean(axis=0)
        deviations -= shift
        between = np.einsum("gpu,gpu->pu", deviations[:, FIRST], deviations[:, SECOND])
        self._merge(count * len(mean), mean[0] + shift, scatter.sum(axis=0) + count * between)
        return self

    def _merge(self, count, mean, scatter):
        if count == 0:
            return
        total = self.count + count
        delta = mean - self._mean
        self._scatter += scatter + delta[FIRST] * delta[SECOND] * (self.count * count / total)
        self._mean += delta * (count / total)
        self.count = total

    def pooled(self):
        """The moments of the pairs of all units together: UnitMoments of one unit."""
        return UnitMoments(1).merge(self.count, self._mean.T[..., None], self._scatter.T[..., None])

    @property
    def mean(self):
        """The means of x and y, (2, units) float64 array; 0 without data."""
        return self._mean

    @property
    def covariance(self):
        """The variance of x, the covariance and the variance of y, (3, units) float64 array; NaN without data."""
        return self._scatter / self.count if self.count else np.full_like(self._scatter, np.nan)

    @property
    @without_warnings
    def r(self):
        """The Pearson correlations in [-1, 1], (units,) float64 array; NaN without data or if x or y is constant."""
        xx, xy, yy = self._scatter
        scale = np.sqrt(xx) * np.sqrt(yy)
        varies = scale != 0
        return np.where(varies, np.clip(xy / np.where(varies, scale, 1), -1, 1), np.nan)


class CoordinateMoments(Mergeable):
    """Mean and standard deviation of each coordinate of a stream of vectors.

    Args:
        d: int, >= 1, the length of a vector.
    """

    def __init__(self, d):
        self.count = 0
        self._mean, self._scatter = np.zeros((2, d))

    def update(self, rows):
        """Add vectors.

        Args:
            rows: (n, d) array_like of real numbers, n >= 1.

        Returns:
            self.
        """
        rows = np.asarray(rows, np.float64)
        shift = rows.mean(axis=0)
        return self.merge(len(rows), shift, ((rows - shift) ** 2).sum(axis=0))

    def merge(self, count, mean, scatter):
        """Add vectors that are given by their number, their mean and their sum of squared deviations, (d,) arrays."""
        self._merge(count, mean, scatter)
        return self

    def _merge(self, count, mean, scatter):
        if count == 0:
            return
        self.count += count
        delta, part = mean - self._mean, count / self.count
        self._mean = self._mean + delta * part
        self._scatter += scatter + delta**2 * (count * (1 - part))

    @property
    def mean(self):
        """The mean, (d,) float64 array; 0 without data."""
        return self._mean.copy()

    @property
    def std(self):
        """The (population) standard deviations, (d,) float64 array; 0 without data."""
        return np.sqrt(self._scatter / max(1, self.count))
