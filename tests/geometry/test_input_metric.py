"""Angles in the metric of the inputs, and the split of a residual's gain, against sampled products and direct sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn.geometry import (
    SecondMoments,
    angle,
    angle_inputs,
    exact_r,
    gains,
    r_three_numbers,
    residual_gain_split,
    sign,
    two_number_r,
)
from bnn.geometry.moments import UnitMoments


def inputs_and_kernels(d, units, seed, decay=1.0, n=100):
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((d, d)))[0]
    rows = rng.standard_normal((n, d)) * np.arange(1.0, d + 1) ** -decay @ directions + rng.standard_normal(d)
    return rows, rng.standard_normal((d, units)) * rng.uniform(0.1, 3, units)


def covariance(rows):
    return SecondMoments(rows.shape[1]).update(rows).covariance


@given(st.integers(2, 40), st.floats(0, 2), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_the_cosine_is_the_correlation_of_the_products(d, decay, seed):
    rows, latent = inputs_and_kernels(d, 4, seed, decay)
    quantized = sign(latent) * [1, -1, 0.1, 7]
    found = angle_inputs(latent, quantized, covariance(rows))
    for unit in range(4):
        r = np.corrcoef(rows @ latent[:, unit], rows @ quantized[:, unit])[0, 1]
        assert np.cos(np.radians(found[unit])) == pytest.approx(r, abs=1e-9)
    uncentered = angle_inputs(latent, quantized, rows.T @ rows / len(rows))
    assert np.radians(uncentered) == pytest.approx(angle(rows @ latent, rows @ quantized, axis=0), abs=1e-6)


def test_angles_in_closed_form():
    latent, quantized = (
        np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]),
        np.array([[1.0, 1.0, -2.0], [1.0, 1.0, -2.0]]),
    )
    assert angle_inputs(latent, quantized, np.eye(2)) == pytest.approx([45, 0, 180], abs=1e-12)
    assert angle_inputs(latent, quantized, np.diag([1.0, 3.0]))[0] == pytest.approx(60)
    correlated = np.array([[1, 0.5], [0.5, 1]])  # the cosine is 1.5 / sqrt(3)
    assert angle_inputs(latent, quantized, correlated)[0] == pytest.approx(30)
    w = np.random.default_rng(0).standard_normal((30, 5))
    assert angle_inputs(w, sign(w), np.eye(30)) == pytest.approx(np.degrees(angle(w, sign(w), axis=0)))
    tiny = w + 1e-9 * np.eye(30)[:, :1]
    assert np.radians(angle_inputs(w, tiny, np.eye(30))) == pytest.approx(angle(w, tiny, axis=0), rel=1e-6)


def test_kernels_whose_products_do_not_vary_have_no_angle():
    s = np.diag([1.0, 2.0, 0.0])
    latent = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 5.0, 1.0]])
    quantized = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    assert np.isnan(angle_inputs(latent, quantized, s)).tolist() == [True, True, False]
    assert angle_inputs(latent, quantized, s)[2] == 0
    assert np.isnan(angle_inputs(latent, 0 * latent, s)).all()
    null = np.array([[1.0], [1.0], [-2.0]])  # in the null space, up to rounding
    v = np.array([[0.1, 0.7, 0.4], [0.3, -0.2, 0.05]])
    assert np.isnan(angle_inputs(null, np.ones((3, 1)), v.T @ v)).all()
    with pytest.raises(
        ValueError, match=r"expected shapes \(d, units\), \(d, units\) and \(d, d\), received"
    ):
        angle_inputs(latent, quantized[:, :2], s)
    with pytest.raises(ValueError, match=r"received \(3, 3\), \(3, 3\) and \(2, 2\)"):
        angle_inputs(latent, quantized, np.eye(2))


def measured(rows, latent, quantized):
    moments = UnitMoments(latent.shape[1]).update(rows @ quantized, rows @ latent)
    return gains(quantized, latent, moments, rows.var(axis=0).mean())


@given(st.integers(2, 40), st.floats(0, 2), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_tangents_of_the_two_angles_differ_by_the_gains(d, decay, seed):
    """tan^2 of the angle in the metric of the inputs is (tan^2(theta) g_e / g - kappa^2) / (1 + kappa)^2."""
    rows, latent = inputs_and_kernels(d, 3, seed, decay)
    quantized = sign(latent)
    g = measured(rows, latent, quantized)
    theta = angle(quantized, latent, axis=0)
    t2 = np.tan(theta) ** 2 * g.residual_gain / g.gain
    phi = np.arctan2(np.sqrt(np.maximum(t2 - g.kappa**2, 0)), 1 + g.kappa)
    assert np.degrees(phi) == pytest.approx(angle_inputs(latent, quantized, covariance(rows)), abs=1e-4)
    three = r_three_numbers(theta, g.gain, g.residual_gain)
    small = np.abs(g.kappa) < 0.05
    first_order = three + g.kappa * t2 / (1 + t2) ** 1.5
    assert g.r[small] == pytest.approx(first_order[small], abs=2e-3)


def test_three_numbers_in_closed_form():
    assert r_three_numbers(np.radians(45), 4, 2) == pytest.approx(1 / np.sqrt(1.5))
    assert r_three_numbers(np.radians(135), 4, 2) == pytest.approx(-1 / np.sqrt(1.5))
    theta, g = np.linspace(0.1, 3, 20), np.linspace(0.3, 20, 20)
    assert r_three_numbers(theta, g, 1) == pytest.approx(two_number_r(theta, g))
    assert r_three_numbers(theta, g, 1.7) == pytest.approx(exact_r(theta, g, 1.7, 0))
    assert r_three_numbers(theta, g, 0) == pytest.approx(np.sign(np.cos(theta)))
    assert r_three_numbers([0, np.pi], np.nan, np.nan).tolist()[0] == 1
    for arguments in ((np.nan, 1, 1), (0.5, np.nan, 1), (0.5, 1, np.nan)):
        assert np.isnan(r_three_numbers(*arguments))
    assert r_three_numbers(np.zeros((3, 1)), np.ones(2), 1).shape == (3, 2)


def direct_parts(e, groups):
    parts = np.zeros((3, *e.shape))
    for unit in range(e.shape[1]):
        parts[0, :, unit] = np.mean(e[:, unit])
        for group in set(groups):
            here = np.array([g == group for g in groups])
            parts[1, here, unit] = np.mean(e[here, unit]) - np.mean(e[:, unit])
    parts[2] = e - parts[0] - parts[1]
    return parts


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_the_parts_of_the_residual_gain_have_its_sum(d, channels, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, channels, d)  # of unequal sizes, in any order
    rows, e = inputs_and_kernels(d, 3, seed)
    s = covariance(rows)
    found = residual_gain_split(e, s, groups)
    variance = np.trace(s) / d
    for unit in range(3):
        x = e[:, unit]
        assert found.total[unit] == pytest.approx(x @ s @ x / (x @ x * variance), rel=1e-9, abs=1e-9)
        parts = direct_parts(e, groups.tolist())[:, :, unit]
        assert found.share[:, unit] == pytest.approx([p @ p / (x @ x) for p in parts], abs=1e-12)
        assert found.share[:, unit].sum() == pytest.approx(1)
        for k, p in enumerate(parts):
            if p @ p > 1e-12 * (x @ x):
                assert found.gain[k, unit] == pytest.approx(p @ s @ p / (p @ p * variance), abs=1e-9)
        cross = [2 * parts[j] @ s @ parts[k] / (x @ x * variance) for j, k in ((0, 1), (0, 2), (1, 2))]
        assert found.cross[:, unit] == pytest.approx(cross, abs=1e-9)


def test_the_split_agrees_with_the_residual_gain():
    taps, channels = 9, 4
    rows, latent = inputs_and_kernels(taps * channels, 5, 0)
    quantized = sign(latent)
    alpha = np.sum(quantized * latent, axis=0) / np.sum(latent**2, axis=0)
    e = quantized - alpha * latent
    groups = np.tile(np.arange(channels), taps)
    found = residual_gain_split(e, covariance(rows), groups)
    assert found.total == pytest.approx(measured(rows, latent, quantized).residual_gain)
    names = np.array(list("abcd"))[groups]  # channels can have any names
    np.testing.assert_array_equal(residual_gain_split(e, covariance(rows), names).share, found.share)
    moved = e.reshape(taps, channels, 5).swapaxes(0, 1).reshape(-1, 5)
    assert residual_gain_split(
        moved, np.eye(36), np.repeat(np.arange(channels), taps)
    ).share == pytest.approx(found.share)


def test_parts_that_do_not_exist():
    rng = np.random.default_rng(0)
    e, s = rng.standard_normal((6, 3)), np.cov(rng.standard_normal((6, 50)))
    dense = residual_gain_split(e, s, np.zeros(6))
    assert not dense.share[1].any() and np.isnan(dense.gain[1]).all()
    one_tap = residual_gain_split(e, s, np.arange(6))
    assert not one_tap.share[2].any() and np.isnan(one_tap.gain[2]).all()
    for found in (dense, one_tap):
        assert found.total == pytest.approx(
            np.einsum("du,du->u", e, s @ e) / np.sum(e**2, axis=0) * 6 / np.trace(s)
        )
    nothing = residual_gain_split(np.zeros((6, 2)), s, np.zeros(6))
    assert np.isnan(nothing.share).all() and np.isnan(nothing.gain).all() and np.isnan(nothing.total).all()
    constant = residual_gain_split(e, np.zeros((6, 6)), np.arange(6))
    assert np.isnan(constant.gain).all() and np.isnan(constant.total).all()
    with pytest.raises(
        ValueError, match=r"expected shapes \(d, units\), \(d, d\) and \(d,\), received .*\(5,\)"
    ):
        residual_gain_split(e, s, np.zeros(5))
