"""Quantizers given by name: their values, and their angles compared with sampled vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnn import geometry
from bnn.console.errors import ConfigError
from bnn.geometry import levels
from bnn.geometry.named_quantizers import named

VALUES = st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=20).map(lambda x: np.array(x, np.float32))


@given(VALUES)
def test_sign_and_ternary_equal_the_functions_of_the_library(x):
    np.testing.assert_array_equal(named("sign")(x), geometry.sign(x))
    for threshold in (0.0, 0.5, 1.0):
        np.testing.assert_array_equal(named(f"ternary:{threshold}")(x), geometry.ternarize(x, threshold))
    assert named("sign")(x).dtype == x.dtype


@given(VALUES, st.floats(0.1, 100))
def test_best_ternary_and_lloyd_max_scale_with_the_standard_deviation(x, scale):
    x = x.astype(np.float64)
    for name in ("ternary", "lloyd-max:3", "lloyd-max:4"):
        distance = np.abs(x[:, None] - named(name).edges(x.std())).min()
        if x.std() > 0.01 and distance > 1e-9:
            np.testing.assert_array_equal(named(name)(x), named(name)(x * scale))


def test_ternary_without_threshold_is_the_lloyd_max_quantizer_of_three_levels():
    x = np.random.default_rng(0).normal(0, 0.3, 1000)
    np.testing.assert_array_equal(named("ternary")(x), np.sign(named("lloyd-max:3")(x)))
    assert named("ternary").edges(0.3) == pytest.approx(
        0.3 * levels.best_ternary_threshold() * np.array([-1, 1])
    )


@pytest.mark.parametrize(
    "name", ["sign", "ternary", "ternary:0.1", "lloyd-max:2", "lloyd-max:4", "lloyd-max:9"]
)
@pytest.mark.parametrize("sigma", [0.05, 1.0])
def test_angles_agree_with_sampled_gaussian_weights(name, sigma):
    quantizer, d = named(name), 4096
    x = np.random.default_rng(0).normal(0, sigma, (300, d))
    angles = geometry.angle(x, np.stack([quantizer(row) for row in x]))
    assert quantizer.angle(d, sigma) == pytest.approx(
        angles.mean(), abs=5 * angles.std() / np.sqrt(300) + 1e-4
    )
    if not quantizer.relative:  # the theory assumes fixed thresholds
        assert quantizer.angle_std(d, sigma) == pytest.approx(angles.std(), rel=0.25)


def test_angles_of_constant_weights_are_nan():
    assert np.isnan(named("ternary:0.1").angle(10, 0.0))
    assert np.isnan(named("lloyd-max:4").angle_std(10, 0.0))
    np.testing.assert_array_equal(named("ternary")(np.zeros(3)), np.zeros(3))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Sign",
        "sign:1",
        "ternary:",
        "ternary:-1",
        "ternary:nan",
        "ternary:inf",
        "lloyd-max",
        "lloyd-max:1",
        "lloyd-max:257",
        "lloyd-max:2.5",
        "binary",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match="expected sign, ternary, ternary:THRESHOLD or lloyd-max:LEVELS"):
        named(name)
