"""The number of levels that a kernel needs: the prediction from the gain against quantized kernels."""

import functools

import numpy as np
import pytest

from bnn.analysis import from_arrays, report
from bnn.analysis.core import levels
from bnn.geometry import levels_needed

RNG = np.random.default_rng(0)


@functools.cache
def layer(stretch, quantizer="sign", units=40):
    """A Gaussian kernel; the larger `stretch`, the more it is aligned with a few directions of the inputs."""
    spread = np.where(np.arange(400) < 40, stretch, 1.0)
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((4000, 400)) * spread
    mix, _ = np.linalg.qr(rng.standard_normal((400, 400)))
    kernel = rng.standard_normal((400, units)) * np.sqrt(spread)[:, None]
    return from_arrays(mix @ kernel, inputs @ mix.T, quantizer=quantizer, name=f"stretch {stretch}")


@pytest.mark.parametrize("stretch", [1, 3, 10])
def test_predicted_r_is_that_of_the_quantized_kernel(stretch):
    gains = layer(stretch).gains.gain
    for k in (2, 3, 4, 8):
        found = layer(stretch, f"lloyd-max:{k}")
        assert levels.predicted_r(gains, k) == pytest.approx(found.r_within, abs=0.02)


def test_levels_are_the_smallest_number_that_reaches_r():
    layers = [layer(stretch) for stretch in (1, 3, 10)]
    rows = levels.needed(report.Report(layers), 0.95)
    assert [row.levels for row in rows] == sorted((row.levels for row in rows), reverse=True)
    for row, found in zip(rows, layers, strict=True):
        assert levels.predicted_r(found.gains.gain, row.levels) >= 0.95
        assert row.levels == 2 or levels.predicted_r(found.gains.gain, row.levels - 1) < 0.95
        assert (row.weights, row.units, row.trusted) == (400 * 40, 40, True)
        assert row.size == pytest.approx(16000 * np.log2(row.levels) + 40 * 32)


def test_units_with_equal_gain_need_the_levels_of_the_formula():
    for gain in (0.5, 1, 5, 20):
        assert levels.fewest(np.full(3, gain), 0.95) == levels_needed(gain, 0.95)
    assert levels.fewest(np.array([np.nan, 5.0]), 0.95) == levels_needed(5, 0.95)
    assert levels.fewest(np.array([np.nan]), 0.95) is None
    assert levels.fewest(np.array([1e-9]), 0.95) is None


def test_a_layer_whose_signs_were_trained_is_marked():
    """The signs are aligned with inputs that the latent weights nearly ignore."""
    inputs = RNG.standard_normal((500, 50)) * np.where(np.arange(50) < 5, 10, 1)
    kernel = RNG.standard_normal((50, 8))
    kernel[:5] *= 0.01
    (row,) = levels.needed([from_arrays(kernel, inputs)], 0.9)
    assert not row.trusted
    assert f"{row.levels}*" in levels.text([row], 0.9) or "more*" in levels.text([row], 0.9)
    assert "its signs were trained" in levels.text([row], 0.9)


def test_a_kernel_without_a_gain_needs_no_number_of_levels():
    """Constant inputs do not vary along any direction."""
    constant = from_arrays(
        np.random.default_rng(1).standard_normal((50, 8)), np.ones((30, 50)), name="constant"
    )
    aligned = layer(3)
    both, one = (levels.text(levels.needed(found, 0.9), 0.9) for found in ([constant, aligned], [aligned]))
    assert both.splitlines()[2].split() == ["constant", "400", "-", "-", "-"]
    assert both.splitlines()[-1] == one.splitlines()[-1].replace(
        "all kernels", "the kernels that have a gain"
    )
    assert "bits per weight" not in levels.text(levels.needed([constant], 0.9), 0.9)


def test_a_correlation_is_between_0_and_1():
    with pytest.raises(ValueError, match=r"r: expected a number between 0 and 1, received 1\.5"):
        levels.needed([], 1.5)
