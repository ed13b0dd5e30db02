"""Every statistic of the report, compared with plain NumPy on the same tensors, with all images at once."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from bnn import geometry
from bnn.analysis import report
from bnn.analysis.core import layer_geometry
from bnn.analysis.keras import capture, kernels
from bnn.models import build_model
from bnn.settings.config import ModelConfig
from tests.support import KINDS, STATISTICS

THRESHOLD = KINDS["ternary"]["threshold"]


def random_network(kind):
    """Convolutions with and without pooling and two dense layers, with random weights."""
    config = ModelConfig(
        input_shape=(7, 7, 2), input_range=(-1.0, 1.0), conv=(4, 5), max_pool=(0, 1), fc=(6,), **KINDS[kind]
    )
    model, rng = build_model(config), np.random.default_rng(1)
    for weight in model.weights:
        low, high = (0.5, 3) if weight.name == "moving_variance" else (-0.9, 0.9)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


@pytest.fixture(scope="module", params=KINDS)
def analyzed(request):
    """(kind, network, images, layer reports)"""
    model = random_network(request.param)
    images = np.random.default_rng(2).integers(0, 256, (23, 7, 7, 2), dtype=np.uint8)
    return request.param, model, images, report.analyze(model, images, batch_size=5, seed=3)


# the same in NumPy


def quantized(x, kind):
    if kind == "binary":
        return np.where(x >= 0, 1.0, -1.0)
    return np.where(np.abs(x) > THRESHOLD, np.sign(x), 0.0)


def activation(x, kind):
    return np.clip(x, -1, 1) if kind == "continuous" else quantized(x, kind)


def windows(x, k=3):
    """(n, h, w, c) to the 3 x 3 patches (n, h, w, k k c) of a SAME convolution."""
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    height, width = x.shape[1:3]
    shifted = [padded[:, i : i + height, j : j + width] for i in range(k) for j in range(k)]
    return np.concatenate(shifted, axis=-1)


def product(x, kernel):
    """The linear map of a convolution or a dense layer in float64."""
    rows = windows(x) if kernel.ndim == 4 else x
    return rows @ kernel.reshape(-1, kernel.shape[-1])


def forward(model, images, kind):
    """For each quantized layer: (its input, the values before the quantizer or None, its latent kernel)."""
    weights = {
        (layer.name, w.name): w.numpy().astype(np.float64) for layer in model.layers for w in layer.weights
    }
    x, before = images / 127.5 - 1, None
    for name in ("conv_1", "conv_2", "dense_1", "dense_2"):
        if name == "dense_1":
            x, before = x.reshape(len(x), -1), before.reshape(len(x), -1)
        latent = weights[name, "kernel"]
        yield x, before, latent
        z = product(x, latent if kind == "continuous" else quantized(latent, kind))
        if name == "conv_2":
            z = z[:, :6, :6].reshape(len(z), 3, 2, 3, 2, -1).max(axis=(2, 4))
        offset, mean, variance = (
            weights[f"{name}_norm", w] for w in ("offset", "moving_mean", "moving_variance")
        )
        before = (z - mean) / np.sqrt(variance + 1e-3) + offset
        x = activation(before, kind)


def angle(u, v):
    return np.arccos(np.clip(u @ v / np.sqrt((u @ u) * (v @ v)), -1, 1))


def correlation(x, y):
    return np.corrcoef(x.ravel(), y.ravel())[0, 1]


# the statistics


def test_every_statistic_equals_the_direct_computation(analyzed):
    kind, model, images, layers = analyzed
    generators = np.random.default_rng(3).spawn(4)
    for layer, rng, (a, before, latent) in zip(layers, generators, forward(model, images, kind), strict=True):
        row = layer.statistics()
        w_c = latent.reshape(-1, latent.shape[-1])
        kernel = latent if kind == "continuous" else quantized(latent, kind)
        w_b = kernel.reshape(w_c.shape)
        assert (row["d"], row["units"]) == w_c.shape

        angles = np.degrees([angle(b, c) for b, c in zip(w_b.T, w_c.T, strict=True)])
        assert row["angle_mean_deg"] == pytest.approx(angles.mean(), abs=1e-5)
        assert row["angle_std_deg"] == pytest.approx(angles.std(), abs=1e-5)
        assert row["latent_std"] == pytest.approx(w_c.std(), rel=1e-6)
        assert row["zeros"] == pytest.approx(np.mean(w_b == 0))
        assert (row["zeros"] > 0) == (kind == "ternary")

        x, y = product(a, kernel), product(a, latent)
        flips = np.mean(x * y < 0)
        assert layer.weights.count == x.size
        assert row["r_weights"] == pytest.approx(correlation(x, y), abs=1e-5)
        assert row["slope"] == pytest.approx(np.polyfit(x.ravel(), y.ravel(), 1)[0], rel=1e-4)
        assert row["sign_flips"] == pytest.approx(flips, abs=2 / x.size)

        places(layer, rng, len(images))  # the first use of the generator
        permuted = np.stack([rng.permuted(image.ravel()).reshape(image.shape) for image in a])
        expected = correlation(product(permuted, kernel), product(permuted, latent))
        assert row["r_permuted"] == pytest.approx(expected, abs=1e-5)

        if before is None:
            assert layer.name == "conv_1" and row["r_activations"] is None
            assert set(layer.histograms) == {"weights", "permuted"}
        else:
            expected = correlation(product(a, kernel), product(before, kernel))
            assert row["r_activations"] == pytest.approx(expected, abs=1e-5)


def places(layer, rng, n_images):
    total = n_images * (49 if layer.name.startswith("conv") else 1)
    return rng.choice(total, size=min(layer_geometry.PATCHES, total), replace=False)


def test_no_statistic_depends_on_the_batch_size(analyzed):
    _, model, images, layers = analyzed
    for other in (report.analyze(model, images, batch_size=n, seed=3) for n in (1, 23)):
        for a, b in zip(layers, other, strict=True):
            rows = a.statistics(), b.statistics()
            assert all(
                -1 <= row.pop("r_scores") <= 1 for row in rows
            )  # it depends on the moments of each batch
            numbers = [[np.nan if v is None else v for v in list(row.values())[1:]] for row in rows]
            np.testing.assert_allclose(*numbers, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(a.angles, b.angles)


def test_rows_have_exactly_the_documented_keys(analyzed):
    _, _, _, layers = analyzed
    assert [tuple(layer.statistics()) for layer in layers] == [STATISTICS] * 4
    assert [layer.name for layer in layers] == ["conv_1", "conv_2", "dense_1", "dense_2"]


def test_theory_is_the_closed_form_for_the_kind_of_network(analyzed):
    kind, _, _, layers = analyzed
    for layer in layers:
        row = layer.statistics()
        expected = {
            "continuous": lambda row: 1.0,
            "binary": lambda row: geometry.expected_cos_sign(row["d"]),
            "ternary": lambda row: geometry.ternary_cos(THRESHOLD / row["latent_std"]),
        }[kind](row)
        assert row["angle_theory_deg"] == pytest.approx(np.degrees(np.arccos(expected)))


def test_histograms_hold_every_pair(analyzed):
    _, _, _, layers = analyzed
    for layer in layers:
        for name, histogram in layer.histograms.items():
            assert histogram.counts.sum() + histogram.outside == getattr(layer, name).count
            assert histogram.outside < 0.02 * histogram.counts.sum()


def test_an_all_zero_unit_has_no_angle_and_does_not_affect_others():
    model = random_network("ternary")
    images = np.random.default_rng(2).integers(0, 256, (6, 7, 7, 2), dtype=np.uint8)
    kernel = model.get_layer("conv_2").kernel
    values = kernel.numpy()
    values[..., 2] = 0.5 * THRESHOLD
    kernel.assign(values)
    layer = report.analyze(model, images)[1]
    np.testing.assert_array_equal(np.isnan(layer.angles), [False, False, True, False, False])
    unmeasured = {"layer", "cost", "cost_error"}  # without cost_images
    assert all(np.isfinite(v) for key, v in layer.statistics().items() if key not in unmeasured)

    kernel.assign(np.full(kernel.shape, 0.5 * THRESHOLD))
    row = report.analyze(model, images)[1].statistics()
    assert row["zeros"] == 1
    assert row["sign_flips"] == 0
    assert all(
        np.isnan(row[name])
        for name in ("angle_mean_deg", "angle_std_deg", "r_weights", "slope", "r_permuted")
    )


def test_statistics_of_constant_images_are_undefined():
    layer = report.analyze(random_network("binary"), np.zeros((4, 7, 7, 2), np.uint8))[3]
    row = layer.statistics()  # all images are equal: each unit has one value, and the units differ
    assert -1 <= row["r_weights"] <= 1
    assert np.isfinite(row["angle_mean_deg"])


# capture


def test_stream_gives_the_tensors_that_layers_multiply(analyzed):
    kind, model, images, _ = analyzed
    found = kernels.find(model)
    batches = list(capture.stream(model, found, images, batch_size=10))
    assert [start for start, _ in batches] == [0, 10, 20]
    for i, (a, before, _) in enumerate(forward(model, images, kind)):
        assert [len(batch[i]) for _, batch in batches] == [1, 1, 1]
        inputs = np.concatenate([batch[i][0][0] for _, batch in batches])
        np.testing.assert_allclose(inputs, a, atol=1e-4)
        if before is None:
            assert all(batch[i][0][1] is None for _, batch in batches)
        else:
            streamed = np.concatenate([batch[i][0][1] for _, batch in batches])
            np.testing.assert_allclose(streamed, before, rtol=1e-4, atol=1e-3)


def test_bfloat16_networks_are_measured_in_float32():
    config = ModelConfig(input_shape=(7, 7, 2), conv=(4,), max_pool=(0,), fc=())
    model = build_model(config, "bfloat16")
    (_, batch), *_ = capture.stream(model, kernels.find(model), np.zeros((2, 7, 7, 2), np.uint8))
    assert {values.dtype for calls in batch for values in calls[0] if values is not None} == {
        np.dtype("float32")
    }
    product = kernels.find(model)[1]
    assert product.multiply(np.ones((1, 196), np.float32), product.kernels.quantized).dtype == np.float32


# the report


def test_layers_are_found_by_name_and_by_index(analyzed):
    _, _, _, layers = analyzed
    assert len(layers) == 4
    assert layers["conv_2"] is layers[1] is list(layers)[1]
    assert [layer.name for layer in layers[2:]] == ["dense_1", "dense_2"]
    with pytest.raises(
        KeyError, match="expected a layer among conv_1, conv_2, dense_1, dense_2, received 'x'"
    ):
        layers["x"]
    refused = report.Report(layers, {"lstm": "it is recurrent"})
    with pytest.raises(KeyError, match=r"received 'lstm' \(it is recurrent\)"):
        refused["lstm"]


def test_statistics_are_read_only_attributes(analyzed):
    _, _, _, layers = analyzed
    layer = layers["conv_2"]
    assert {key: getattr(layer, key) for key in STATISTICS} == layer.statistics()
    assert set(STATISTICS) <= set(dir(layer))
    assert layer.r_weights == layer.weights.r and layer.layer == layer.name
    assert layer.kernels.latent.shape == layer.kernels.quantized.shape == (layer.d, layer.units)
    with pytest.raises(AttributeError, match="has no attribute 'r_nothing'"):
        layer.r_nothing  # noqa: B018
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.r_scores = 1.0
    assert repr(layer).startswith("<LayerReport conv_2: d 36, units 5, angle ")


def test_print_shows_a_table_with_one_line_per_layer(analyzed):
    _, _, _, layers = analyzed
    caption, head, *lines = str(layers).splitlines()
    assert caption == "geometry over 23 images (angles in degrees)"
    assert [line.split()[0] for line in (head, *lines)] == ["layer", "conv_1", "conv_2", "dense_1", "dense_2"]
    assert len({len(line) for line in (head, *lines)}) == 1
    assert lines[0].split()[head.split().index("r_act")] == "-"
    refused = report.Report(layers, {"lstm": "it is recurrent"})
    assert str(refused).splitlines()[-2:] == ["", "not analyzed: lstm: it is recurrent"]


def test_a_notebook_shows_a_table(analyzed):
    _, _, _, layers = analyzed
    page = layers._repr_html_()
    assert page.count("<tr>") == 5
    assert "angle (°)</th>" in page and "<td" in page and "conv_2</td>" in page


def test_save_writes_metrics_json(analyzed, tmp_path):
    _, _, _, layers = analyzed
    path = layers.save(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "metrics.json"
    metrics = json.loads(path.read_text())
    assert list(metrics) == ["quantizer", "activations", "images", "unanalyzed", "layers"]
    assert metrics["layers"] == [{k: None if v != v else v for k, v in row.items()} for row in layers.rows()]
    assert metrics["images"] == 23


def test_a_function_is_saved_by_its_name(tmp_path):
    def halves(w):
        return np.round(2 * w) / 2

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    found = report.analyze(model, np.ones((4, 6), np.float32), quantizer=halves)
    assert json.loads(found.save(tmp_path).read_text())["quantizer"] == "halves"
