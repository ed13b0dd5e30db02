"""The kernels that a model multiplies with, and the levels that theory uses for them."""

import keras
import numpy as np
import pytest

from bnn.analysis import report
from bnn.analysis.keras import kernels
from bnn.geometry.named_quantizers import SIGN
from bnn.layers import QuantActivation, QuantConv2D, QuantDense, quantizers


def test_the_report_uses_the_threshold_of_the_layer():
    layer = QuantDense(4000, quantizers.OptimalTernary())
    model = keras.Sequential([keras.Input((50,)), layer])
    layer.kernel.assign(0.1 * np.random.default_rng(0).standard_normal((50, 4000)))
    (row,) = (one.statistics() for one in report.analyze(model, np.ones((2, 50), np.float32)))
    assert row["angle_theory_deg"] == pytest.approx(25.85, abs=0.05)
    assert row["angle_mean_deg"] == pytest.approx(25.85, abs=0.5)


@pytest.mark.parametrize("quantizer", [quantizers.OptimalTernary(), quantizers.AbsmeanTernary()])
def test_the_weights_between_the_thresholds_become_0(quantizer):
    """Also if they are far from Gaussian, so that their deviation does not give their mean absolute value."""
    layer = QuantDense(40, quantizer)
    model = keras.Sequential([keras.Input((50,)), layer])
    latent = np.random.default_rng(0).standard_t(3, (50, 40)).astype(np.float32)
    layer.kernel.assign(latent)
    (one,) = report.analyze(model, np.ones((2, 50), np.float32))
    low, high = one.thresholds()
    np.testing.assert_array_equal(
        one.kernels.quantized.reshape(50, 40) == 0, (low < latent) & (latent < high)
    )
    assert np.mean(one.kernels.quantized == 0) > 0.2


def test_scaled_signs_give_the_same_report_as_signs():
    """All is equal except the slope, and the histograms, whose cells depend on whether products are integers."""
    reports = []
    for quantizer in (quantizers.Sign(), quantizers.MagnitudeAwareSign()):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((51,)), QuantActivation(quantizers.Sign()), QuantDense(40, quantizer)]
        )
        x = np.random.default_rng(0).standard_normal((100, 51)).astype(np.float32)
        (one,) = report.analyze(model, x)
        reports.append(one)
    rows = [one.statistics() for one in reports]
    for name in ("angle_mean_deg", "angle_theory_deg", "sign_flips", "zeros"):
        assert rows[1][name] == pytest.approx(rows[0][name], abs=1e-3)
    assert rows[1]["r_weights"] == pytest.approx(rows[0]["r_weights"], abs=0.02)
    used = [np.count_nonzero(one.histograms["weights"].counts.sum(axis=1)) for one in reports]
    assert used[1] > used[0] > 10


# ---- custom quantizers ----


def steps(x):
    """Quantize each unit of a (3, 3, channels, units) kernel with its own threshold."""
    return keras.ops.where(x > keras.ops.mean(x, axis=(0, 1, 2)), 1.0, -0.5)


class Own(quantizers.Quantizer):
    def __init__(self, levels, **attributes):
        self.levels = levels
        vars(self).update(attributes)

    def __call__(self, x):
        return steps(x)


def product_of(quantizer):
    layer = QuantConv2D(5, 3, quantizer)
    model = keras.Sequential([keras.Input((6, 6, 4)), layer])
    (product,) = kernels.find(model)
    return product, model


def test_a_custom_quantizer_makes_the_quantized_kernel():
    product, model = product_of(steps)
    quantized, latent = (kernel[:, 0] for kernel in product.kernels)
    np.testing.assert_array_equal(quantized, np.where(latent > latent.mean(axis=0), 1, -0.5))
    assert (product.quantizer, product.scalar) == (steps, None)
    (layer,) = report.analyze(model, np.random.default_rng(0).standard_normal((20, 6, 6, 4)))
    assert np.isnan(layer.statistics()["angle_theory_deg"])
    assert 0 < layer.statistics()["angle_mean_deg"] < 90
    assert 0 < layer.r_rotated < 1


def test_columns_are_quantized_in_the_shape_of_the_kernel():
    product, _ = product_of(steps)
    columns = np.random.default_rng(0).standard_normal((36, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        product.quantize(columns), np.where(columns > columns.mean(axis=0), 1, -0.5)
    )


@pytest.mark.parametrize(
    ("quantizer", "name"),
    [
        (Own(2), "sign"),
        (Own(3, threshold=0.25), "ternary:0.25"),
        (Own(3, threshold=None), "ternary"),
        (quantizers.AbsmeanTernary(), "ternary:0.398942 sigma"),
        (Own(3), None),
        (Own(4), None),
        (Own(None), None),
    ],
)
def test_theory_uses_the_levels_that_a_quantizer_declares(quantizer, name):
    scalar = product_of(quantizer)[0].scalar
    assert (scalar and scalar.name) == name
    assert (scalar is SIGN) == (name == "sign")
