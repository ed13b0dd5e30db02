"""Compact checkpoints are smaller, load like any other, and hold the same network."""

import keras
import numpy as np
import pytest

from bnn.layers import QuantDense, Sign, Ternary
from bnn.models import build_model, save_compact
from bnn.settings.config import ModelConfig

KINDS = {
    "binary": {},
    "ternary": {"levels": 3, "threshold": 0.02},
    "real first layer": {"first_layer": "real"},
    "rotated first layer": {"first_layer": "rotated"},
    "whitening": {"first_layer": "whitening"},
    "real last layer": {"last_layer": "real"},
    "continuous": {"continuous": True},
    "stochastic sign": {"estimator": "stochastic_sign"},
    "magnitude-aware sign": {"estimator": "magnitude_aware_sign"},
    "optimal ternary": {"levels": 3, "estimator": "optimal_ternary"},
}


def arrays(model):
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}


@pytest.mark.parametrize("kind", KINDS)
def test_a_compact_network_is_the_same_network(kind, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model(
        ModelConfig(input_shape=(8, 8, 3), conv=(16, 64), max_pool=(0, 1), fc=(64,), **KINDS[kind])
    )
    images = np.random.default_rng(0).integers(256, size=(20, 8, 8, 3), dtype=np.uint8)
    before, scores = arrays(model), model(images)
    model.save(tmp_path / "full.keras")
    save_compact(model, tmp_path / "compact.keras")
    loaded = keras.saving.load_model(tmp_path / "compact.keras")
    np.testing.assert_array_equal(loaded(images), scores)
    for path, values in arrays(loaded).items():
        np.testing.assert_allclose(values, before[path], rtol=2**-10, atol=2**-24)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compact.keras", "full.keras"]
    if kind in ("binary", "ternary"):
        sizes = [(tmp_path / f"{name}.keras").stat().st_size for name in ("compact", "full")]
        assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.parametrize("quantizer", [Sign(), Ternary(0.02)])
def test_no_weight_is_rounded_across_a_threshold(quantizer, tmp_path):
    """Some of the weights would be rounded to zero in float16, some to the threshold."""
    edges = np.array([-1e-12, 1e-12, -3e-8, 0, -0.0, 0.02, 0.0200001, -0.0200001, 0.019999], np.float32)
    inputs = keras.Input((len(edges),))
    layer = QuantDense(1, quantizer)
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(edges[:, None])
    wanted = keras.ops.convert_to_numpy(layer.quantized_kernel())
    save_compact(model, str(tmp_path / "compact.keras"))
    loaded = keras.saving.load_model(tmp_path / "compact.keras").layers[-1]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded.quantized_kernel()), wanted)
    kernel = keras.ops.convert_to_numpy(loaded.kernel)
    np.testing.assert_array_equal(kernel, kernel.astype(np.float16))


def test_a_kernel_with_weights_beyond_float16_is_not_rounded(tmp_path):
    inputs = keras.Input((2,))
    layer = QuantDense(1, Sign(), clip=1e6)
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign([[1e5], [0.1]])
    save_compact(model, tmp_path / "compact.keras")
    loaded = keras.saving.load_model(tmp_path / "compact.keras").layers[-1]
    np.testing.assert_array_equal(loaded.kernel, np.float32([[1e5], [0.1]]))
