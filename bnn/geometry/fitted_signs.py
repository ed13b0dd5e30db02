r"""Quantized kernels that are fitted to dot products: the levels that change the products least, not the vector.

A unit with the kernel w is quantized to scale * q, where each entry of q is one of a few levels, such as -1 and +1. On
inputs a with the second moment S = E[a a^T], the mean squared error of its products is

    E[(a.w - scale a.q)^2] = e^T S e,    e = w - scale q.

The best scale of q is q^T S w / q^T S q. It leaves the loss w^T S w - (q^T S w)^2 / q^T S q. If S is a multiple of the
identity, the nearest levels minimize it. If the inputs are correlated, other levels are better. With the covariance in
place of the second moment, the loss is the variance of the error. Only this counts if a bias or a batch norm follows.

`fit_signs` starts from the nearest levels and changes one entry after the other (coordinate descent). A change is made
if it lowers the loss, with the best scale before and after it. The first sweeps over the entries make only the largest
changes: each sweep has a lower threshold. This ends in lower minima than the plain order, in the same time. At the end,
no change of a single entry lowers the loss of a unit, at scales of the same sign.

GPTQ [1]_ lowers the same loss in one pass and adjusts the weights that are not yet quantized. AdaRound [2]_ relaxes the
choice between two neighboring levels. QuantEase [3]_ is a coordinate descent, too.

References:
    .. [1] Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
       ICLR 2023, arXiv:2210.17323.
    .. [2] Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020, arXiv:2004.10568.
    .. [3] Behdin et al., "QuantEase: Optimization-based Quantization for Language Models", 2023, arXiv:2309.01885.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

THRESHOLDS = 0.7 ** np.arange(1, 17)  # of the first sweeps, relative to the largest improvement at the start
BLOCK = 96  # entries whose changes are collected before one matrix product applies them to the others
SPARSE = 1 / 16  # a block with a smaller fraction of changed entries is multiplied as a sparse matrix
REDRAWN = 0.04  # the fraction of levels that a restart draws anew, but two on average at least
ROUNDING = 1e-12  # relative differences below this are only rounding
NEGATIVE = -1e-3  # a relative loss below this is not rounding, also if S was summed in float32


class FittedSigns(NamedTuple):
    """Quantized kernels, and what the fit changed.

    Attributes:
        quantized: (d, units) array of levels; int8 if all levels are integers from -128 to 127, else float64.
        scale: (units,) float64 array. `scale * quantized` approximates the kernel. If the levels are symmetric around
            0, the scale is not negative.
        start_loss: (units,) float64 array, e^T S e of the nearest levels with their best scale.
        loss: (units,) float64 array, e^T S e of the result. It is at most `start_loss`.
        changed: (units,) int array, the number of entries that are not the nearest level.
        sweeps: (units,) int array, the number of sweeps from the first start; the last one changed nothing.
    """

    quantized: np.ndarray
    scale: np.ndarray
    start_loss: np.ndarray
    loss: np.ndarray
    changed: np.ndarray
    sweeps: np.ndarray


def fit_signs(kernel, second_moment, levels=(-1, 1), *, restarts=0, seed=0):
    """Quantize kernels so that their products with given inputs change least.

    The start is the nearest level of each entry, with the scale of the least squared error |w - scale q|^2: for the
    default levels sign(w), where sign(0) is +1. The loss is never larger than at the start with its best scale. The
    result does not depend on the order of the coordinates if the entries on the diagonal of S are distinct.

    Args:
        kernel: (d, units) array_like of finite numbers, w.
        second_moment: (d, d) array_like, S: symmetric and positive semidefinite, the second moment or the covariance
            of the inputs, such as `SecondMoments(d).update(rows).covariance`.
        levels: (k,) array_like of distinct numbers, k >= 2, such as (-1, 0, 1) or `lloyd_max(4)[1]`; or an int k >= 2
            for the k evenly spaced integers around 0: 2 means (-1, 1), 3 (-1, 0, 1), and 4 (-3, -1, 1, 3).
        restarts: int, >= 0. Each restart draws some levels of the best q anew, repeats the descent, and keeps the units
            that are better. It takes about a third of the time of the first descent.
        seed: int, of the restarts.

    Returns:
        FittedSigns

    Raises:
        ValueError: a shape, a number or a level is not as described above, or S is not symmetric or has negative
            eigenvalues.
    """
    w, s, levels = _checked(kernel, second_moment, levels)
    order = np.argsort(-np.diag(s), kind="stable")
    w, s = np.ascontiguousarray(w[order].T), s[np.ix_(order, order)]
    start = _nearest(w, levels)
    descent = _Descent(w, s, levels, start)
    # The products with the start can be anticorrelated with those with w. The descent then approximates -w.
    opposite = descent.scale() < 0
    descent.negate(opposite)
    q, scale, loss = start.copy(), descent.scale(), descent.loss()
    start_loss, sweeps = loss.copy(), descent.run()
    descent.keep_better(q, scale, loss)
    rng, redrawn = np.random.default_rng(seed), max(REDRAWN, 2 / len(s))
    for _ in range(restarts):
        descent.move_to(np.where(rng.random(q.shape) < redrawn, rng.choice(levels, q.shape), q))
        descent.run()
        descent.keep_better(q, scale, loss)
    if np.any(loss < NEGATIVE * descent.size):
        raise ValueError(
            "second_moment: expected a positive semidefinite matrix, received negative eigenvalues"
        )
    changed = np.count_nonzero(q != start, axis=1)
    if np.array_equal(levels, -levels[::-1]):
        q[opposite] *= -1
    else:
        scale[opposite] *= -1
    quantized = np.empty(q.T.shape, _dtype(levels))
    quantized[order] = q.T
    return FittedSigns(quantized, scale, np.maximum(start_loss, 0), np.maximum(loss, 0), changed, sweeps)


def nearest_levels(kernel, levels=(-1, 1)):
    """Return the start of `fit_signs`, whatever the inputs are: the levels of the least squared error |w - scale q|^2.

    Args:
        kernel: (d, units) array_like of finite numbers, w.
        levels: as of `fit_signs`.

    Returns:
        (d, units) float64 array of levels, q.
    """
    return _nearest(np.asarray(kernel, np.float64).T, _level_values(levels)).T


def _checked(kernel, second_moment, levels):
    w, s = np.asarray(kernel, np.float64), np.asarray(second_moment, np.float64)
    if w.ndim != 2 or not np.isfinite(w).all():
        raise ValueError(f"kernel: expected finite numbers of shape (d, units), received shape {w.shape}")
    if s.shape != (len(w), len(w)) or not np.isfinite(s).all():
        raise ValueError(
            f"second_moment: expected finite numbers of shape {(len(w), len(w))}, received shape {s.shape}"
        )
    # The products of an asymmetric matrix and of its transpose with a random vector differ.
    x = np.random.default_rng(0).standard_normal(len(s))
    if np.any(np.abs(s @ x - x @ s) > 1e-6 * np.linalg.norm(x) * np.linalg.norm(s)) or np.any(np.diag(s) < 0):
        raise ValueError("second_moment: expected a symmetric matrix with a diagonal >= 0")
    return w, s, _level_values(levels)


def _level_values(levels):
    values = np.asarray(levels, np.float64)
    if values.ndim == 0:
        values = np.arange(1 - values, values, 2) / (2 if values % 2 else 1)
    found = np.unique(values)
    if len(found) < 2 or len(found) < values.size or not np.isfinite(found).all():
        raise ValueError(f"levels: expected at least two distinct finite numbers, received {levels!r}")
    return found


def _dtype(levels):
    whole = np.array_equal(levels, np.clip(np.round(levels), -128, 127))
    return np.int8 if whole else np.float64


class _Descent:
    """Coordinate descent for all units at once. Arrays of entries have the shape (units, d).

    The loss of a unit is w.Sw - fit, where fit = (q.Sw)^2 / q.Sq. Changing an entry of q needs only the entries of Sw
    and Sq there, so these products are kept up to date.
    """

    def __init__(self, w, s, levels, q):
        self.w, self.s, self.levels = w, s, levels
        self.sw = w @ s
        mean_variance = np.trace(s) / len(s)
        self.size = np.maximum(_dot(w, self.sw), _dot(w, w) * mean_variance)
        # If q.Sq is smaller, the products with q are only rounding.
        self.least = ROUNDING * mean_variance * len(s) * np.abs(levels).max() ** 2 or 1.0
        self.move_to(q)

    def negate(self, units):
        """Approximate the negative of the kernels of some units."""
        for x in (self.w, self.sw, self.num):
            x[units] *= -1

    def move_to(self, q):
        """Continue from the levels q."""
        self.q = q.copy()
        self.sq = q @ self.s
        self.num, self.den = _dot(q, self.sw), _dot(q, self.sq)

    def scale(self):
        """The best scale of each unit; if the products with q are 0, that of the least squared error of the kernel."""
        dead = self.den <= self.least
        num, den = (
            np.where(dead, _dot(self.q, self.w), self.num),
            np.where(dead, _dot(self.q, self.q), self.den),
        )
        return num / np.where(den > 0, den, 1)

    def loss(self):
        """The loss of each unit with its best scale."""
        scale = self.scale()[:, None]
        return _dot(self.w - scale * self.q, self.sw - scale * self.sq)

    def keep_better(self, q, scale, loss):
        """Replace the results of those units whose loss is lower here."""
        found = self.loss()
        better = found < loss
        q[better], scale[better], loss[better] = self.q[better], self.scale()[better], found[better]

    def run(self):
        """Change single entries until no change lowers the loss. Return the number of sweeps of each unit."""
        units = np.arange(len(self.q))
        rounding = ROUNDING * self.size
        largest = self._largest_improvement()
        for threshold in THRESHOLDS:
            self._sweep(units, np.maximum(threshold * largest, rounding))
        sweeps = np.full(len(self.q), len(THRESHOLDS))
        while units.size:
            sweeps[units] += 1
            units = self._sweep(units, rounding)
        self.move_to(self.q)  # without the rounding of many updates
        return sweeps

    def _blocks(self):
        return [slice(first, first + BLOCK) for first in range(0, len(self.s), BLOCK)]

    def _sweep(self, units, thresholds):
        """Visit all entries once, and make the changes that lower a loss by more than the unit's threshold.

        Returns:
            The units that changed, a subset of `units`.
        """
        changed = np.zeros(len(self.q), bool)
        for block in self._blocks():
            changed[self._visit(block, units, thresholds[units])] = True
        return np.flatnonzero(changed)

    def _visit(self, block, units, thresholds):
        """Visit the entries of a block in their order, and return the units that changed."""
        inner = self.s[block, block]
        places = np.arange(len(inner))
        q, sw, sq = (x[units, block] for x in (self.q, self.sw, self.sq))
        num, den, thresholds = self.num[units, None], self.den[units, None], thresholds[:, None]
        following = np.zeros(len(units), int)  # the entry from which on a unit continues
        rows = np.arange(len(units))
        # Each turn makes the next change of each unit, at an entry of its own.
        while rows.size:
            level, fit, new_num, new_den = self._best(
                q[rows], sw[rows], sq[rows], num[rows], den[rows], np.diag(inner)
            )
            improves = fit > self._fit(num[rows], den[rows]) + thresholds[rows]
            improves &= places >= following[rows, None]
            at = np.argmax(improves, axis=1)
            found = np.flatnonzero(improves[np.arange(len(rows)), at])
            rows, at = rows[found], at[found]
            num[rows, 0], den[rows, 0] = new_num[found, at], new_den[found, at]
            sq[rows] += (level[found, at] - q[rows, at])[:, None] * inner[at]
            q[rows, at] = level[found, at]
            following[rows] = at + 1
        change = q - self.q[units, block]
        moved = np.flatnonzero(change.any(axis=1))
        units, change = units[moved], change[moved]
        self.q[units, block] = q[moved]
        self.num[units], self.den[units] = num[moved, 0], den[moved, 0]
        if np.count_nonzero(change) < SPARSE * change.size:
            change = csr_array(change)
        self.sq[units] += change @ self.s[block]
        return units

    def _best(self, q, sw, sq, num, den, diagonal):
        """For each entry: its best level if only this entry changes, and the fit, the q.Sw and the q.Sq that result."""
        if len(self.levels) == 2:
            candidates = [np.where(q == self.levels[0], self.levels[1], self.levels[0])]
        else:
            # The fit increases up to its maximum over all real numbers, and decreases from there.
            with np.errstate(divide="ignore", invalid="ignore"):
                slope = sw * np.maximum(den, self.least) - num * sq
                curvature = num * diagonal - sq * sw
                top = q + np.where(curvature > 0, slope / curvature, np.copysign(np.inf, slope))
            upper = np.clip(np.searchsorted(self.levels, top), 1, len(self.levels) - 1)
            candidates = [self.levels[upper - 1], self.levels[upper]]
        tried = []
        for level in candidates:
            change = level - q
            new_num, new_den = num + change * sw, den + change * (2 * sq + change * diagonal)
            tried.append((level, self._fit(new_num, new_den), new_num, new_den))
        if len(tried) == 1:
            return tried[0]
        better = tried[1][1] > tried[0][1]
        return [np.where(better, y, x) for x, y in zip(*tried, strict=True)]

    def _largest_improvement(self):
        largest = np.zeros(len(self.q))
        num, den, diagonal = self.num[:, None], self.den[:, None], np.diag(self.s)
        for block in self._blocks():
            q, sw, sq = self.q[:, block], self.sw[:, block], self.sq[:, block]
            fit = self._best(q, sw, sq, num, den, diagonal[block])[1]
            largest = np.maximum(largest, (fit - self._fit(num, den)).max(axis=1))
        return largest

    def _fit(self, num, den):
        """By how much q with a positive scale lowers the loss of no kernel at all."""
        return np.where(den > self.least, np.maximum(num, 0), 0) ** 2 / np.maximum(den, self.least)


def _nearest(w, levels):
    """The levels that minimize |w - scale q|^2 over q and scale, (units, d) like w."""
    best = np.empty(w.shape)
    for unit, x in enumerate(w):
        best[unit], fit = _nearest_of_unit(x, levels)
        if not np.array_equal(levels, -levels[::-1]):  # then negative scales can be better
            negative, other_fit = _nearest_of_unit(-x, levels)
            best[unit] = negative if other_fit > fit else best[unit]
    return best


def _nearest_of_unit(x, levels):
    """The best q for positive scales, and (q.x)^2 / q.q.

    As the scale falls, the level of x_i changes where x_i / scale passes the middle of two levels. The sums q.x and q.q
    are followed through all these changes.
    """
    middle = (levels[1:] + levels[:-1]) / 2
    q = levels[
        np.searchsorted(middle, np.where(x < 0, -1, 1) * np.finfo(float).tiny * (x != 0), side="right")
    ]
    i, j = np.nonzero(x[:, None] * middle > 0)
    at = x[i] / middle[j]
    order = np.argsort(-at, kind="stable")
    i, j, at = i[order], j[order], at[order]
    up = np.sign(middle[j])
    num = np.cumsum(np.append(q @ x, up * np.diff(levels)[j] * x[i]))
    den = np.cumsum(np.append(q @ q, up * np.diff(levels**2)[j]))
    fit = np.where((num > 0) & (den > 0), num, 0) ** 2 / np.where(den > 0, den, 1)
    best = np.argmax(fit)
    if best > 0:
        scale = (at[best - 1] + np.append(at, 0)[best]) / 2
        q = levels[np.searchsorted(middle, x / scale, side="right")]
    return q, fit[best]


def _dot(x, y):
    return np.einsum("ud,ud->u", x, y)
