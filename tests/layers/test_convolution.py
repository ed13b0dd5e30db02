"""Quantized convolutions on any backend, compared with the taps of a NumPy array, and their analysis."""

import keras
import numpy as np
import pytest

from bnn.analysis import analyze
from bnn.analysis.core.linear_maps import Convolution
from bnn.analysis.keras import geometry_log
from bnn.layers import QuantActivation, QuantConv2D, QuantDepthwiseConv2D, Sign
from bnn.packed import PackError, fold

OPTIONS = [
    {"padding": "valid", "strides": 2},
    {"dilation_rate": 2, "pad_values": -1},
    {"groups": 2, "pad_values": 1, "strides": 2},
    {"groups": 4, "pad_values": -1},
]


def network(options):
    """One convolution behind an activation, and images."""
    keras.utils.set_random_seed(0)
    layer = QuantConv2D(4, 3, Sign(), name="conv", **options)
    if options.get("groups") == 4:
        layer = QuantDepthwiseConv2D(3, Sign(), name="conv", pad_values=options["pad_values"])
    images = np.random.default_rng(0).standard_normal((20, 6, 5, 4)).astype(np.float32)
    return keras.Sequential([keras.Input((6, 5, 4)), QuantActivation(Sign()), layer]), images


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_analysis_multiplies_what_the_layer_multiplies(options):
    model, images = network(options)
    signs = np.where(images >= 0, 1, -1).astype(np.float32)
    kernel = np.asarray(model.get_layer("conv").kernel)
    groups, pad = options.get("groups", 1), options.get("pad_values", 0)
    strides, dilation = ((options.get(name, 1),) * 2 for name in ("strides", "dilation_rate"))
    padding = options.get("padding", "same")
    borders = Convolution((3, 3), strides, dilation, padding).borders(images.shape)
    padded = np.pad(signs, borders, constant_values=pad)
    # Every patch, cut out with NumPy.
    span = 2 * dilation[0] + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (span, span), axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[0], :, :: dilation[0], :: dilation[0]]
    patches = windows.transpose(0, 1, 2, 4, 5, 3)  # (n, rows, columns, 3, 3, channels)
    split = patches.reshape(*patches.shape[:-1], groups, -1)
    latent = kernel.reshape(3, 3, -1, groups, 4 // groups)
    quantized = np.where(latent >= 0, 1, -1)
    w_b, w_c = (
        np.einsum("nijabgc,abcgu->nijgu", split, k).reshape(*patches.shape[:3], 4)
        for k in (quantized, latent)
    )
    np.testing.assert_array_equal(model.predict(images, verbose=0), w_b)

    (layer,) = analyze(model, images)
    x, y = (products.reshape(-1, 4) for products in (w_b, w_c))
    r = np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(x.T, y.T, strict=True)])
    entries = split.reshape(-1, 9, groups, 4 // groups).var(axis=0).mean(axis=(0, 2))
    norms = (latent**2).sum(axis=(0, 1, 2)).reshape(-1)
    gain = np.mean(y.var(axis=0) / norms / np.repeat(entries, 4 // groups))
    (row,) = geometry_log.measure(model, images)
    for found in (layer.r_within, row["r_within"]):
        assert found == pytest.approx(r, abs=1e-4)
    for found in (layer.gain, row["gain"]):
        assert found == pytest.approx(gain, rel=1e-4)


@pytest.mark.parametrize(
    ("option", "value"),
    [("padding", "valid"), ("dilation_rate", 2), ("groups", 2), ("pad_values", 1), ("strides", 2)],
)
def test_the_packed_network_refuses_other_convolutions_by_name(option, value):
    model, _ = network({option: value})
    with pytest.raises(PackError, match=f"conv: expected {option} .*, received {value}"):
        fold(keras.Model(model.layers[1].input, model.layers[1].output))
