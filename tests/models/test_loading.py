"""Models and images from files, which analyze.py analyzes or refuses."""

import json
import pickle

import keras
import numpy as np
import pytest
from keras import layers

from bnn.analysis import report
from bnn.console.errors import ModelError
from bnn.models import loading
from tests.support import assert_refused, call, unwrapped

IMAGES = np.random.default_rng(0).standard_normal((20, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files with a model and its images, and other files that look like them."""
    folder = tmp_path_factory.mktemp("files")
    backbone = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(6, 3, name="conv")], name="backbone")
    inputs = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, name="depthwise")(backbone(inputs))
    x = layers.EinsumDense("abcd,d->abcd", (4, 4, 6), name="einsum")(x)
    keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten()(x))).save(folder / "model.keras")
    keras.Sequential([keras.Input((8, 8, 3)), layers.ReLU()]).save(folder / "no kernel.keras")
    np.save(folder / "images.npy", IMAGES)
    np.save(folder / "small.npy", IMAGES[:, :4])
    return folder


def test_a_model_file_is_analyzed_from_the_command_line(folder):
    command = ("analyze.py", folder / "model.keras", "--images", folder / "images.npy")
    process = call(*command, "--quantizer", "ternary", "--activations", "sign", "--batch_size", 8)
    assert (process.returncode, process.stderr) == (0, "")
    lines = unwrapped(process.stdout).splitlines()
    assert "not analyzed: einsum: its equation contracts no axis of the kernel" in lines
    output = folder / "model-geometry"
    assert lines[-1].startswith(f"wrote {output / 'metrics.json'} and 7 figures")
    metrics = json.loads((output / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert (metrics["images"], metrics["quantizer"], metrics["activations"]) == (20, "ternary", "sign")
    assert list(metrics["unanalyzed"]) == ["einsum"]
    assert [row["layer"] for row in metrics["layers"]] == ["backbone/conv", "depthwise", "head"]
    assert {path.stem for path in output.glob("*.png")} == {
        "angles",
        "latent_weights",
        "dot_products",
        "permuted",
        "activations",
        "laws",
        "residual_parts",
    }
    model = keras.saving.load_model(folder / "model.keras")
    expected = report.analyze(model, IMAGES, quantizer="ternary", activations="sign")
    for row, layer in zip(metrics["layers"], expected, strict=True):
        for key, value in layer.statistics().items():
            assert row[key] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), key


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model.keras",), ("expected --images FILE", "received none")),
        (("missing.keras",), ("missing.keras: expected a run or a .keras file, received no such file",)),
        (
            ("missing.keras", "--images", "images.npy"),
            ("missing.keras: expected a run or a .keras file, received no such",),
        ),
        (("model.keras", "--images", "small.npy"), ("expected shape (n, 8, 8, 3)", "received (20, 4, 8, 3)")),
        (
            ("no kernel.keras", "--images", "images.npy"),
            ("expected a layer with a kernel that can be analyzed",),
        ),
        (
            ("model.keras", "--images", "images.npy", "--quantizer", "x"),
            ("expected sign, ternary", "received 'x'"),
        ),
    ],
)
def test_bad_input_gives_one_line(folder, arguments, words):
    assert_refused(call("analyze.py", *arguments, cwd=folder), *words)


def test_files_without_a_model_are_refused(folder, tmp_path):
    (tmp_path / "text.keras").write_text("no zip")
    (tmp_path / "images.h5").write_bytes((folder / "images.npy").read_bytes())
    np.savez(tmp_path / "zip", a=1)
    (tmp_path / "zip.npz").rename(tmp_path / "zip.keras")
    for name in ("text.keras", "images.h5", "zip.keras"):
        with pytest.raises(ModelError, match=rf"{name}: expected a .*, received"):
            loading.load_model(tmp_path / name)


def test_layers_with_code_are_named_with_the_way_out(tmp_path):
    """Nested and wrapped; layers without code are not named."""
    inner = keras.Sequential(
        [keras.Input((4, 2)), layers.Dense(2, name="plain"), layers.Lambda(lambda x: x, name="one")],
        name="in",
    )
    wrapped = layers.TimeDistributed(layers.Lambda(lambda x: 2 * x, name="two"), name="around")
    keras.Sequential([keras.Input((4, 2)), inner, wrapped]).save(tmp_path / "m.keras")
    with pytest.raises(ModelError) as caught:
        loading.load_model(tmp_path / "m.keras")
    assert str(caught.value) == (
        f"{tmp_path / 'm.keras'}: expected a saved network, received one with Python code of its own (a lambda) in "
        "Lambda 'one', Lambda 'two'; if you trust it, load it in Python with "
        "keras.saving.load_model(path, safe_mode=False) and call bnn.analyze(model, images)"
    )
    model = keras.saving.load_model(tmp_path / "m.keras", safe_mode=False)
    found = report.analyze(model, np.random.default_rng(0).normal(size=(4, 4, 2)))
    assert [layer.name for layer in found] == ["in/plain"]


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_files_without_images_are_refused(folder, tmp_path, suffix):
    model = keras.saving.load_model(folder / "model.keras")
    for content in (b"", b"no array", pickle.dumps(print)):
        (tmp_path / f"x.{suffix}").write_bytes(content)
        with pytest.raises(ModelError, match=r"expected a \.npy or \.npz file of images"):
            loading.load_images(tmp_path / f"x.{suffix}", model)
    np.save(tmp_path / "objects.npy", np.array([print]), allow_pickle=True)
    with pytest.raises(ModelError, match=r"expected a \.npy or \.npz file of images, received another"):
        loading.load_images(tmp_path / "objects.npy", model)


def test_several_inputs_are_given_by_name(tmp_path):
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    model = keras.Model([b, a], layers.Dense(2, name="x")(a) + layers.Dense(2, name="y")(b))
    arrays = {"a": np.ones((5, 3)), "b": np.zeros((5, 4))}
    np.savez(tmp_path / "both.npz", **arrays)
    loaded = loading.load_images(tmp_path / "both.npz", model)
    assert [array.shape for array in loaded] == [(5, 4), (5, 3)]
    assert [layer.weights.count for layer in report.analyze(model, loaded)] == [10, 10]
    np.savez(tmp_path / "other.npz", a=arrays["a"], c=arrays["b"])
    with pytest.raises(ModelError, match="expected arrays named b, a, received a, c"):
        loading.load_images(tmp_path / "other.npz", model)


def test_a_npy_file_is_not_read_into_memory(folder):
    model = keras.saving.load_model(folder / "model.keras")
    assert isinstance(loading.load_images(folder / "images.npy", model), np.memmap)


def test_a_class_of_somebody_else_is_named_with_the_way_out(tmp_path):
    class Doubling(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    model = keras.Sequential([keras.Input((3,)), Doubling(), keras.layers.Dense(1)])
    model.save(tmp_path / "own.keras")
    with pytest.raises(ModelError, match=r"received one with class 'Doubling'; .* bnn\.analyze"):
        loading.load_model(tmp_path / "own.keras")


def test_other_formats_are_named(tmp_path):
    for name in ("images.csv", "model.h5", "saved/saved_model.pb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1,2")
    with pytest.raises(ModelError, match=r"expected a .npy or .npz file .* a .csv file; convert it"):
        loading.load_images(tmp_path / "images.csv", None)
    with pytest.raises(ModelError, match=r"received a .h5 file; load it in Python"):
        loading.load_model(tmp_path / "model.h5")
    with pytest.raises(ModelError, match="received a SavedModel of TensorFlow"):
        loading.load_model(tmp_path / "saved")
