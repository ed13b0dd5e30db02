"""Run directories: their contents, what is refused, and what is kept when a write fails."""

import dataclasses
import json
import math
import pathlib
import shutil
import subprocess

import keras
import numpy as np
import pytest

from bnn import bits, packed, runs
from bnn.console import spelling
from bnn.datasets import Split
from bnn.files import atomic
from bnn.models import build_model, scores
from bnn.models.surgery import altered_copy
from bnn.runs import RunError, directory, provenance
from bnn.settings.config import PRESETS, ModelConfig, TrainConfig, resolve, settings_for
from bnn.settings.presets import DATA_SETS, for_images
from tests.support import KINDS, small_config, small_data, small_settings, start

ROW = dict.fromkeys(directory.LOG_COLUMNS, 0.25) | {"epoch": 1}


@pytest.fixture(scope="module")
def data():
    return small_data()


@pytest.fixture
def run(tmp_path, data):
    return runs.create(tmp_path / "run", small_config("ternary"), data, ["train.py", "--levels", "3"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """A run directory with checkpoints of an untrained network, and that network."""
    model, run = start(tmp_path_factory.mktemp("trained") / "run", data)
    model.optimizer.build(model.trainable_variables)
    for name in ("last", "best"):
        run.save_model(model, name)
    return run, model


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of `trained`, which a test may damage."""
    return runs.open_run(shutil.copytree(trained[0].folder, tmp_path / "copy"))


# the contents of a run


def test_config_records_how_the_run_was_made(run, data):
    config = json.loads((run.folder / "config.json").read_text())
    _, training = small_settings("ternary")
    settings = {"network", "quantization", "inputs", "training"}
    assert set(config) == {
        "format",
        *settings,
        "data",
        "settings_sha256",
        "command",
        "versions",
        "git_commit",
    }
    assert (config["format"], config["network"]["name"], config["network"]["conv"]) == (2, "vgg", [4])
    assert (config["quantization"]["levels"], config["quantization"]["threshold"]) == (3, 0.1)
    assert (config["inputs"]["input_shape"], config["inputs"]["classes"]) == ([8, 8, 1], 10)
    assert (config["training"]["seed"], config["training"]["epochs"]) == (training.seed, training.epochs)
    assert config["data"] == {"name": "mnist-5k", "digest": data.digest, "official": True}
    assert config["command"] == ["train.py", "--levels", "3"]
    assert config["versions"]["keras"] == keras.__version__
    assert config["versions"]["numpy"] == np.__version__
    assert {"python", "machine", keras.backend.backend()} < set(config["versions"])
    commit = config["git_commit"]
    assert commit is None or len(commit.removesuffix("+changes")) == 40


def test_without_git_the_commit_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit() is None


def test_a_copy_in_another_checkout_does_not_have_its_commit(tmp_path, monkeypatch):
    """As an installed package in the .venv of a project."""
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    copy = shutil.copy(provenance.__file__, tmp_path)
    monkeypatch.setattr(provenance, "__file__", str(copy))
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
        assert provenance.git_commit() is None
    subprocess.run([*git, "add", "."], check=True)
    assert len(provenance.git_commit().removesuffix("+changes")) == 40


@pytest.mark.parametrize("kind", KINDS)
def test_open_run_returns_the_run_that_create_made(tmp_path, data, kind):
    created = runs.create(tmp_path / "a" / "b", small_config(kind, seed=7), data, [])
    assert runs.open_run(tmp_path / "a" / "b") == created


def test_default_names_are_readable_and_differ():
    model, training = (
        ModelConfig(**{k: PRESETS["mnist-5k"][k] for k in ("conv", "max_pool", "fc")}),
        TrainConfig(),
    )
    assert runs.default_name(model, training) == "cifar-10-binary-conv32-32-64-64-fc256-500epochs-seed0"
    dense = ModelConfig(conv=(), max_pool=(), fc=(8,), levels=3, threshold=0.02, bn_decay=0.99)
    training = TrainConfig(data_set="MNIST", seed=3, epochs=2, debug=True)
    assert runs.default_name(dense, training) == "MNIST-ternary0.02-fc8-2epochs-seed3-debug"
    other = ModelConfig(conv=(), max_pool=(), fc=(8,), estimator="approx_sign")
    assert runs.default_name(other, TrainConfig(epochs=1)) == "cifar-10-approx_sign-fc8-1epochs-seed0"
    bare = ModelConfig(conv=(), max_pool=(), fc=(), continuous=True)
    assert runs.default_name(bare, TrainConfig(epochs=1)) == "cifar-10-continuous-1epochs-seed0"
    ends = ModelConfig(conv=(), max_pool=(), fc=(), first_layer="whitening", last_layer="real")
    expected = "cifar-10-binary-whitening-first-real-last-bop-1epochs-seed0"
    assert runs.default_name(ends, TrainConfig(epochs=1, optimizer="bop")) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"network": "binarynet"}, "clip-glorot-bn_scale-bn_decay0.9-bn_epsilon0.0001-clip_gradients-none"),
        ({"clip": 0.5}, "clip0.5"),
        ({"clip_gradients": 2.0}, "clip_gradients2"),
        ({"data_set": "mnist-5k", "bn_decay": 0.999}, "bn_decay0.999"),
        ({"data_set": "digits.npz", "bn_decay": 0.999}, "bn_decay0.999"),
        *(({"data_set": name}, "") for name in DATA_SETS),
    ],
)
def test_default_names_tell_apart_settings_of_clipping_and_batch_norm(given, words):
    preset = for_images((28, 28, 1), 10, 100) if "digits.npz" in given.values() else None
    model, training = settings_for(given, preset)
    name = runs.default_name(model, training)
    assert f"-binary-{words}{'-' if words else ''}{'conv' if model.conv else 'fc'}" in name


def test_the_default_name_of_a_language_model_has_its_sizes():
    name = runs.default_name(resolve({"data_set": "tiny-shakespeare", "seed": 3}))
    assert name.startswith("tiny-shakespeare-absmean-") and name.endswith("-gpt4x128-8epochs-seed3")


def test_nan_becomes_null(tmp_path):
    atomic.write_json(tmp_path / "x.json", {"a": [math.nan, 1.5, {"b": math.inf}], "c": None})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [None, 1.5, {"b": None}], "c": None}


# what create refuses


def test_create_accepts_an_empty_folder(tmp_path, data):
    (tmp_path / "empty").mkdir()
    assert runs.create(tmp_path / "empty", small_config(), data, []).log() == []


def test_a_foreign_config_is_not_overwritten(tmp_path, data):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_text("months of work")
    with pytest.raises(RunError, match=r"config\.json: expected the config of a run, received"):
        runs.create(tmp_path, small_config(), data, [], overwrite=True)
    assert (tmp_path / "model.safetensors").read_text() == "months of work"


@pytest.mark.parametrize("overwrite", [False, True])
def test_create_never_changes_a_folder_that_is_not_a_run(tmp_path, data, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        RunError, match="expected a new or empty run directory, received one with other files"
    ):
        runs.create(tmp_path, small_config(), data, [], overwrite)
    with pytest.raises(
        RunError, match="expected a run directory that can be made and written, received a file"
    ):
        runs.create(tmp_path / "thesis.tex", small_config(), data, [], overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_create_replaces_a_run_only_with_overwrite(run, data):
    run.write_log([ROW])
    with pytest.raises(RunError, match="or use overwrite=True or another run_dir"):
        runs.create(run.folder, small_config(), data, [])
    flags = f"--resume {run.folder}, or use --overwrite or another --run_dir"
    with spelling.command_line(), pytest.raises(RunError, match=flags):
        runs.create(run.folder, small_config(), data, [])
    assert run.log() == [ROW]
    replaced = runs.create(run.folder, small_config(), data, [], overwrite=True)
    assert (replaced.log(), replaced.model.kind) == ([], "binary")


def test_a_run_that_was_killed_before_it_began_does_not_block_its_folder(tmp_path, data):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".lock", ".last.keras", "last.keras", ".config.json"):
        (folder / name).write_text("half")
        assert runs.expect_free(folder) is None
    runs.create(folder, small_config(), data, [])
    assert {path.name for path in folder.iterdir()} == {".lock", "config.json"}


def test_a_kill_while_a_run_is_replaced_leaves_a_run_or_none(run, data, monkeypatch):
    """Kill `create` after each removal in turn; each further call can continue."""
    (run.folder / "tensorboard").mkdir()
    for name in ("log.csv", "last.keras", "metrics.json", "tensorboard/events"):
        (run.folder / name).write_text("old")
    for where, name in ((pathlib.Path, "unlink"), (shutil, "rmtree")):
        monkeypatch.setattr(where, name, dying_after(getattr(where, name)))
    for _ in range(5):
        with pytest.raises(Killed):
            runs.create(run.folder, small_config(), data, [], overwrite=True)
    runs.create(run.folder, small_config(), data, [], overwrite=True)
    assert {path.name for path in run.folder.iterdir()} == {".lock", "config.json"}


class Killed(BaseException):
    """Stands for SIGKILL."""


def dying_after(function):
    def died(*args):
        function(*args)
        raise Killed

    return died


# what open_run and the checkpoints refuse


def test_open_run_refuses_what_is_not_a_run(tmp_path):
    with pytest.raises(
        RunError, match=r"expected a run directory with config\.json, received no such folder"
    ):
        runs.open_run(tmp_path / "none")
    with pytest.raises(RunError, match="received a folder without one"):
        runs.open_run(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b'{"model"', b"[]", b"3", b"{}", b'{"name": "a npm package"}', b"[" * 100_000],
    ids=["empty", "binary", "half", "list", "number", "no keys", "foreign", "deep"],
)
def test_a_damaged_config_is_refused(run, content):
    (run.folder / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=r"config\.json: expected the config of a run, received a damaged"):
        runs.open_run(run.folder)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("quantization", "threshold", 2.0),
        ("network", "conv", [4, -1]),
        ("network", "conv", "12"),
        ("network", "fc", [[8]]),
        ("network", "surprise", 1),
        ("inputs", "classes", 0),
        ("training", "epochs", 0),
        ("training", "seed", 0.5),
        ("training", "data_set", "svhn"),
        ("data", "surprise", 1),
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_config_with_impossible_values_is_refused_by_field(run, part, name, value, number):
    config = json.loads((run.folder / "config.json").read_text())
    if number == 1:
        config = in_first_format(config)
        part = "model" if part in ("network", "quantization", "inputs") else part
    config[part][name] = value
    (run.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=rf"config\.json: expected the config of a run, .*{name}") as caught:
        runs.open_run(run.folder)
    assert "damaged" not in str(caught.value)


def in_first_format(config):
    """The content of a config.json as earlier versions wrote it."""
    sizes = {key: value for key, value in config["network"].items() if key != "name"}
    model = config["inputs"] | sizes | config["quantization"]
    kept = {key: config[key] for key in ("training", "data", "command", "versions", "git_commit")}
    digest = provenance.settings_sha256(model, config["training"])
    return {"model": model, **kept, "settings_sha256": digest}


def test_the_first_format_is_read_as_the_second_and_its_file_stays(run):
    path = run.folder / "config.json"
    first = json.dumps(in_first_format(json.loads(path.read_text())))
    path.write_text(first)
    assert runs.open_run(run.folder) == run
    assert path.read_text() == first


@pytest.mark.parametrize("name", ["mynet", 3, None, ["vgg"]])
def test_a_network_that_is_not_registered_is_named_with_the_way_out(run, name):
    rewrite(run, network__name=name)
    with pytest.raises(
        RunError, match=r"network: expected one of vgg, .* received .*; a network of your own is"
    ) as e:
        runs.open_run(run.folder)
    assert repr(name) in str(e.value) and "--use FILE.py" in str(e.value)


@pytest.mark.parametrize("value", [0, 3, "2", None, True, 1.5])
def test_other_formats_are_refused(run, value):
    rewrite(run, format=value)
    with pytest.raises(RunError, match=rf"format: expected 1 or 2, received {value!r}; .* a later version"):
        runs.open_run(run.folder)


def test_a_change_of_settings_in_the_first_format_shows(run):
    config = in_first_format(json.loads((run.folder / "config.json").read_text()))
    config["model"]["threshold"] = 0.2
    (run.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        RunError, match=r"settings_sha256: expected [0-9a-f]{64}, the digest of model and training"
    ):
        runs.open_run(run.folder)


def rewrite(run, **changes):
    """Change entries of config.json; data__digest means the entry digest within data."""
    config = json.loads((run.folder / "config.json").read_text())
    for name, value in changes.items():
        *outer, last = name.split("__")
        (config[outer[0]] if outer else config)[last] = value
    (run.folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("surprise", [1], r"surprise: expected no such key in config\.json, received \[1\]"),
        ("data__name", "cifar-10", r"data\.name: expected 'mnist-5k', received 'cifar-10'"),
        ("data__digest", 7, r"data\.digest: expected a SHA-256, received 7"),
        ("data__official", "yes", r"data\.official: expected true or false, received 'yes'"),
        ("training__precision", "auto", r"precision: expected the precision that auto meant at the start"),
        (
            "training__seed",
            8,
            r"settings_sha256: expected [0-9a-f]{64}, the digest of network, .* and training",
        ),
        (
            "quantization__threshold",
            0.2,
            r"settings_sha256: expected [0-9a-f]{64}, the digest of network, .* and training",
        ),
        ("settings_sha256", None, r"settings_sha256: expected [0-9a-f]{64}, .*, received None"),
    ],
)
def test_the_other_entries_of_a_config_are_checked_too(run, name, value, said):
    rewrite(run, **{name: value})
    with pytest.raises(RunError, match=r"config\.json: expected the config of a run, received " + said):
        runs.open_run(run.folder)


def test_runs_without_a_digest_of_settings_can_still_be_opened(run):
    config = json.loads((run.folder / "config.json").read_text())
    del config["settings_sha256"]
    (run.folder / "config.json").write_text(json.dumps(config))
    assert runs.open_run(run.folder) == run


def test_a_run_continues_only_with_its_own_data(run, data):
    run.expect_data(data)
    with pytest.raises(RunError, match=f"expected data of SHA-256 {data.digest}, received {'1' * 64}"):
        run.expect_data(dataclasses.replace(data, digest="1" * 64))
    small = Split(data.train.images[:, :7], data.train.labels)
    with pytest.raises(RunError, match=r"expected a network from images of shape \(7, 8, 1\) to 10 classes"):
        run.expect_data(dataclasses.replace(data, train=small))
    other = dataclasses.replace(run, config=run.config.replace(classes=9))
    with pytest.raises(RunError, match=r"received one from \(8, 8, 1\) to 9$"):
        other.expect_data(data)


def test_other_data_that_fit_are_accepted_and_labeled(run, data):
    assert run.origin(data) == f"trained on {data.label}"
    other = dataclasses.replace(data, digest="1" * 64, official=False)
    run.expect_fit(other)
    assert (
        run.origin(other) == f"trained on {data.name} of SHA-256 {data.digest[:8]}, not on this {other.label}"
    )


@pytest.mark.parametrize("value", [None, [], "name", {}, {"name": "mnist-5k"}])
def test_a_config_without_its_data_is_refused(run, value):
    config = json.loads((run.folder / "config.json").read_text())
    (run.folder / "config.json").write_text(json.dumps(config | {"data": value}))
    with pytest.raises(RunError, match=r"config\.json: expected the config of a run"):
        runs.open_run(run.folder)


def test_the_error_for_a_missing_checkpoint_says_how_to_make_it(run):
    message = r"expected a checkpoint best\.keras, received a run that has none yet; continue with "
    with pytest.raises(RunError, match=rf"{message}bnn.resume\('{run.folder}'\)$"):
        run.load_model("best")
    with spelling.command_line(), pytest.raises(RunError, match=f"{message}.* --resume {run.folder}$"):
        run.load_model("best")


def test_damaged_checkpoints_are_refused_or_load_the_same_weights(copy, trained):
    """Truncated files and files with one flipped bit: an error of one line, or exactly the same weights."""
    path = copy.checkpoint("last")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    damaged = [content[:n] for n in (0, 1, 100, len(content) // 2, len(content) - 1)] + [b"<html>" * 50]
    for place in rng.integers(len(content), size=25):
        damaged.append(
            content[:place] + bytes([content[place] ^ 1 << rng.integers(8)]) + content[place + 1 :]
        )
    refused = 0
    for wrong in damaged:
        path.write_bytes(wrong)
        try:
            weights = copy.load_model("last").get_weights()
        except RunError as error:
            assert "expected a saved network, received one that Keras cannot read (" in str(error)
            assert "\n" not in str(error)
            refused += 1
        else:
            assert all(np.array_equal(a, b) for a, b in zip(weights, trained[1].get_weights(), strict=True))
    assert refused >= 15


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"network": {"fc": [9]}}, "dense_1"),
        ({"network": {"conv": [], "max_pool": []}}, "conv_1"),
        ({"quantization": {"levels": 3, "threshold": 0.1}}, "conv_1"),
        ({"quantization": {"continuous": True}}, "conv_1"),
        ({"network": {"bn_decay": 0.5}}, "conv_1_norm"),
        ({"network": {"filter_size": 5}}, "conv_1"),
    ],
    ids=["units", "dense", "ternary", "continuous", "decay", "filter"],
)
@pytest.mark.parametrize("name", ["last", "best"])
def test_a_checkpoint_that_does_not_match_the_config_is_refused(copy, name, changes, layer):
    config = json.loads((copy.folder / "config.json").read_text())
    del config["settings_sha256"]  # as in older runs; with the digest, the changed config would be refused
    ((part, settings),) = changes.items()
    (copy.folder / "config.json").write_text(json.dumps(config | {part: config[part] | settings}))
    run = runs.open_run(copy.folder)
    message = (
        rf"/{name}\.keras: expected the {run.model.kind} network that config\.json describes, "
        rf"received another one \(first difference: layer {layer}\)$"
    )
    with pytest.raises(RunError, match=message):
        run.load_model(name)


def test_a_checkpoint_without_its_optimizer_cannot_be_continued(copy):
    shutil.copy(copy.checkpoint("last"), copy.checkpoint("best"))
    copy.save_model(keras.models.clone_model(copy.load_model("last")), "last")
    with pytest.raises(
        RunError, match=r"last\.keras: expected a network with its optimizer, received one without"
    ):
        copy.load_model("last", compiled=True)


def test_weights_are_copied_between_equal_networks_only(trained, tmp_path, data):
    run, model = trained
    other, _ = start(tmp_path / "other", data, seed=9)
    assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])
    run.copy_weights(other)
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), model.get_weights(), strict=True))
    with pytest.raises(RunError, match=r"expected weights of the network to be trained, .* mnist-5k-binary-"):
        run.copy_weights(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))


# the log


def test_the_log_is_read_back_to_the_last_bit(run):
    rows = [ROW | {"epoch": i, "loss": math.pi / i, "val_loss": 1e-300} for i in (1, 2)]
    run.write_log(rows)
    assert run.log() == rows
    assert isinstance(run.log()[0]["epoch"], int)


def test_an_incomplete_last_row_is_ignored(run):
    run.write_log([ROW, ROW | {"epoch": 2}])
    path = run.folder / "log.csv"
    path.write_text(path.read_text()[:-20])
    assert run.log() == [ROW]
    path.write_text(path.read_text()[:30])
    assert run.log() == []


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        b"\xff\xfe\x00",
        b"epoch,loss\n1,0.5\n",
        ",".join(directory.LOG_COLUMNS).encode() + b"\n1" + b",x" * 7,
    ],
    ids=["foreign", "binary", "other columns", "words"],
)
def test_a_foreign_log_is_refused(run, content):
    (run.folder / "log.csv").write_bytes(content)
    with pytest.raises(RunError, match=r"log\.csv: expected numbers in the columns epoch, loss"):
        run.log()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": math.nan}, "loss nan in epoch 2"),
        ({"val_loss": math.inf}, "val_loss inf in epoch 2"),
        ({"val_accuracy": 1.5}, "val_accuracy 1.5 in epoch 2"),
        ({"accuracy": -0.5}, "accuracy -0.5 in epoch 2"),
        ({"epoch": 1}, "epoch 1 after epoch 1"),
        ({"epoch": -3}, "epoch -3 after epoch 1"),
    ],
)
def test_impossible_values_in_a_log_are_refused(run, changes, said):
    run.write_log([ROW, ROW | {"epoch": 2} | changes])
    with pytest.raises(RunError, match=rf"log\.csv: expected numbers .*, received {said}"):
        run.log()


def test_only_the_last_row_may_be_incomplete(run):
    run.write_log([ROW, ROW | {"epoch": 2}, ROW | {"epoch": 3}])
    lines = (run.folder / "log.csv").read_text().splitlines()
    for torn in (lines[2][:10], lines[2] + ",1"):
        (run.folder / "log.csv").write_text("\n".join([*lines[:2], torn, lines[3], ""]))
        with pytest.raises(RunError, match=r"log\.csv: .* received a row of another length after 1 others"):
            run.log()


def test_an_older_run_that_flattened_channels_first_can_be_loaded_and_packed(run):
    """As a keras.json with channels_first had it."""
    model = altered_copy(
        build_model(run.model),
        lambda layer: {"data_format": "channels_first"} if layer.name == "flatten" else {},
    )
    run.save_model(model, "best")
    loaded, images = (
        run.load_model(),
        np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8),
    )
    assert loaded.get_layer("flatten").data_format == "channels_first"
    with bits.numpy_alone():  # compiling would take longer
        found = packed.fold(loaded).scores(images)
    np.testing.assert_allclose(found, scores(loaded, images), atol=1e-4)


def test_an_older_run_with_the_pooling_layer_of_keras_can_be_loaded(tmp_path, monkeypatch):
    from bnn.networks import blocks

    monkeypatch.setattr(blocks, "MaxPool2x2", keras.layers.MaxPooling2D)
    model, run = start(tmp_path / "run", small_data())
    run.save_model(model, "best")
    monkeypatch.undo()
    loaded = run.load_model("best")
    assert type(loaded.get_layer("conv_1_pool")) is keras.layers.MaxPooling2D
    images = small_data().validation.images
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
