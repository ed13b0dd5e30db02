"""Angle and gain: the identity for r, its two-number form, and the levels that are needed at a given gain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnn.geometry import (
    angle,
    exact_r,
    expected_sign_flips,
    gains,
    levels_needed,
    lloyd_max,
    sign,
    step_quantizer,
    two_number_r,
)
from bnn.geometry.moments import UnitMoments

QUANTIZERS = {
    "sign": sign,
    "ternary": lambda w: np.sign(w) * (np.abs(w) > 0.4),
    "scaled": lambda w: 0.37 * sign(w),
    "negative": lambda w: -sign(w),
    "four levels": step_quantizer(*lloyd_max(4)[:2]),
}


def measured(quantized, latent, inputs):
    """Compute the gains from moments of the products, streamed in uneven batches."""
    moments = UnitMoments(latent.shape[1])
    for part in np.array_split(inputs, [1, 3, len(inputs) // 2]):
        if len(part):
            moments.update(part @ quantized, part @ latent)
    return gains(quantized, latent, moments, inputs.var(axis=0).mean())


@given(
    st.sampled_from(sorted(QUANTIZERS)),
    st.integers(2, 60),
    st.integers(1, 5),
    st.floats(0, 2),
    st.integers(0, 2**32 - 1),
)
def test_the_identity_holds_for_any_spectrum_and_quantizer(name, d, units, decay, seed):
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, d + 1) ** -decay
    inputs = rng.standard_normal((300, d)) * spectrum + rng.standard_normal(d)
    latent = rng.standard_normal((d, units)) * rng.uniform(0.1, 3, units)
    quantized = np.asarray(QUANTIZERS[name](latent), float)
    found = measured(quantized, latent, inputs)
    theta = angle(quantized, latent, axis=0)
    alpha = np.sum(quantized * latent, axis=0) / np.sum(latent**2, axis=0)
    residual = quantized - alpha * latent
    for unit in range(units):
        if not quantized[:, unit].any():
            assert all(np.isnan(values[unit]) for values in found[:-1])
            continue
        r = np.corrcoef(inputs @ quantized[:, unit], inputs @ latent[:, unit])[0, 1]
        e, c = inputs @ residual[:, unit], inputs @ latent[:, unit]
        total = inputs.var(axis=0).mean()
        assert found.r[unit] == pytest.approx(r, abs=1e-9)
        assert found.gain[unit] == pytest.approx(c.var() / (total * latent[:, unit] @ latent[:, unit]))
        if np.isnan(found.residual_gain[unit]):
            assert abs(r) == pytest.approx(1)
            continue
        assert found.residual_gain[unit] == pytest.approx(
            e.var() / (total * residual[:, unit] @ residual[:, unit]), rel=1e-6
        )
        assert found.kappa[unit] == pytest.approx(
            np.cov(e, c, bias=True)[0, 1] / (alpha[unit] * c.var()), abs=1e-6
        )
        root = (
            1
            + 2 * found.kappa[unit]
            + np.tan(theta[unit]) ** 2 * found.residual_gain[unit] / found.gain[unit]
        )
        if root > 1e-3:
            exact = exact_r(theta[unit], found.gain[unit], found.residual_gain[unit], found.kappa[unit])
            assert exact == pytest.approx(r, abs=1e-6)


def test_kernels_unrelated_to_white_inputs_have_gain_1_and_r_equal_to_the_cosine():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((400, 50))
    found = measured(sign(latent), latent, rng.standard_normal((20_000, 400)))
    assert found.gain.mean() == pytest.approx(1, abs=0.01)
    assert found.r_two_numbers == pytest.approx(np.cos(angle(sign(latent), latent, axis=0)), abs=0.01)
    assert found.r == pytest.approx(found.r_two_numbers, abs=0.02)


def test_kernels_along_the_leading_direction_have_its_gain():
    rng = np.random.default_rng(0)
    d = 200
    latent = rng.standard_normal((d, 1))
    direction = latent[:, 0] / np.linalg.norm(latent)
    inputs = rng.standard_normal((20_000, d)) + 3 * rng.standard_normal((20_000, 1)) * direction
    found = measured(sign(latent), latent, inputs)
    assert found.gain[0] == pytest.approx(10 / (1 + 9 / d), rel=0.03)
    assert found.r[0] == pytest.approx(found.r_two_numbers[0], abs=0.02)


@pytest.mark.parametrize(
    ("quantized", "latent", "expected"),
    [
        (np.zeros(3), [1, 2, 3], "everything is NaN"),
        ([1, -1, 0], [1, 1, 1], "kappa is NaN"),
        ([2, 4, 6], [1, 2, 3], "no residual"),
        ([-2, -4, -6], [1, 2, 3], "no residual, opposite sign"),
    ],
)
def test_degenerate_kernels(quantized, latent, expected):
    inputs = np.random.default_rng(0).standard_normal((100, 3))
    found = measured(*(np.array(w, float)[:, None] for w in (quantized, latent)), inputs)
    if expected == "everything is NaN":
        assert all(np.isnan(values).all() for values in found[:-1])
    elif expected == "kappa is NaN":
        assert np.isnan(found.kappa).all() and found.r_two_numbers == pytest.approx(0, abs=1e-12)
    else:
        side = -1 if "opposite" in expected else 1
        assert np.isnan(found.residual_gain).all() and found.kappa == 0
        assert found.r_two_numbers == side and found.r == pytest.approx(side)


def test_units_that_do_not_vary_are_reported():
    inputs = np.zeros((50, 4))
    inputs[:, 0] = np.random.default_rng(0).standard_normal(50)
    inputs[:, 3] = 7.3
    latent = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.5, 1.0, 0.0], [0.1, 1.0, 3.0]])
    found = measured(sign(latent), latent, inputs)
    assert found.constant.tolist() == [False, True, False]  # the second unit's a.w_c is constant
    assert np.isnan(found.gain[1]) and np.isnan(found.r[1]) and np.isfinite(found.gain[[0, 2]]).all()
    quantized = sign(latent)
    quantized[0, 0] = 0
    assert measured(quantized, latent, inputs).constant.tolist() == [True, True, False]


def test_two_numbers_in_closed_form():
    assert two_number_r(np.radians(37.07), 1) == pytest.approx(np.cos(np.radians(37.07)))
    assert two_number_r(np.arccos(np.sqrt(2 / np.pi)), 7) == pytest.approx(
        1 / np.sqrt(1 + (np.pi / 2 - 1) / 7)
    )
    assert two_number_r([0, 0, 0.5], [0, np.nan, np.nan]).tolist()[:2] == [1, 1]
    assert np.isnan(two_number_r([0.5, np.nan], [np.nan, 1])).all()
    assert two_number_r([0, np.pi, np.pi / 2], 2.0) == pytest.approx([1, -1, 0], abs=1e-12)
    assert two_number_r(np.radians(120), 4) == pytest.approx(-two_number_r(np.radians(60), 4))
    assert np.isnan(two_number_r(np.nan, 1)) and np.isnan(two_number_r(1, np.nan))


def test_levels_needed_is_the_fewest_that_reach_r():
    gain = np.array([0.1, 0.5, 1, 3, 10, 100, np.nan])
    needed = levels_needed(gain, 0.95)
    for g, k in zip(gain[:-1], needed[:-1], strict=True):
        reached = [two_number_r(np.arccos(np.sqrt(1 - lloyd_max(n)[2])), g) for n in (max(k - 1, 2), k)]
        assert reached[1] >= 0.95 and (k == 2 or reached[0] < 0.95)
    assert needed[-1] == 0 and list(needed[:-1]) == sorted(needed[:-1], reverse=True)
    assert levels_needed(1e-9, 0.999) == 65
    with pytest.raises(ValueError, match="between 0 and 1"):
        levels_needed(1, 1.0)


@pytest.mark.parametrize("r", [-0.5, 0.0, 0.8, 0.97, 1.0])
def test_sign_flips_of_gaussian_pairs(r):
    x, noise = np.random.default_rng(0).standard_normal((2, 400_000))
    y = r * x + np.sqrt(1 - r**2) * noise
    assert expected_sign_flips(r) == pytest.approx(np.mean(x * y < 0), abs=0.004)
