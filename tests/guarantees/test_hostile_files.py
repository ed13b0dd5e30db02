"""Hostile files: loading a run never executes their code and never reads files outside the run."""

import base64
import contextlib
import io
import json
import marshal
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from bnn import datasets, runs
from bnn.settings import config
from bnn.training import Journal, StopRequests
from tests.support import assert_refused, call, small_data, start


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run directory with an untrained network."""
    model, run = start(tmp_path_factory.mktemp("hostile") / "run", small_data())
    run.save_model(keras.Model(model.inputs, model.outputs, name=model.name), "best")
    return run


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the run, whose files a test may change."""
    return runs.open_run(shutil.copytree(whole.folder, tmp_path / "run"))


@pytest.fixture
def marker(tmp_path):
    """The file that the exploits try to create."""
    return tmp_path / "written by the file"


def tamper(run, config=None, weights=None, members=()):
    """Rewrite best.keras with valid checksums: edit its JSON or HDF5 file, or add members."""
    path = run.checkpoint("best")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if config:
        parts["config.json"] = json.dumps(config(json.loads(parts["config.json"]))).encode()
    if weights:
        buffer = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            weights(file)
        parts["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [*parts.items(), *members]:
            archive.writestr(name, content)


def python_lambda(marker):
    """A lambda as Keras stores it, as byte code; it creates the marker when it is called."""
    code = compile(f"lambda *_: open({str(marker)!r}, 'w')", "", "eval").co_consts[0]
    stored = {"code": base64.b64encode(marshal.dumps(code)).decode(), "defaults": None, "closure": None}
    return {"class_name": "__lambda__", "config": stored}


def call_of(module, name, **config):
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": "function"}


# References that a config may contain in place of a class or function; functions of the marker's path.
REFERENCES = {
    "lambda": python_lambda,
    "open": lambda marker: call_of("builtins", "open", file=str(marker), mode="w"),
    "Popen": lambda marker: call_of("subprocess", "Popen", args=["touch", str(marker)]),
    "system": lambda marker: function("os", "system"),
    "download": lambda marker: function("keras.utils", "get_file"),  # CVE-2025-8747
    "safe mode off": lambda marker: function(
        "keras.config", "enable_unsafe_deserialization"
    ),  # CVE-2025-9906
}


def as_quantizer(reference):
    def edit(network):
        layers = [layer for layer in network["config"]["layers"] if "kernel_quantizer" in layer["config"]]
        assert layers
        for layer in layers:
            layer["config"]["kernel_quantizer"] = reference
        return network

    return edit


def as_layer(reference):
    """Replace the second layer of the network by a Lambda layer."""

    def edit(network):
        layer = network["config"]["layers"][1]
        layer["config"] = {"name": layer["name"], "dtype": "float32", "function": reference, "arguments": {}}
        layer["class_name"] = "Lambda"
        return network

    return edit


def as_network(reference):
    return lambda network: network | reference


@pytest.mark.parametrize("place", [as_quantizer, as_layer, as_network])
@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
def test_nothing_that_a_network_file_names_is_called(run, marker, place, reference):
    tamper(run, config=place(reference(marker)))
    with pytest.raises(runs.RunError, match=r"best\.keras: expected a saved network, received") as caught:
        run.load_model("best")
    assert not marker.exists()
    assert "\n" not in str(caught.value)


def test_the_lambda_is_real(run, marker):
    """Keras does run it with safe_mode=False."""
    tamper(run, config=as_layer(python_lambda(marker)))
    with contextlib.suppress(ValueError, NotImplementedError):  # it does not return a tensor
        keras.saving.load_model(run.checkpoint("best"), safe_mode=False)
    assert marker.exists()


def test_analyze_refuses_an_exploit_in_one_line(tmp_path, marker):
    given = {"data_set": "mnist-5k", "conv": (2,), "max_pool": (1,), "fc": ()}
    settings = config.resolve(given)
    run = runs.create(tmp_path / "run", settings, datasets.load("mnist-5k"), ["train.py"])
    run.save_model(settings.build(), "best")
    tamper(run, config=as_layer(python_lambda(marker)))
    assert_refused(call("analyze.py", run.folder), "best.keras: expected a saved network", "Lambda")
    assert not marker.exists()


# HDF5 files may hold links to other files


KERNEL = "layers/quant_conv2d/vars/0"


def external_storage(secret):
    def edit(file):
        shape = file[KERNEL].shape
        del file[KERNEL]
        file.create_dataset(KERNEL, shape=shape, dtype="f4", external=[(str(secret), 0, 4 * 36)])

    return edit


def external_link(secret):
    def edit(file):
        del file[KERNEL]
        file[KERNEL] = h5py.ExternalLink(str(secret), "kernel")

    return edit


def virtual_dataset(secret):
    def edit(file):
        shape = file[KERNEL].shape
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(str(secret), "kernel", shape)
        del file[KERNEL]
        file.create_virtual_dataset(KERNEL, layout)

    return edit


@pytest.mark.parametrize("link", [external_storage, external_link, virtual_dataset])
def test_weights_are_read_only_from_the_run(run, tmp_path, link):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = np.full((3, 3, 1, 4), 7, np.float32)
    tamper(run, weights=link(tmp_path / "secret.h5"))
    with pytest.raises(runs.RunError, match=r"best\.keras: expected a saved network"):
        run.load_model("best")


def test_nothing_is_unpacked_outside_the_run(run, tmp_path):
    run.load_model("best")
    before = sorted(tmp_path.rglob("*"))
    tamper(
        run,
        members=[("../outside", b"x"), (str(tmp_path / "absolute"), b"x"), ("assets/../../outside", b"x")],
    )
    with pytest.raises(runs.RunError, match=r"best\.keras: expected a saved network"):
        run.load_model("best")
    assert sorted(tmp_path.rglob("*")) == before


# npz files may hold pickles


class Exploit:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_in_an_interrupted_epoch_is_not_executed(run, marker, tmp_path):
    model, _ = start(tmp_path / "other", small_data())
    path = run.folder / "partial-0.npz"
    np.savez(path, seconds=1.0, kernel_conv_1=np.array([Exploit(marker)], object))
    journal = Journal(run, 10, 0, 0, StopRequests())
    journal.set_model(model)
    with pytest.raises(runs.RunError, match=r"partial-0\.npz: expected the state of an interrupted epoch"):
        journal.on_train_begin()
    assert not marker.exists()
    with np.load(path, allow_pickle=True) as opened:
        opened["kernel_conv_1"][0].close()
    assert marker.exists()
