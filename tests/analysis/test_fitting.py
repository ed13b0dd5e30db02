"""Levels that are fitted to one half of the images; every statistic is of the other half."""

import keras
import numpy as np
import pytest
from keras import layers

from bnn import geometry
from bnn.analysis import ReportError, analyze, from_arrays
from bnn.analysis.core import fitting
from bnn.console.errors import ConfigError
from bnn.layers import QuantDense, Sign

SEED = 3


@pytest.fixture(scope="module")
def images():
    """Smooth images, whose entries are correlated."""
    images = np.random.default_rng(0).standard_normal((61, 8, 8, 2)).cumsum(axis=1).cumsum(axis=2)
    return (images + np.arange(8)[:, None]).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(6, 3, name="conv"), layers.Flatten(), layers.Dense(4, name="dense")]
    return keras.Sequential([keras.Input((8, 8, 2)), *parts])


def halves(n):
    order = np.random.default_rng([SEED, 1]).permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 :])


def test_signs_are_fitted_to_one_half_and_measured_on_the_other(model, images):
    report = analyze(model, images, quantizer="fitted", seed=SEED)
    first, second = halves(len(images))
    assert report.about["images"] == 31 and report.about["fitted_images"] == 30
    assert "geometry over 31 images, of kernels fitted to 30 others" in str(report)
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(len(images), -1, 18).astype(np.float64)
    kernel = np.asarray(model.layers[0].kernel).reshape(18, 6).astype(np.float64)
    rows = patches[first].reshape(-1, 18)
    s = np.cov(rows, rowvar=False, bias=True)
    part = 18 / (18 + 10 * len(rows))
    fit = geometry.fit_signs(kernel, (1 - part) * s + part * np.diag(np.diag(s)))
    conv = report["conv"]
    np.testing.assert_allclose(conv.kernels.quantized, fit.scale * fit.quantized, rtol=1e-3)
    rows = patches[second].reshape(-1, 18)
    r = [np.corrcoef(rows @ q, rows @ w)[0, 1] for q, w in zip(fit.quantized.T, kernel.T, strict=True)]
    np.testing.assert_allclose(conv.gains.r, r, atol=1e-4)
    plain = analyze(model, images[second], score_images=0)["conv"]
    assert conv.r_within > plain.r_within and conv.angle_mean_deg > plain.angle_mean_deg
    assert np.isnan(conv.r_rotated) and fitting.NO_ROTATION in report.undefined["r_rotated"]
    assert 0 < report["dense"].r_scores <= 1
    for values in report["dense"].kernels.quantized.T:
        assert len(np.unique(values)) == 2


def test_images_of_the_other_half_do_not_change_the_kernels(model, images):
    changed = images.copy()
    changed[halves(len(images))[1]] *= -3
    one, other = (
        analyze(model, x, quantizer="fitted:3", seed=SEED, score_images=0) for x in (images, changed)
    )
    for before, after in zip(one, other, strict=True):
        np.testing.assert_array_equal(before.kernels.quantized, after.kernels.quantized)
        assert len(np.unique(before.kernels.quantized[:, 0])) == 3
        assert before.r_within != after.r_within


def test_arrays_are_fitted_and_measured_in_the_same_way():
    rng = np.random.default_rng(1)
    inputs = (rng.standard_normal((400, 12)) @ rng.standard_normal((12, 12))).astype(np.float32)
    kernel = rng.standard_normal((12, 3)).astype(np.float32)
    layer, plain = from_arrays(kernel, inputs, quantizer="fitted"), from_arrays(kernel, inputs)
    assert layer.weights.count == 200 * 3 and layer.r_within > plain.r_within
    with pytest.raises(ReportError, match="inputs: expected at least 2"):
        from_arrays(kernel, inputs[:1], quantizer="fitted")


def test_what_cannot_be_fitted_is_said_in_one_line(model, images, monkeypatch):
    with pytest.raises(ReportError, match="images: expected at least 2, half to fit levels to"):
        analyze(model, images[:1], quantizer="fitted")
    for name in ("fitted:1", "fitted:257", "fitted:", "fitted:x"):
        with pytest.raises(ConfigError, match=f"expected fitted or fitted:LEVELS .* received '{name}'"):
            analyze(model, images, quantizer=name)
    found = analyze(model, images[:2], quantizer="fitted", score_images=0)
    assert found.unanalyzed == {"dense": "its levels cannot be fitted to a single input: give more images"}
    monkeypatch.setattr(fitting, "MOST_INPUTS", 100)
    found = analyze(model, images, quantizer="fitted", score_images=0)
    assert [layer.name for layer in found] == ["conv"]
    assert found.unanalyzed["dense"].startswith(
        "its levels cannot be fitted: the second moment of 216 inputs"
    )
    own = keras.Sequential([keras.Input((4,)), QuantDense(3, Sign())])
    with pytest.raises(ReportError, match="quantizer='fitted': expected kernels without a quantizer"):
        analyze(own, np.ones((4, 4), np.float32), quantizer="fitted")


def test_second_moments_that_do_not_fit_together_are_gathered_in_several_passes(model, images, monkeypatch):
    one = analyze(model, images, quantizer="fitted", score_images=0)
    monkeypatch.setattr(fitting, "MOST_ENTRIES", 1)
    several = analyze(model, images, quantizer="fitted", score_images=0)
    for a, b in zip(one, several, strict=True):
        np.testing.assert_array_equal(a.kernels.quantized, b.kernels.quantized)
