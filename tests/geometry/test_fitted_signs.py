"""Signs and levels that are fitted to dot products: the promise, the optimum, a slow reference, invariances."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn.geometry import SecondMoments, fit_signs, lloyd_max, sign
from bnn.geometry.fitted_signs import THRESHOLDS

LEVELS = {
    "signs": (-1, 1),
    "ternary": (-1, 0, 1),
    "four": lloyd_max(4)[1],
    "uneven": (-8, -3, 0.5, 2),
    "positive": (1, 4),
}


def correlated(d, inputs=None, seed=0, decay=1.0):
    """The second moment of inputs whose standard deviations along random directions fall like a power."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((d, d)))[0]
    rows = rng.standard_normal((inputs or 5 * d, d)) * np.arange(1.0, d + 1) ** -decay @ directions
    return rows.T @ rows / len(rows)


def loss(w, q, s):
    """The loss of each unit with its best scale, by least squares on inputs with this second moment."""
    values, vectors = np.linalg.eigh(s)
    rows = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    target, products = rows @ w, rows @ q
    scale = [
        np.linalg.lstsq(p[:, None], t, rcond=None)[0][0] for p, t in zip(products.T, target.T, strict=True)
    ]
    return np.sum((target - scale * products) ** 2, axis=0)


def nearest(w, levels):
    """The nearest levels at the best of many scales of both signs, by the error of the kernel itself."""
    levels = np.sort(levels)
    middle = (levels[1:] + levels[:-1]) / 2
    found = np.empty(w.shape)
    for unit, x in enumerate(w.T):
        cuts = np.sort([s * abs(v / m) for v in x for m in middle if m for s in (-1, 1)])
        scales = np.concatenate([[-1e9, 1e9], (cuts[1:] + cuts[:-1]) / 2])
        tries = [levels[np.searchsorted(middle, x / s, side="right")] for s in scales if s]
        found[:, unit] = max(tries, key=lambda q: (q @ x) ** 2 / max(q @ q, 1e-300))
    return found


@given(
    st.sampled_from(sorted(LEVELS)),
    st.integers(1, 25),
    st.integers(1, 3),
    st.integers(1, 60),
    st.floats(0, 2),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_the_loss_is_never_larger_than_that_of_the_nearest_levels(name, d, units, inputs, decay, seed):
    """Few inputs make S singular."""
    rng = np.random.default_rng(seed)
    s = correlated(d, inputs, seed, decay)
    w = rng.standard_normal((d, units)) * rng.uniform(0.1, 3, units)
    levels = LEVELS[name]
    fit = fit_signs(w, s, levels)
    error = w - fit.scale * fit.quantized
    size = np.einsum("du,du->u", w, s @ w)
    assert np.isin(fit.quantized, levels).all()
    assert fit.loss == pytest.approx(np.einsum("du,du->u", error, s @ error), abs=1e-11 * size.max())
    assert (fit.loss <= fit.start_loss).all()
    start = nearest(w, levels)
    assert (fit.loss <= loss(w, start, s) + 1e-11 * size).all()
    if name == "signs":
        assert fit.start_loss == pytest.approx(loss(w, sign(w), s), abs=1e-11 * size.max())
        assert (fit.scale >= 0).all() and fit.quantized.dtype == np.int8


def reference(w, s, levels):
    """Coordinate descent for one unit by the definition: every loss is computed anew."""
    levels = np.sort(np.asarray(levels, float))
    order = np.argsort(-np.diag(s), kind="stable")

    def fit(q):
        return (q @ s @ w) ** 2 / (q @ s @ q) if q @ s @ q > 1e-9 else 0.0

    def best(q, i):
        tries = [np.where(np.arange(len(q)) == i, level, q) for level in levels if level != q[i]]
        return max(tries, key=fit)

    q = nearest(w[:, None], levels)[:, 0]
    largest = max(fit(best(q, i)) - fit(q) for i in order)
    sweeps = 0
    for threshold in itertools.chain(THRESHOLDS * largest, itertools.repeat(0)):
        before, sweeps = q, sweeps + 1
        for i in order:
            new = best(q, i)
            if fit(new) > fit(q) + max(threshold, 1e-12 * (w @ s @ w)):
                q = new
        if threshold == 0 and np.array_equal(q, before):
            return q * np.sign(q @ s @ w), sweeps


@pytest.mark.parametrize("name", ["signs", "ternary", "four"])
@pytest.mark.parametrize("d", [9, 40, 140])  # the last has two blocks
def test_it_equals_a_slow_coordinate_descent(name, d):
    s = correlated(d, seed=d, decay=0.7)
    w = np.random.default_rng(d).standard_normal((d, 1 if d > 100 else 3))
    fit = fit_signs(w, s, LEVELS[name])
    for unit in range(w.shape[1]):
        q, sweeps = reference(w[:, unit], s, LEVELS[name])
        np.testing.assert_array_equal(fit.quantized[:, unit], q)
        assert fit.sweeps[unit] == sweeps
        start = nearest(w[:, unit : unit + 1], LEVELS[name])[:, 0]
        assert fit.changed[unit] == np.count_nonzero(q != start * np.sign(start @ s @ w[:, unit]))


@pytest.mark.parametrize(
    ("decay", "restarts", "reached", "excess"),
    [(0.5, 0, 0.75, 0.05), (0.5, 20, 0.95, 0.01), (1, 0, 0.45, 0.25), (1, 20, 0.85, 0.05)],
)
def test_the_optimum_of_ten_weights(decay, restarts, reached, excess):
    """How often the descent reaches the optimum of all signs, and by how much it misses it on average."""
    d, s = 10, correlated(10, 60, decay=decay)
    w = np.random.default_rng(1).standard_normal((d, 200))
    every = np.array(list(itertools.product([-1, 1], repeat=d)))
    best = np.einsum("du,du->u", w, s @ w) - np.max(
        (every @ s @ w) ** 2 / np.einsum("nd,nd->n", every @ s, every)[:, None], axis=0
    )
    found = fit_signs(w, s, restarts=restarts)
    assert (found.loss >= best - 1e-12).all()
    assert np.mean(found.loss < best + 1e-9) > reached
    assert found.loss.mean() / best.mean() - 1 < excess
    assert found.start_loss.mean() / best.mean() > 1.3


def test_restarts_never_raise_the_loss_and_repeat():
    s, w = correlated(30), np.random.default_rng(0).standard_normal((30, 40))
    losses = [fit_signs(w, s, restarts=n).loss for n in (0, 1, 4)]
    assert (losses[1] <= losses[0]).all() and (losses[2] <= losses[1]).all()
    assert losses[2].mean() < 0.98 * losses[0].mean()
    np.testing.assert_array_equal(losses[2], fit_signs(w, s, restarts=4).loss)


@pytest.mark.parametrize("levels", [(-1, 1), (-1, 0, 1), 16])
def test_inputs_without_correlation_give_the_nearest_levels(levels):
    w = np.random.default_rng(0).standard_normal((50, 20))
    fit = fit_signs(w, 0.3 * np.eye(50), levels)
    assert not fit.changed.any()
    np.testing.assert_array_equal(fit.loss, fit.start_loss)
    if levels == (-1, 1):
        np.testing.assert_array_equal(fit.quantized, sign(w))
        assert fit.scale == pytest.approx(np.abs(w).mean(axis=0))
    elif levels == 16:
        uniform = np.abs(w - fit.scale * fit.quantized)
        inside = np.abs(w) < 16 * fit.scale
        assert (uniform[inside] <= np.broadcast_to(fit.scale, w.shape)[inside] * (1 + 1e-9)).all()
    else:  # the ternary optimum keeps the k largest magnitudes with the largest (sum of them)^2 / k
        size = -np.sort(-np.abs(w), axis=0)
        kept = np.argmax(np.cumsum(size, axis=0) ** 2 / np.arange(1, 51)[:, None], axis=0) + 1
        np.testing.assert_array_equal(np.abs(fit.quantized).sum(axis=0), kept)


def test_scales_and_the_order_of_the_coordinates_do_not_matter():
    s, rng = correlated(40), np.random.default_rng(0)
    w = rng.standard_normal((40, 10))
    fit = fit_signs(w, s)
    scaled = fit_signs(w * 2.0 ** np.arange(-5, 5), 8 * s)
    np.testing.assert_array_equal(scaled.quantized, fit.quantized)
    assert scaled.scale == pytest.approx(fit.scale * 2.0 ** np.arange(-5, 5))
    assert scaled.loss == pytest.approx(8 * fit.loss * 4.0 ** np.arange(-5, 5))
    order = rng.permutation(40)
    np.testing.assert_array_equal(
        fit_signs(w[order], s[np.ix_(order, order)]).quantized, fit.quantized[order]
    )
    np.testing.assert_array_equal(fit_signs(-w, s).quantized, -fit.quantized)
    half = fit_signs(w[:, ::2], s)
    np.testing.assert_array_equal(half.quantized, fit.quantized[:, ::2])


def test_fitted_signs_preserve_products_with_fresh_inputs():
    """Neighboring entries of smooth kernels and inputs are correlated, as in convolutions of images."""
    rng = np.random.default_rng(0)
    place = np.arange(200)
    root = np.linalg.cholesky(np.exp(-np.abs(place[:, None] - place) / 10) + 1e-9 * np.eye(200))
    w = root @ rng.standard_normal((200, 30)) + 0.5 * rng.standard_normal((200, 30))
    rows, fresh = (rng.standard_normal((1500, 200)) @ root.T for _ in range(2))
    fit = fit_signs(w, SecondMoments(200).update(rows).covariance)
    before, after = (
        np.mean([np.corrcoef(fresh @ q[:, i], fresh @ w[:, i])[0, 1] for i in range(30)])
        for q in (sign(w), fit.quantized)
    )
    assert before < 0.96 and after > 0.98


def test_kernels_and_inputs_without_products():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((6, 3))
    w[:, 1] = 0
    for levels, zero in ((-1, 1), 1), ((-1, 0, 1), 0):
        fit = fit_signs(w, correlated(6), levels)
        assert (fit.quantized[:, 1] == zero).all()
        assert fit.scale[1] == fit.loss[1] == fit.changed[1] == 0
        silent = fit_signs(
            w, np.zeros((6, 6)), levels
        )  # any scale has the loss 0; this one is near the kernel
        assert not silent.loss.any() and not silent.changed.any()
        assert silent.scale[0] == pytest.approx(
            silent.quantized[:, 0] @ w[:, 0] / np.sum(silent.quantized[:, 0] ** 2.0)
        )
    one = np.outer(np.ones(6), np.ones(6))  # one direction: some signs reach it exactly
    fit = fit_signs(w, one)
    assert fit.loss == pytest.approx(0, abs=1e-12)
    assert fit_signs(np.zeros((4, 0)), np.eye(4)).quantized.shape == (4, 0)


def test_opposite_signs_where_the_products_ask_for_them():
    """sign(w) is anticorrelated with these products: the scale stays positive."""
    w = np.array([[3.0], [-1.0], [-1.0], [-1.0]])
    s = np.outer([1.0, 2.0, 2.0, 2.0], [1.0, 2.0, 2.0, 2.0])
    fit = fit_signs(w, s)
    assert fit.scale[0] > 0 and fit.loss[0] == pytest.approx(0, abs=1e-12)


def test_an_integer_stands_for_evenly_spaced_levels():
    w = np.random.default_rng(0).standard_normal((200, 4))
    for k, expected in ((2, [-1, 1]), (3, [-1, 0, 1]), (4, [-3, -1, 1, 3]), (5, [-2, -1, 0, 1, 2])):
        fit = fit_signs(w, np.eye(200), k)
        assert np.unique(fit.quantized).tolist() == expected and fit.quantized.dtype == np.int8
    assert fit_signs(w, np.eye(200), lloyd_max(4)[1]).quantized.dtype == np.float64


@pytest.mark.parametrize(
    ("kernel", "second_moment", "levels", "message"),
    [
        (
            np.ones(3),
            np.eye(3),
            2,
            "kernel: expected finite numbers of shape (d, units), received shape (3,)",
        ),
        ([[np.nan]], [[1]], 2, "kernel: expected finite numbers"),
        (
            np.ones((3, 1)),
            np.eye(2),
            2,
            "second_moment: expected finite numbers of shape (3, 3), received shape (2, 2)",
        ),
        (np.ones((1, 1)), [[np.inf]], 2, "second_moment: expected finite numbers"),
        (np.ones((2, 1)), [[1, 0.5], [0, 1]], 2, "second_moment: expected a symmetric matrix"),
        (
            np.ones((2, 1)),
            [[1, 0], [0, -1]],
            2,
            "second_moment: expected a symmetric matrix with a diagonal >= 0",
        ),
        ([[1.0], [0.2]], [[1, 3], [3, 1]], 2, "second_moment: expected a positive semidefinite matrix"),
        (np.ones((2, 1)), np.eye(2), 1, "levels: expected at least two distinct finite numbers, received"),
        (
            np.ones((2, 1)),
            np.eye(2),
            (1, 1),
            "levels: expected at least two distinct finite numbers, received (1, 1)",
        ),
        (np.ones((2, 1)), np.eye(2), (1, np.inf), "levels: expected"),
    ],
)
def test_messages(kernel, second_moment, levels, message):
    with pytest.raises(ValueError) as raised:
        fit_signs(kernel, second_moment, levels)
    assert message in str(raised.value)
