"""`bnn.train` and `resume` do from Python what train.py does."""

import io
import json
import re
import shutil
import signal
import sys
import threading

import keras
import numpy as np
import pytest

import bnn
from bnn import datasets, runs, training
from bnn.analysis.keras import ablation
from bnn.settings.config import ConfigError
from bnn.training import Interrupted
from bnn.training.start import begin, load_data
from tests.support import ROOT, TINY, call, same_but_for_seconds, small_data, small_settings, unwrapped
from tests.training.callbacks import Halving
from tests.training.test_loop import assert_same_run, at_step, spy

# Without convolutions, because TensorFlow traces them longer; test_kills.py has them.
SMALL = {
    "input_shape": (8, 8, 1),
    "conv": [],
    "max_pool": [],
    "fc": [8],
    "bn_decay": 0.9,
    "batch_size": 20,
    "epochs": 2,
    "lr_start": 0.03,
    "lr_end": 0.003,
}


@pytest.fixture(scope="module")
def data():
    return small_data()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    return training.train(tmp_path_factory.mktemp("start") / "whole", data_set=data, **SMALL)


def test_train_gives_the_same_run_as_the_program(trained, tmp_path, capsys):
    """Log, weights and printed lines are the same; only the recorded command differs."""
    run = bnn.train(
        tmp_path / "run",
        data_set="mnist-5k",
        conv=(8, 8),
        max_pool=(1, 1),
        fc=(16,),
        batch_size=20,
        epochs=3,
        deterministic=True,
    )
    theirs = runs.open_run(trained[0])
    assert (run.model, run.training, run.data) == (theirs.model, theirs.training, theirs.data)
    assert same_but_for_seconds(run.log(), theirs.log())
    for ours, other in zip(run.load_model().get_weights(), theirs.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, other)
    first, heading, *epochs = unwrapped(capsys.readouterr().out).splitlines()
    theirs = unwrapped(trained[1].stdout).splitlines()
    assert heading == theirs[1]
    assert first == theirs[0].replace(str(trained[0]), str(run.folder))
    said = [line.split()[:-1] for line in theirs[2:-1]]
    assert [line.split()[:-1] for line in epochs] == said


def test_a_data_set_may_be_an_object_and_sizes_may_be_lists(whole, data):
    assert whole.model.fc == (8,) and len(whole.log()) == 2
    assert whole.data == {"name": "mnist-5k", "digest": data.digest, "official": True}
    assert whole == runs.open_run(whole.folder)


def test_the_settings_of_keras_do_not_matter_and_stay(whole, data, tmp_path):
    theirs = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}
    theirs["dtype_policy"] = "mixed_float16"
    before = {name: getattr(keras.config, name)() for name in theirs}
    try:
        for name, value in theirs.items():
            getattr(keras.config, f"set_{name}")(value)
        run = training.train(tmp_path / "run", data_set=data, **SMALL)
        model = run.load_model("last", compiled=True)
        found = {name: getattr(keras.config, name)() for name in theirs}
        assert found | {"dtype_policy": found["dtype_policy"].name} == theirs
    finally:
        for name, value in before.items():
            getattr(keras.config, f"set_{name}")(value)
    assert same_but_for_seconds(run.log(), whole.log())
    expected = whole.load_model("last", compiled=True)
    assert model.get_config() == expected.get_config()
    for ours, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, other)


def test_quantizers_may_be_functions_and_are_recorded_by_name(tmp_path, data):
    @keras.saving.register_keras_serializable()
    def shifted_sign(x):
        return bnn.layers.ste_sign(x - 0.05)

    settings = SMALL | {
        "kernel_quantizer": shifted_sign,
        "activation_quantizer": "approx_sign",
        "data_set": data,
    }
    run = training.train(tmp_path / "run", **settings)
    assert (run.model.kernel_quantizer, run.model.activation_quantizer) == (
        "Custom>shifted_sign",
        "approx_sign",
    )
    command = json.loads((run.folder / "config.json").read_text())["command"]
    assert "kernel_quantizer='Custom>shifted_sign'" in command
    assert run.load_model().get_layer("dense_1").kernel_quantizer is shifted_sign
    assert training.resume(run.folder, **settings).log() == run.log()
    with pytest.raises(
        ConfigError, match=r"^kernel_quantizer: expected 'Custom>shifted_sign', .* received 'ste'"
    ):
        training.resume(run.folder, **settings | {"kernel_quantizer": "ste"})
    name = runs.default_name(run.model, run.training)
    assert "-quantized-kernel-shifted_sign-activation-approx_sign-" in name


def test_a_named_network_is_trained_resumed_analyzed_and_packed(tmp_path, data):
    given = SMALL | {"conv": [4, 5], "max_pool": [1, 0], "network": "vgg-small", "first_layer": "whitening"}
    del given["fc"]
    given["data_set"] = data
    run = training.train(tmp_path / "run", **given)
    assert (run.model.fc, run.model.first_layer, run.model.last_layer) == ((), "whitening", "real")
    assert training.resume(run.folder, **given) == run
    with pytest.raises(ConfigError, match=r"^last_layer: expected 'real'"):
        training.resume(run.folder, data_set=data, last_layer="quantized")
    model, images, untrained = run.load_model(), data.test.images, bnn.models.build_model(run.model)
    bnn.models.whiten(untrained, data.train.images)
    matrices = [np.asarray(net.get_layer("conv_1_whitening").matrix) for net in (model, untrained)]
    np.testing.assert_array_equal(*matrices)
    assert not np.allclose(matrices[0], np.eye(9))
    first, hidden, last = bnn.analyze(model, images)
    for layer in (first, last):
        assert (layer.angle_mean_deg, layer.r_weights, layer.r_scores) == pytest.approx((0, 1, 1))
    assert 0 < hidden.r_scores < 1 < hidden.angle_mean_deg
    assert ablation.quantized_layers(model)[0] == ["conv_2"]
    agreement = bnn.packed.compare(bnn.pack(model), model, images)
    assert (agreement.same, sum(agreement.others.values())) == (len(images), 0)


def test_the_first_authors_training_is_analyzed_and_packed(tmp_path, data):
    given = SMALL | {"network": "binarynet", "data_set": data}
    del given["bn_decay"], given["max_pool"]
    run = training.train(tmp_path / "run", **given)
    config = json.loads((run.folder / "config.json").read_text())
    assert (config["quantization"]["clip"], config["training"]["clip_gradients"]) == ("glorot", None)
    optimizer = run.load_model("last", compiled=True).optimizer
    assert (optimizer.clipvalue, int(optimizer.iterations)) == (None, 20)
    model, images = run.load_model(), data.test.images
    assert np.std(model.get_layer("dense_1_norm").gamma) > 0
    for name, fans in {"dense_1": 64 + 8, "dense_2": 8 + 10}.items():
        limit = np.float32(np.sqrt(1.5 / fans))
        assert np.abs(model.get_layer(name).kernel).max() == pytest.approx(limit, rel=0.1)
        assert np.abs(model.get_layer(name).kernel).max() <= limit
    model.get_layer("dense_1_norm").gamma.assign([-1, 2] * 4)
    agreement = bnn.packed.compare(bnn.pack(model), model, images)
    assert (agreement.same, agreement.unexplained) == (len(images), 0)
    hidden, _ = bnn.analyze(model, images)
    assert 20 < hidden.angle_mean_deg < 40 and hidden.r_weights > 0.5


def test_the_call_is_recorded(whole):
    command = json.loads((whole.folder / "config.json").read_text())["command"]
    assert command[:2] == ["bnn.train", f"run_dir={whole.folder}"]
    assert {"data_set='mnist-5k'", "fc=[8]", "epochs=2"} <= set(command)


def test_an_interrupted_training_is_resumed(tmp_path, data, whole, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as stop:
        spy(patch, "on_train_batch_end", at_step(13, lambda: signal.raise_signal(signal.SIGINT)))
        training.train(tmp_path / "run", data_set=data, **SMALL)
    assert stop.value.run.folder == tmp_path / "run"
    run = training.resume(str(tmp_path / "run"), data_set=data)
    assert_same_run(run, whole)
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    assert training.resume(run.folder, data_set=data, **SMALL) == run
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_a_run_without_a_checkpoint_is_resumed_from_the_start(tmp_path, data, whole):
    """A kill in the first epoch leaves such a run."""
    begin(tmp_path / "run", SMALL | {"data_set": data}, command=[])
    assert_same_run(training.resume(tmp_path / "run", data_set=data), whole)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_verbose_nothing_is_printed_and_no_bar_is_shown(tmp_path, data, whole, capsys, monkeypatch):
    """Neither by a training on arrays, whose settings are printed else, nor by one that continues."""
    arrays = 2 * (data.train.images, data.train.labels)
    settings = {"conv": [], "fc": [8], "batch_size": 20, "epochs": 1}
    shown = []
    for verbose in (False, True):
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal)
            bnn.train(tmp_path / f"arrays{verbose}", data=arrays, verbose=verbose, **settings)
            begin(tmp_path / f"run{verbose}", SMALL | {"data_set": data}, command=[])
            bnn.resume(tmp_path / f"run{verbose}", data_set=data, verbose=verbose)
        shown.append((capsys.readouterr().out.count("\n"), "images/s" in terminal.getvalue()))
        assert verbose or not terminal.getvalue()
    assert shown[0] == (0, False) and shown[1][0] > 6 and shown[1][1]
    assert_same_run(runs.open_run(tmp_path / "runFalse"), whole)


def test_a_published_run_is_not_trained_again(tmp_path, whole, data):
    """It has a log and its best network, but no checkpoint to continue from."""
    copy = shutil.copytree(whole.folder, tmp_path / "published")
    (copy / "last.keras").unlink()
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(runs.RunError, match=r"expected last\.keras.*without it; .*use init_from='"):
        training.resume(copy, data_set=data)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_a_ternary_network_without_a_threshold_is_pointed_out(tmp_path, data, capsys, threshold):
    settings = SMALL | {"levels": 3, "threshold": threshold, "epochs": 1}
    training.train(tmp_path / "run", data_set=data, **settings)
    assert ("binary in effect" in capsys.readouterr().out) == (threshold == 0)


def test_training_works_in_a_thread_and_callbacks_are_called_at_every_step(tmp_path, data, whole):
    done, seen = [], []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    options = SMALL | {"data_set": data, "callbacks": [callback]}
    thread = threading.Thread(target=lambda: done.append(training.train(tmp_path / "run", **options)))
    thread.start()
    thread.join()
    assert_same_run(done[0], whole)
    assert seen == [*range(10)] * 2


@pytest.mark.parametrize(
    "callback",
    [keras.callbacks.ReduceLROnPlateau(), keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_of_keras_that_set_the_rate_are_refused_at_once(tmp_path, data, whole, callback):
    message = rf"leave the learning rate to the settings .* received {type(callback).__name__}, which sets it"
    for callbacks in ([callback], [[callback]], callback):
        with pytest.raises(ConfigError, match=message):
            training.train(tmp_path / "run", data_set=data, callbacks=callbacks, **SMALL)
    with pytest.raises(ConfigError, match=message):
        training.resume(whole.folder, data_set=data, callbacks=[callback])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_epoch_end"])
def test_own_callbacks_that_set_the_rate_are_refused_by_name(tmp_path, data, hook):
    others = [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None) for _ in range(2)]
    with pytest.raises(ConfigError, match="received Halving, which sets it"):
        callbacks = [others[0], Halving(hook), others[1]]
        training.train(tmp_path / "run", data_set=data, callbacks=callbacks, **SMALL)


@pytest.mark.parametrize(
    "wrong",
    [5, "x", [object()], Halving, lambda epoch: 0.1],
    ids=["number", "text", "list", "class", "function"],
)
def test_what_is_no_callback_is_refused_before_anything_is_written(tmp_path, data, wrong):
    with pytest.raises(
        ConfigError, match=r"callbacks: expected instances of keras.callbacks.Callback, received"
    ):
        training.train(tmp_path / "run", data_set=data, callbacks=wrong, **SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin"])
def test_no_heading_is_printed_for_a_callback_that_is_refused(tmp_path, data, capsys, hook):
    with pytest.raises(ConfigError, match="received Halving, which sets it"):
        training.train(tmp_path / "run", data_set=data, callbacks=Halving(hook), **SMALL)
    assert not capsys.readouterr().out


def test_a_run_may_start_from_the_weights_of_another_and_replace_a_run(tmp_path, data, whole):
    begun = begin(
        whole.folder.with_name("copy"), SMALL | {"data_set": data}, command=["x"], init_from=whole.folder
    )
    for ours, other in zip(begun.model.get_weights(), whole.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, other)
    call = re.escape(
        f"continue it with bnn.resume('{begun.run.folder}'), or use overwrite=True or another run_dir"
    )
    with pytest.raises(runs.RunError, match=f"received one that holds a run; {call}$"):
        training.train(begun.run.folder, data_set=data, **SMALL)
    run = training.train(begun.run.folder, overwrite=True, data_set=data, **SMALL | {"epochs": 1})
    assert len(run.log()) == 1


def test_the_default_run_directory_is_in_the_current_folder(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = training.train(data_set=data, **SMALL | {"epochs": 1})
    assert str(run.folder) == "runs/mnist-5k-binary-bn_decay0.9-fc8-1epochs-seed0"
    assert (tmp_path / run.folder / "best.keras").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, r"epoch: expected no setting of this name, received 3; did you mean epochs\?"),
        ({"learning_rate": 0.1}, r"received 0.1; did you mean lr_start\?"),
        ({"call_backs": ()}, r"received \(\); did you mean callbacks\?"),
        ({"resume": True}, r"received True; bnn.resume\(run_dir\) continues a run"),
        ({"epochs": 0}, "epochs: expected 1 to"),
        (
            {"data_set": "svhn"},
            r"data_set: expected one of .*, mnist-5k, FILE.npz, FOLDER/, NAME of --use FILE.py, received 'svhn'",
        ),
        ({"batch_size": 201}, "at most the 200 training images, received 201"),
        ({"batch_size": 1}, "^batch_size: expected at least 2 images, .*, received 1"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, data, settings, message):
    with pytest.raises(ConfigError, match=message):
        training.train(tmp_path / "run", **SMALL | {"data_set": data} | settings)
    assert not (tmp_path / "run").exists()


def test_arrays_as_a_data_set_are_refused_without_printing_them(tmp_path):
    with pytest.raises(ConfigError, match="received a tuple; arrays are the argument data") as error:
        training.train(tmp_path / "run", data_set=(np.zeros((2000, 28, 28)), np.zeros(2000)))
    assert len(str(error.value)) < 200


def test_a_network_for_other_images_is_refused(tmp_path, data):
    with pytest.raises(runs.RunError, match=r"expected a network from images of shape \(8, 8, 1\)"):
        training.train(tmp_path / "run", **SMALL | {"data_set": data, "input_shape": (28, 28, 1)})
    assert not (tmp_path / "run").exists()


def test_resume_refuses_other_settings_or_data(whole, data):
    with pytest.raises(ConfigError, match=r"^epochs: expected 2, with which .* was begun, received 3"):
        training.resume(whole.folder, epochs=3, data_set=data)
    with pytest.raises(ConfigError, match=r"epoch: expected no setting .*did you mean epochs\?"):
        training.resume(whole.folder, epoch=3, data_set=data)
    with pytest.raises(runs.RunError, match="expected data of SHA-256"):
        training.resume(whole.folder)


def test_data_are_read_from_data_dir(tmp_path):
    with pytest.raises(datasets.DataError, match=f"expected its files in {tmp_path / 'sets'}"):
        training.train(tmp_path / "run", data_set="MNIST", data_dir=tmp_path / "sets")
    assert not (tmp_path / "run").exists()


def test_the_program_has_data_dir_too(tmp_path):
    process = call("train.py", "--data_set", "MNIST", "--data_dir", tmp_path, "--run_dir", tmp_path / "run")
    assert process.returncode == 1 and f"expected its files in {tmp_path}" in process.stderr


def test_debug_uses_a_part_of_the_data(data):
    _, config = small_settings(debug=True)
    mnist = load_data(config)
    assert (len(mnist.train), len(mnist.validation), len(mnist.test)) == (500, 100, 500)
    assert load_data(config, data).train.images.shape == (200, 8, 8, 1)


def test_the_command_accepts_the_flags_of_the_program(tmp_path):
    done = call(
        "-m", "bnn", "train", *TINY, "--debug", "--epochs", 1, "--run_dir", tmp_path / "run", cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert unwrapped(done.stdout).splitlines()[-1].endswith(f"next: python -m bnn analyze {tmp_path / 'run'}")
    command = json.loads((tmp_path / "run" / "config.json").read_text())["command"]
    assert command == ["bnn", "train", *TINY, "--debug", "--epochs", "1", "--run_dir", str(tmp_path / "run")]
