"""Closed forms against published values, identities and Monte Carlo (4.5 standard errors, fixed seeds)."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from bnn import geometry
from bnn.geometry import (
    angle,
    direction_angle_density,
    direction_cos_density,
    expected_cos2_sign,
    expected_cos_sign,
    predicted_correlation,
    predicted_correlation_permuted,
    random_rotation,
    sample_angles,
    sample_pair_angles,
    sampling,
    sign,
    std_angle_sign,
    ternarize,
    ternary_cos,
    ternary_zeros,
)

pytestmark = pytest.mark.filterwarnings("error")

Z = 4.5
VECTORS = arrays(
    np.float64, (2, 6), elements=st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-3)
).filter(lambda pair: np.all(np.any(pair, axis=1)))


def check_mean(sample, expected):
    error = sample.std() / np.sqrt(sample.size)
    assert abs(sample.mean() - expected) < Z * error, f"{sample.mean()} is not {expected} +- {error}"


def test_quantizers():
    x = np.array([-2.0, -0.5, -0.0, 0.0, 0.5, 2.0], np.float32)
    assert sign(x).dtype == ternarize(x, 0.5).dtype == np.float32
    np.testing.assert_array_equal(sign(x), [-1, -1, 1, 1, 1, 1])
    np.testing.assert_array_equal(ternarize(x, 0.5), [-1, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(ternarize(x, 0), [-1, -1, 0, 0, 1, 1])


@pytest.mark.parametrize("tilt", [0, 1e-12, 1e-6, 0.1, 1, np.pi / 2, 3, np.pi - 1e-6, np.pi])
@pytest.mark.parametrize("length", [5e-324, 1e-200, 1, 1e200])
def test_angle_is_accurate_at_every_angle_and_length(tilt, length):
    assert angle([length, 0.0], [np.cos(tilt), np.sin(tilt)]) == pytest.approx(tilt, rel=1e-14, abs=2e-16)


def test_angle_of_degenerate_vectors_is_nan_and_other_vectors_are_unaffected():
    u = np.array([[0.0, 0.0], [1.0, 0.0], [np.inf, 1.0], [np.nan, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(angle(u, [0.0, 2.0]), [np.nan, np.pi / 2, np.nan, np.nan, np.pi / 4])
    np.testing.assert_array_equal(angle([[2.0], [-2.0], [0.0]], [3.0]), [0, np.pi, np.nan])


def test_angle_along_an_axis():
    u, v = np.random.default_rng(0).standard_normal((2, 5, 4, 3))
    expected = np.arccos(np.sum(u * v, axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1))
    np.testing.assert_allclose(angle(u, v, axis=1), expected, rtol=1e-12)


@given(VECTORS, st.floats(1e-3, 1e3), st.permutations(range(6)), arrays(np.bool_, 6))
def test_angle_ignores_scale_order_and_signs_of_the_basis(pair, factor, order, flips):
    u, v = pair
    basis = np.where(flips, -1, 1)
    assert angle(factor * (basis * u)[order], (basis * v)[order]) == pytest.approx(angle(u, v), abs=1e-14)
    assert angle(v, u) == angle(u, v)
    assert angle(u, -v) == pytest.approx(np.pi - angle(u, v), abs=1e-14)


@pytest.mark.parametrize(
    ("d", "expected"), [(1, 1), (3, 0.86603), (10, 0.81805), (27, 0.80530), (1152, 0.79806)]
)
def test_expected_cos_sign_published(d, expected):
    assert expected_cos_sign(d) == pytest.approx(expected, abs=5e-6)


def test_expected_cos_sign_exact_and_asymptotic():
    assert expected_cos_sign([2, 3]) == pytest.approx([2 * np.sqrt(2) / np.pi, np.sqrt(3) / 2], rel=1e-14)
    d = np.array([10.0**k for k in range(4, 10)])
    series = np.sqrt(2 / np.pi) * (1 + 1 / (4 * d) + 1 / (32 * d**2))
    np.testing.assert_allclose(expected_cos_sign(d), series, rtol=1e-11)


def test_std_angle_sign_published():
    assert std_angle_sign(1) == pytest.approx(0.3522, abs=5e-5)
    assert np.degrees(std_angle_sign(4)) == pytest.approx(20.18 / 2, abs=5e-3)


@pytest.mark.parametrize("d", [1, 2, 3, 10, 27, 1152])
def test_sampled_angles_have_the_exact_moments(d):
    cosines = np.cos(sample_angles(d, 5000, sign, np.random.default_rng(d)))
    assert cosines.shape == (5000,)
    if d == 1:
        np.testing.assert_array_equal(cosines, 1)
    else:
        check_mean(cosines, expected_cos_sign(d))
        check_mean(cosines**2, expected_cos2_sign(d))


def test_spread_of_sampled_angles():
    angles = sample_angles(1000, 20_000, sign, np.random.default_rng(1))
    assert angles.std() == pytest.approx(std_angle_sign(1000), rel=Z / np.sqrt(2 * angles.size))


@pytest.mark.parametrize("d", [2, 3, 4, 10, 300])
def test_direction_densities(d):
    assert integrate.quad(direction_angle_density, 0, np.pi, args=(d,))[0] == pytest.approx(1, abs=1e-8)
    c = np.linspace(-0.99, 0.99, 7)
    beta = stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
    np.testing.assert_allclose(direction_cos_density(c, d), beta.pdf(c), rtol=1e-10)
    np.testing.assert_allclose(
        direction_angle_density(np.arccos(c), d), beta.pdf(c) * np.sqrt(1 - c**2), rtol=1e-10
    )
    angles = sample_pair_angles(d, 4000, np.random.default_rng(d))
    assert stats.kstest(np.cos(angles), beta.cdf).pvalue > 1e-5


def test_direction_densities_at_and_beyond_the_ends():
    np.testing.assert_array_equal(direction_cos_density([-2, -1, 1, 1.1], 2), [0, np.inf, np.inf, 0])
    np.testing.assert_allclose(direction_cos_density([-1, 0, 1], 3), [0.5, 0.5, 0.5], rtol=1e-15)
    np.testing.assert_array_equal(direction_angle_density([-0.1, 3.2], 5), [0, 0])
    with pytest.raises(ValueError, match=r"d: expected .* received 1"):
        direction_angle_density(0.5, 1)


@pytest.mark.parametrize(
    ("t", "degrees", "tolerance"),
    [(0, 37.07, 5e-3), (0.1, 34.15, 5e-3), (1 / 9, 33.84, 5e-3), (0.5, 26.32, 5e-3)],
)
def test_ternary_angle_published(t, degrees, tolerance):
    assert np.degrees(np.arccos(ternary_cos(t))) == pytest.approx(degrees, abs=tolerance)


def test_ternary_sampled():
    rng = np.random.default_rng(3)
    t, d = np.array([0.1, 0.612, 2.0]), 100_000
    angles = [sample_angles(d, 20, lambda x, s=s: ternarize(x, s), rng).mean() for s in t]
    np.testing.assert_allclose(np.cos(angles), ternary_cos(t), atol=2e-3)
    x = rng.standard_normal(d)
    np.testing.assert_allclose(
        [np.mean(ternarize(x, s) == 0) for s in t], ternary_zeros(t), atol=Z * 0.5 / np.sqrt(d)
    )


def test_ternary_tail():
    np.testing.assert_allclose(
        ternary_cos([0, 10]), [np.sqrt(2 / np.pi), np.sqrt(2 * 10.098 * stats.norm.pdf(10))], 1e-3
    )
    np.testing.assert_array_equal(ternary_cos([60, np.inf]), [0, np.nan])
    np.testing.assert_array_equal(ternary_zeros([0, 60]), [0, 1])


@pytest.mark.parametrize("d", [1, 2, 3, 10, 1000])
def test_expected_cos_of_equal_scales(d):
    assert geometry.expected_cos_sign_scaled([1.0] + [0.0] * (d - 1)) <= 1
    assert geometry.expected_cos_sign_scaled(np.full(d, 1e-9)) == pytest.approx(
        expected_cos_sign(d), rel=1e-10
    )
    assert geometry.expected_cos_sign_scaled([1.0] * d + [0.0] * d) == pytest.approx(
        expected_cos_sign(d) / np.sqrt(2), rel=1e-10
    )


@pytest.mark.parametrize("scale", [[1.0, 5.0], np.exp(0.1 * np.arange(1, 101)), np.exp(np.arange(1.0, 501))])
def test_expected_cos_of_unequal_scales(scale):
    angles = sample_angles(len(scale), 20_000, sign, np.random.default_rng(8), scale=scale)
    check_mean(np.cos(angles), geometry.expected_cos_sign_scaled(scale))


@pytest.mark.parametrize(("d", "plain", "rotated"), [(10, 36.8, 34.9), (100, 68.2, 36.9), (500, 80.5, 37.1)])
def test_exponential_covariance(d, plain, rotated):
    scale = np.exp(0.1 * np.arange(1, d + 1))
    rng = np.random.default_rng(d)
    assert np.degrees(sample_angles(d, 2000, sign, rng, scale=scale).mean()) == pytest.approx(plain, abs=0.6)
    rotations = [random_rotation(d, rng) for _ in range(1 + 200 // d)]
    angles = [sample_angles(d, 400, sign, rng, scale=scale, rotation=r).mean() for r in rotations]
    assert np.degrees(np.mean(angles)) == pytest.approx(rotated, abs=0.6)


def test_the_rotated_quantizer_is_compared_with_the_original_vector():
    d, scale = 5, np.arange(1.0, 6.0)
    rotation = random_rotation(d, np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((7, d)) * scale
    expected = angle(x, sign(x @ rotation.T) @ rotation)
    sampled = sample_angles(d, 7, sign, np.random.default_rng(1), scale=scale, rotation=rotation)
    np.testing.assert_allclose(sampled, expected, rtol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3, 50])
def test_random_rotation_is_a_rotation(d):
    rotation = random_rotation(d, np.random.default_rng(d))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(d), atol=1e-13)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_random_rotation_is_uniform():
    rng = np.random.default_rng(5)
    rotations = np.stack([random_rotation(4, rng) for _ in range(3000)])
    beta = stats.beta(
        1.5, 1.5, loc=-1, scale=2
    )  # the distribution of a coordinate of a uniform direction in R^4
    assert all(stats.kstest(rotations[:, i, j], beta.cdf).pvalue > 1e-5 for i in range(4) for j in range(4))


def test_samples_do_not_depend_on_the_size_of_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    assert sample_angles(3, 0, sign, rng).shape == sample_pair_angles(3, 0, rng).shape == (0,)
    monkeypatch.setattr(sampling, "CHUNK", 64)
    whole = angle(*(lambda x: (x, sign(x)))(np.random.default_rng(1).standard_normal((101, 7))))
    np.testing.assert_array_equal(sample_angles(7, 101, sign, np.random.default_rng(1)), whole)
    assert np.isnan(sample_angles(2, 3, np.zeros_like, rng)).all()


@pytest.fixture
def layer():
    """Correlated inputs (n, d) with nonzero means, latent kernels (d, units) and their signs."""
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((400, 12)) @ rng.standard_normal((12, 12)) + 3 * rng.standard_normal(12)
    latent = rng.standard_normal((12, 5)) + 0.1
    return rows, latent, sign(latent)


def test_predicted_correlation_equals_pearsons_on_the_same_inputs(layer):
    rows, latent, quantized = layer
    r = predicted_correlation(quantized, latent, rows.T @ rows / len(rows), rows.mean(axis=0))
    expected = stats.pearsonr((rows @ quantized).ravel(), (rows @ latent).ravel()).statistic
    assert r == pytest.approx(expected, rel=1e-12)


def test_predicted_correlation_of_one_unit_equals_the_papers_formula(layer):
    rows, latent, quantized = layer
    b, c, s = quantized[:, 0], latent[:, 0], np.cov(rows.T)
    expected = (b @ s @ c) / np.sqrt((b @ s @ b) * (c @ s @ c))
    assert predicted_correlation(b[:, None], c[:, None], s, np.zeros(12)) == pytest.approx(
        expected, rel=1e-14
    )


def test_predicted_correlation_permuted(layer):
    _, latent, quantized = layer
    exchangeable = 2.5 * np.eye(12) + 0.7**2
    expected = predicted_correlation(quantized, latent, exchangeable, np.full(12, 0.7))
    assert predicted_correlation_permuted(quantized, latent, 2.5 + 0.49, 0.7) == pytest.approx(
        expected, rel=1e-13
    )
    cosine = np.cos(angle(quantized[:, 0], latent[:, 0]))
    assert predicted_correlation_permuted(quantized[:, :1], latent[:, :1], 2.0, 0.0) == pytest.approx(cosine)


def test_predicted_correlation_degenerate(layer):
    rows, latent, quantized = layer
    mean, moment = rows.mean(axis=0), rows.T @ rows / len(rows)
    assert np.isnan(predicted_correlation(0 * quantized, latent, moment, mean))
    constant = np.full(12, 0.1)
    one = quantized[:, :1], latent[:, :1]
    assert np.isnan(predicted_correlation(*one, np.outer(constant, constant), constant))
    assert np.isnan(predicted_correlation_permuted(*one, 0.01, 0.1))
    assert predicted_correlation([[1.0]], [[0.3]], [[2.0]], [0.0]) == 1


def test_geometry_does_not_load_tensorflow():
    loaded = "{'tensorflow', 'keras', 'jax'} & set(sys.modules)"
    code = f"import sys, bnn.geometry, bnn.geometry.levels, bnn.geometry.streaming; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_randomly_rotated_keeps_lengths_and_angles():
    for d, k in ((7, 3), (3, 7), (5, 5), (1, 2)):
        vectors = np.random.default_rng(0).standard_normal((d, k))
        rotated = geometry.randomly_rotated(vectors, np.random.default_rng(1))
        np.testing.assert_allclose(rotated.T @ rotated, vectors.T @ vectors, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2])
def test_randomly_rotated_has_the_distribution_of_random_rotation(k):
    """The moments of each entry of the rotated vectors agree with those of Haar-distributed matrices."""
    vectors, rng, n = np.array([[3.0, 1], [0, 2], [0, 0]])[:, :k], np.random.default_rng(0), 4000
    ours = np.stack([geometry.randomly_rotated(vectors, rng).ravel() for _ in range(n)])
    haar = np.stack([(geometry.random_rotation(3, rng) @ vectors).ravel() for _ in range(n)])
    for x, y in ((ours, haar), (ours**2, haar**2), (ours**4, haar**4)):
        error = np.sqrt((x.var(axis=0) + y.var(axis=0)) / n)
        assert (np.abs(x.mean(axis=0) - y.mean(axis=0)) < 4.5 * error).all()
    assert np.abs(np.cov(ours.T) - np.cov(haar.T)).max() < 0.4
