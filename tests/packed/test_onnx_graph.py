"""ONNX and QONNX graphs give the scores of the Keras network; skipped if the optional packages are missing."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bnn import models, packed
from tests.packed.packed_networks import network

SETTINGS = [
    {},
    {"levels": 3, "threshold": 0.3},
    {"levels": 3, "threshold": 0.0, "filter_size": 4},
    {"first_layer": "rotated"},
    {"first_layer": "whitening", "last_layer": "real", "fc": ()},
    {"estimator": "magnitude_aware_sign"},
    {"bn_scale": True},
    {"bn_scale": True, "levels": 3, "threshold": 0.3},
    {"conv": (), "fc": (20,), "input_range": (0.0, 1.0)},
]
networks = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def scores_in_onnxruntime(graph, images):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def scores_in_qonnx(graph, images):
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    wrapped, images = ModelWrapper(graph), images.astype(np.float32)
    return np.concatenate([execute_onnx(wrapped, {"images": image[None]})["scores"] for image in images])


@networks
def test_onnx(settings):
    pytest.importorskip("onnx")
    model, images = network(np.random.default_rng(2), ties=False, **settings)
    scores, expected = scores_in_onnxruntime(packed.onnx_model(model), images), models.scores(model, images)
    np.testing.assert_array_equal(scores.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


@networks
def test_qonnx(settings):
    pytest.importorskip("qonnx")
    model, images = network(np.random.default_rng(2), ties=False, **settings)
    graph = packed.onnx_model(model, qonnx=True)
    scores, expected = scores_in_qonnx(graph, images), models.scores(model, images)
    np.testing.assert_array_equal(scores.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    assert "Cast" not in {node.op_type for node in graph.graph.node}
    for node in graph.graph.node:
        written = {attribute.name for attribute in node.attribute}
        assert node.op_type != "Conv" or written == {"kernel_shape", "pads", "strides", "dilations", "group"}
    quantizers = [node for node in graph.graph.node if node.op_type in ("BipolarQuant", "Quant")]
    for node in quantizers:
        assert node.domain == "qonnx.custom_op.general"
        options = {attribute.name: attribute for attribute in node.attribute}
        assert node.op_type == "BipolarQuant" or (options["signed"].i, options["narrow"].i) == (1, 1)
    kernels = sum(hasattr(layer, "kernel_quantizer") for layer in model.layers)
    real = sum(settings.get(name, "quantized") != "quantized" for name in ("first_layer", "last_layer"))
    # One per quantized kernel and per activation; the scores have none.
    assert len(quantizers) == 2 * kernels - 1 - real


def test_class_names_need_not_be_utf8():
    names = ["caf\udce9", "猫", "$a$", '"']
    model, _ = network(np.random.default_rng(0), ties=False, conv=(), fc=(4,))
    (stored,) = packed.onnx_model(model, class_names=names).metadata_props
    assert json.loads(stored.value) == names and "猫" in stored.value


CONVERT = """
import sys, hls4ml
import numpy as np
from qonnx.core.onnx_exec import execute_onnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.cleanup import cleanup_model
model = cleanup_model(ModelWrapper(sys.argv[1]))
config = hls4ml.utils.config_from_onnx_model(
    model, granularity="name", backend="Vitis", default_precision="fixed<32,16>"
)
network = hls4ml.converters.convert_from_onnx_model(
    model, output_dir=sys.argv[2], backend="Vitis", hls_config=config
)
network.compile()
images = np.random.default_rng(0).integers(0, 256, (10, 1, 9, 7, 2)).astype(np.float32)
for image in images:
    (scores,) = execute_onnx(model, {model.graph.input[0].name: image}).values()
    np.testing.assert_allclose(network.predict(image).ravel(), scores.ravel(), atol=0.01)
print("equal")
"""


@pytest.mark.skipif("HLS4ML" not in os.environ, reason="HLS4ML names no Python of an environment with hls4ml")
def test_hls4ml_compiles_a_dense_ternary_network(tmp_path):
    model, _ = network(np.random.default_rng(2), ties=False, conv=(), fc=(20,), levels=3, threshold=0.02)
    path = tmp_path / "network.onnx"
    path.write_bytes(packed.onnx_model(model, qonnx=True).SerializeToString())
    line = [os.environ["HLS4ML"], "-c", CONVERT, path, tmp_path / "hls"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "equal"


def test_if_the_package_is_missing_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(packed.PackError, match=r"pip install onnx"):
        packed.onnx_model(network(np.random.default_rng(0))[0])
