"""Statistics of degenerate networks and inputs: NaN exactly where undefined, and no warning."""

import json
import math

import keras
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from bnn import plots
from bnn.analysis import report
from bnn.analysis.core import statistics
from bnn.analysis.keras import geometry_log
from bnn.files import atomic
from bnn.models import build_model
from bnn.settings.config import ModelConfig

MEANS = {
    "gain",
    "gain_min",
    "r_within",
    "r_within_min",
    "r_two_numbers",
    "r_two_error",
    "r_three_numbers",
    "r_three_error",
    "angle_inputs_deg",
    "kappa",
    "kappa_median",
    "r_rotated",
}
PARTS = {f"residual_{part}_{kind}" for part in ("mean", "channels", "rest") for kind in ("share", "gain")}
RESIDUAL = {"residual_gain"} | PARTS
ONE_CHANNEL = {"residual_channels_gain"}  # the mean of all entries is that of the channel
ONE_TAP = {
    "residual_rest_gain"
}  # of a dense layer and of a 1 x 1 convolution: the means of channels leave nothing
CORRELATIONS = {"r_weights", "slope", "r_permuted"} | MEANS | RESIDUAL
ANGLES = {"angle_mean_deg", "angle_std_deg"}
SMALL = {"input_shape": (6, 6, 1), "conv": (3,), "max_pool": (1,), "fc": (4,), "bn_decay": 0.9}
ONE = {"input_shape": (1, 1, 1), "conv": (1,), "max_pool": (0,), "filter_size": 1, "fc": ()}
TERNARY = {"levels": 3, "threshold": 0.2}

# Settings; constant value of the weights of conv_1 or None; images; statistics of conv_1 and of dense_1 that are NaN.
CASES = {
    "an all-zero ternary kernel": (
        TERNARY,
        0.1,
        6,
        ANGLES | CORRELATIONS | {"angle_theory_deg", "r_scores"},
        CORRELATIONS | {"r_activations", "r_scores"},
    ),
    "latent weights of 0": ({}, 0.0, 6, ANGLES | CORRELATIONS - {"slope"} | {"r_scores"}, set()),
    "latent weights all alike": ({}, 0.3, 6, RESIDUAL, set()),
    "ternary weights all alike": (TERNARY, 0.7, 6, {"angle_theory_deg"} | RESIDUAL, None),
    "one unit": ({"conv": (1,), "fc": (1,)}, None, 6, set(), None),
    "one dimension": ({"conv": (2,), "max_pool": (0,), "filter_size": 1}, None, 6, RESIDUAL, None),
    "one dimension, one unit": (ONE, None, 6, RESIDUAL, None),
    "one dimension, one unit, one image": (
        ONE,
        None,
        1,
        CORRELATIONS | {"r_scores"},
        MEANS | RESIDUAL | {"r_scores"},
    ),
    "a continuous kernel of 0": ({"continuous": True}, 0.0, 6, ANGLES | CORRELATIONS, None),
}


def undefined(row):
    return {name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("settings", "value", "count", "first", "second"), CASES.values(), ids=CASES)
def test_nan_where_undefined_and_nowhere_else(settings, value, count, first, second, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(**SMALL | settings))
    if value is not None:
        kernel = model.get_layer("conv_1").kernel
        kernel.assign(np.full(kernel.shape, value, np.float32))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *model.input_shape[1:]), dtype=np.uint8)
    layers = report.analyze(model, images)
    rows = [layer.statistics() for layer in layers]
    assert undefined(rows[0]) == first
    if second is not None:
        assert undefined(rows[1]) == second
    for row in rows:
        assert all(0 <= row[name] <= 1 for name in ("sign_flips", "zeros"))
        assert all(
            -1 <= value <= 1 for name, value in row.items() if name[:2] == "r_" and value == value and value
        )
    atomic.write_json(tmp_path / "metrics.json", rows)
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert {name for name, value in read[0].items() if value is None} == first | {
        key for key, value in rows[0].items() if value is None
    }
    assert len(statistics.text_table(rows).splitlines()) == 1 + len(rows)
    for figure in (plots.latent_weights(layers), plots.dot_products(layers)):
        FigureCanvasAgg(figure).draw()
    geometry_log.measure(model, images)


def test_one_dimension_has_no_angle():
    """A number and its sign have the same direction."""
    model = build_model(ModelConfig(**SMALL | ONE))
    row = report.analyze(model, np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1))[0].statistics()
    assert (row["d"], row["angle_mean_deg"], row["angle_std_deg"]) == (1, 0, 0)
    assert row["angle_theory_deg"] == pytest.approx(0, abs=1e-5)
    assert row["r_weights"] == pytest.approx(1)


def test_layers_after_an_overflow_are_named_in_one_line():
    dense = [keras.layers.Dense(size, name=name) for size, name in ((8, "first"), (4, "second"), (2, "last"))]
    model = keras.Sequential([keras.Input((8,)), dense[0], keras.layers.Rescaling(1e5), *dense[1:]])
    for layer in model.layers:
        layer.dtype_policy = keras.DTypePolicy("mixed_float16")
    found = report.analyze(model, np.ones((6, 8), np.float32), score_images=0)
    assert len(found) == 1 and set(found.unanalyzed) == {"second", "last"}
    (line,) = (line for line in str(found).splitlines() if "overflows in float16" in line)
    assert line.startswith("not analyzed: second, last: its inputs are not finite")
