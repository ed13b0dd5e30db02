"""OpenVINO graphs give every activation of the packed network; skipped if the optional package is missing."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from bnn import bits, packed
from bnn.bits import Thresholds, convolution_kernel, dense_kernel
from bnn.packed import PackedNetwork
from bnn.packed.parts import Layer, Pixels, Scores
from tests.packed.packed_networks import network, random_network

SETTINGS = [
    {"filter_size": 4, "bn_scale": True},
    {"first_layer": "whitening", "last_layer": "real", "fc": ()},
    {"conv": (), "fc": (20,), "input_range": (0.0, 1.0)},
]


def expect_the_same(net, images):
    graph = pytest.importorskip("bnn.packed.openvino_graph")
    pytest.importorskip("openvino")
    *activations, scores = net.outputs(images)
    *found, with_outputs = graph.run(packed.openvino_model(net, activations=True), images)
    for layer, expected, own in zip(net.layers, activations, found, strict=False):
        np.testing.assert_array_equal(own, bits.unpack(expected), err_msg=layer.name)
    (alone,) = graph.run(packed.openvino_model(net), images)
    for own in (with_outputs, alone):
        np.testing.assert_allclose(own, scores, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_networks_of_layers_of_this_package(settings):
    model, _ = network(np.random.default_rng(2), ties=False, **settings)
    net = packed.pack(model)
    expect_the_same(net, np.random.default_rng(3).integers(256, size=(30, *net.input_shape), dtype=np.uint8))


@pytest.mark.parametrize("real", [False, True])
def test_all_activations_of_many_images(real):
    rng = np.random.default_rng(4)
    net = random_network(rng, real)
    images = rng.integers(256, size=(100 if real else 1000, *net.input_shape), dtype=np.uint8)
    expect_the_same(net, images)


@pytest.mark.parametrize("seed", range(5))
def test_layers_of_any_width(seed):
    """The plugin computes wrongly for channels that are no multiple of 8."""
    rng = np.random.default_rng(seed)
    net = random_network(rng, False, rng.integers(1, 80, 3), rng.integers(1, 40, 2))
    expect_the_same(net, rng.integers(256, size=(4, *net.input_shape), dtype=np.uint8))


def test_the_file_has_class_names_and_uint8_images(tmp_path):
    openvino = pytest.importorskip("openvino")
    net = random_network(np.random.default_rng(0), False)
    openvino.serialize(packed.openvino_model(net), tmp_path / "n.xml", tmp_path / "n.bin")
    graph = openvino.Core().read_model(tmp_path / "n.xml")
    assert json.loads(graph.get_rt_info("class_names").astype(str)) == ["a", "b", "c", "d"]
    (images,), (scores,) = graph.inputs, graph.outputs
    assert images.any_name == "images" and images.element_type == openvino.Type.u8
    assert (list(images.shape), list(scores.shape), scores.any_name) == ([1, 7, 6, 3], [1, 4], "scores")


def test_ternary_networks_are_refused_by_name():
    pytest.importorskip("openvino")
    rng = np.random.default_rng(0)
    net = random_network(rng, False)
    weights = convolution_kernel(bits.pack(rng.choice([-1, 0, 1], (3, 3, 64, 13)), ternary=True))
    activations = Thresholds(np.tile(net.layers[1].output.at, (2, 1)), net.layers[1].output.rising)
    for changes, kind in (({"kernel": weights}, "weights"), ({"output": activations}, "activations")):
        net.layers[1] = dataclasses.replace(random_network(rng, False).layers[1], **changes)
        with pytest.raises(packed.PackError, match=f"conv_1: expected binary {kind} .*, received ternary"):
            packed.openvino_model(net)


def test_sums_that_float32_does_not_hold_are_refused():
    pytest.importorskip("openvino")
    rng = np.random.default_rng(0)
    features = 2**16 + 300  # times 255 exceeds 2**24
    kernel = dense_kernel(bits.pack(rng.choice([-1, 1], (2, features))))
    layer = Layer("scores", kernel, Scores(*np.ones((2, 2), np.float32)))
    net = PackedNetwork((features,), Pixels(1, 0), [layer], ("a", "b"))
    with pytest.raises(packed.PackError, match="scores: expected sums of at most 16,777,216"):
        packed.openvino_model(net)


def test_if_the_package_is_missing_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(packed.PackError, match=r"pip install openvino"):
        packed.openvino_model(random_network(np.random.default_rng(0), False))
