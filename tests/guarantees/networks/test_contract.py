"""What every network of `NETWORKS` promises, and one that a user registers."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

import bnn
from bnn import packed, runs, training
from bnn.analysis import analyze
from bnn.commands import export, train
from bnn.layers import latent_kernels
from bnn.networks import NETWORKS, Network, register
from bnn.networks.table import BUILT_IN, entry
from bnn.packed import PackError
from bnn.settings.config import ConfigError, resolve
from bnn.settings.user_code import load
from bnn.training import Interrupted
from tests.support import ROOT, small_data, small_text, without_keras

OWN = ROOT / "tests" / "guarantees" / "networks" / "strided.py"
SMALL = {
    "vgg": {"conv": (4,), "max_pool": (1,), "fc": (8,)},
    "strided": {"channels": (4, 4)},
    "bi-real": {"stages": (4, 6), "depth": 1},
    "recurrent": {"units": (6,), "cell": "gru"},
    "reactnet": {"stages": (4, 6), "depth": 1},
    "gpt": {
        "blocks": 2,
        "heads": 2,
        "width": 8,
        "context": 8,
        "classes": 10,
        "batch_size": 12,
        "steps_per_epoch": 4,
    },
}  # by architecture
TRAINING = {"epochs": 2, "batch_size": 50, "precision": "float32", "deterministic": True}
load(OWN)
ARCHITECTURES = sorted({found.architecture.name for found in NETWORKS.values()})


def settings(name):
    """Tiny settings of a network, two epochs of four steps."""
    kind = entry(name).architecture
    inputs = {} if kind.takes_tokens else {"input_shape": (8, 8, 1)}
    return {"network": name, **inputs, **TRAINING, **SMALL[kind.name]}


DATA = {False: small_data(), True: small_text()}


def data_of(name):
    """The data set for a network of this name."""
    return DATA[entry(name).architecture.takes_tokens]


def architectures(*slow):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in ARCHITECTURES]


# ReActNet is the graph of Bi-Real net with other activations, which have tests of their own.
@pytest.fixture(scope="module", params=architectures("reactnet"))
def trained(request, tmp_path_factory):
    """A run of each architecture."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    return training.train(folder, data_set=data_of(request.param), **settings(request.param))


@pytest.fixture
def data(trained):
    return data_of(trained.config.network.name)


def test_a_run_is_opened_with_its_settings_and_scores(trained, data):
    again = runs.open_run(trained.folder)
    assert again.config == trained.config
    scores = [run.load_model().predict(data.test.images, verbose=0) for run in (trained, again)]
    assert np.array_equal(*scores) and np.isfinite(scores[0]).all()
    assert trained.config.network.weights(trained.config.inputs) == sum(
        int(np.prod(kernel.variable.shape))
        for layer in again.load_model().layers
        for kernel in latent_kernels(layer)
    )


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_named_network_is_built_with_its_settings(name):
    config = resolve(settings(name) | {"data_set": data_of(name).name})
    model = config.build()
    assert model.output_shape == (None, *[8] * config.inputs.are_tokens, 10)
    usual = NETWORKS[name].settings | settings(name) | {"network": config.network.name}
    assert usual.items() <= config.flat().items()
    assert model.name == config.quantization.kind


@pytest.mark.parametrize("trained", architectures("reactnet", "bi-real", "strided"), indirect=True)
def test_an_interrupted_training_ends_with_the_same_bits(trained, data, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    given = trained.config.flat()
    with pytest.raises(Interrupted):
        training.train(tmp_path / "run", callbacks=[Stop()], **given | {"data_set": data})
    run = training.resume(tmp_path / "run", data_set=data)
    pairs = zip(*(r.load_model("last").get_weights() for r in (run, trained)), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert [row["val_loss"] for row in run.log()] == [row["val_loss"] for row in trained.log()]


def test_the_analysis_lists_every_latent_kernel(trained, data):
    model = trained.load_model()
    report = analyze(model, data.test.images[:20])
    kernels = [(layer.name, latent_kernels(layer)) for layer in model.layers]
    names = [
        [f"{name}/{kernel.name}" for kernel in own] if own[1:] else [name] * len(own) for name, own in kernels
    ]
    assert [layer.name for layer in report] == [name for own in names for name in own]
    for layer in report:
        assert 0 <= layer.angle_mean_deg < 90 and -1 <= layer.r_within <= 1


def test_the_export_packs_or_refuses_by_name(trained, data, capsys):
    model, network = trained.load_model(), trained.config.network
    if not network.not_a_chain:
        assert packed.compare(packed.fold(model), model, data.test.images[:20]).activations
        return
    with pytest.raises(PackError, match=r"conv_|chain|dense_|block_"):
        packed.fold(model)
    with pytest.raises(PackError, match=f"received {network.name}: {network.not_a_chain}"):
        export.main([str(trained.folder)])


@pytest.mark.parametrize("shape", [(7, 9, 3), (8, 8, 1)])
def test_the_shortcuts_of_bi_real_add_to_what_passes_around(shape):
    """The stream of a network of two stages, recomputed from the layers' own outputs with NumPy."""
    config = resolve({"network": "bi-real-18", "input_shape": shape, "stages": (4, 6), "depth": 2})
    model = config.build()
    names = [f"conv_{number}" for number in range(1, 6)]
    parts = keras.Model(
        model.inputs,
        {layer.name: layer.output for layer in model.layers if layer.name.endswith(("norm", "sum"))},
    )
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    found = {name: np.asarray(value) for name, value in parts([images]).items()}
    x = found["conv_1_norm"]
    for name in names[1:]:
        around = x
        if name == "conv_4":  # halved, and real 1 x 1 convolution to 6 channels
            rows, columns = (-(-side // 2) for side in shape[:2])
            windows = [
                x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] for i in range(rows) for j in range(columns)
            ]
            around = np.stack([window.mean(axis=(1, 2)) for window in windows], 1).reshape(
                3, rows, columns, -1
            )
            layer = model.get_layer(f"{name}_shortcut")
            assert layer.kernel_quantizer is None
            around = around @ np.asarray(layer.kernel)[0, 0] / np.sqrt(1 + 1e-3)  # a new batch norm
        x = around + found[f"{name}_norm"]
        np.testing.assert_allclose(found[f"{name}_sum"], x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["bi-real", "reactnet"])
def test_plain_means_that_each_convolution_gets_what_the_one_before_gives(network):
    sizes = {"network": network, "input_shape": (8, 8, 1), "stages": (4, 6), "depth": 2}
    config = resolve(sizes | {"plain": True})
    model = config.build()
    assert not [layer.name for layer in model.layers if layer.name.endswith(("sum", "pool", "shortcut"))]
    for number in range(2, 6):
        given = model.get_layer(f"conv_{number}_activation").input
        rectified = network == "reactnet" and number > 2
        before = f"conv_{number - 1}_rprelu" if rectified else f"conv_{number - 1}_norm"
        assert given is model.get_layer(before).output
    kernels = [kernel for layer in model.layers for kernel in latent_kernels(layer)]
    assert config.network.weights(config.inputs) == sum(np.prod(k.variable.shape) for k in kernels)
    assert config.network.label == f"{network}4-6x2-plain" != resolve(sizes).network.label
    assert config.network.not_a_chain != resolve(sizes).network.not_a_chain
    with pytest.raises(PackError):
        packed.fold(model)


def test_more_stages_than_the_image_can_be_halved_are_refused():
    with pytest.raises(
        ConfigError, match=r"stages: expected at most 4 stages for images of 8x9, .*received 5"
    ):
        resolve({"network": "bi-real-18", "input_shape": (8, 9, 1), "stages": (1,) * 5})
    for given, message in (
        ({"stages": ()}, "stages: expected at least one"),
        ({"depth": 0}, "depth: expected at"),
    ):
        with pytest.raises(ConfigError, match=message):
            resolve({"network": "bi-real-18", **given})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": ()}, "units: expected 1 to 1000 layers, received 0"),
        ({"units": (0,)}, "units: expected sizes from 1"),
        ({"cell": "rnn"}, "cell: expected one of lstm, gru, received 'rnn'"),
        ({"first_layer": "rotated"}, "first_layer: expected one of quantized, real in lstm_1, received 'rotated'"),
        ({"clip": "glorot"}, "clip: expected a number in lstm_1, received 'glorot'"),
    ],
)  # fmt: skip
def test_recurrent_networks_that_cannot_be_built_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        resolve({"network": "lstm", "data_set": "mnist-5k", **settings}).build()


def test_default_names_tell_networks_apart():
    names = [
        runs.default_name(resolve({"data_set": data_of(name).name, "network": name})) for name in NETWORKS
    ]
    assert len({*names}) == len(names)


@pytest.mark.parametrize("name", ["vgg", "strided"])
def test_help_has_the_flags_of_the_network_alone(name, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--use", str(OWN), "--network", name, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert ("--channels" in text, "--conv" in text) == (name == "strided", name == "vgg")


def test_help_of_the_built_in_networks_loads_no_keras(tmp_path):
    code = "from bnn.commands import train; train.main(['--network', 'vgg-small', '--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=without_keras(tmp_path), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "--filter_size" in done.stdout, done.stderr


def test_a_flag_of_another_network_names_it(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--channels", "4"])
    assert stop.value.code == 2
    assert "--channels 4; it belongs to --network strided" in capsys.readouterr().err


def test_a_setting_of_another_network_names_it():
    with pytest.raises(
        ConfigError, match=r"channels: expected no setting of this name, .* the network strided"
    ):
        resolve({"channels": (4,)})


def test_a_network_may_be_given_itself():
    own = NETWORKS["strided"].architecture
    config = resolve({"data_set": "mnist-5k", "network": own(channels=(6,)), "bn_decay": 0.5})
    assert (config.network.channels, config.network.bn_decay) == ((6,), 0.5)
    assert [layer.name for layer in bnn.models.build(network=own(channels=(6,))).layers][-1] == "dense_1_norm"


def test_no_run_directory_imports_a_file_of_the_user(tmp_path, monkeypatch):
    run = training.train(tmp_path / "run", data_set=data_of("strided"), **settings("strided") | {"epochs": 1})
    monkeypatch.delitem(NETWORKS, "strided")
    with pytest.raises(
        runs.RunError, match=r"network: expected one of .*, received 'strided'.*--use FILE\.py"
    ):
        runs.open_run(run.folder)


def test_only_networks_with_a_new_name_are_registered():
    class Nameless(Network):
        pass

    for wrong in (3, int, Nameless, type("Vgg", (Network,), {"name": "vgg"})):
        with pytest.raises(ConfigError, match="network: expected"):
            register(wrong)
    assert {
        "vgg",
        "vgg-small",
        "binarynet",
        "bi-real-18",
        "bi-real-20",
        "react-20",
        "lstm",
        "gru",
        "gpt",
    } == BUILT_IN
