"""Files of packed networks give the same network again, or one line that says what is wrong."""

import json
import zipfile

import keras
import numpy as np
import pytest

from bnn import packed
from bnn.layers import BatchNorm, QuantDense
from bnn.packed import files
from tests.corruption import corrupted, within
from tests.packed.packed_networks import network


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(file, network, images)"""
    model, images = network(np.random.default_rng(0), levels=3, threshold=0.3, first_layer="real")
    net, path = (
        packed.fold(model, class_names=["cat", "dog", "é", "<x>"]),
        tmp_path_factory.mktemp("packed") / "p.npz",
    )
    assert packed.save(net, path) == path.stat().st_size
    return path, net, images


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"levels": 3, "threshold": 0.3},
        {"first_layer": "real"},
        {"first_layer": "rotated"},
        {"first_layer": "whitening", "last_layer": "real", "fc": ()},
        {"conv": (), "fc": ()},
        {"conv": (), "fc": (70,)},
        {"input_range": (-0.3, 1.0)},
    ],
)
def test_a_saved_network_can_be_loaded(settings, tmp_path):
    model, images = network(np.random.default_rng(0), **settings)
    net = packed.fold(model, image_range=(-1, 1))
    packed.save(net, str(tmp_path / "p.npz"))
    again = packed.load(str(tmp_path / "p.npz"))
    np.testing.assert_array_equal(again.scores(images), net.scores(images))
    assert len(repr(again)) < 200 and f"{len(net.class_names)} classes" in repr(again)
    kept = ("input_shape", "pixels", "class_names", "image_range")
    assert [getattr(again, name) for name in kept] == [getattr(net, name) for name in kept]
    assert [layer.name for layer in again.layers] == [layer.name for layer in net.layers]


def test_binary_weights_take_one_bit_and_ternary_two(tmp_path):
    model, _ = network(np.random.default_rng(0), conv=(), fc=(1000, 1000))
    size = packed.save(packed.fold(model), tmp_path / "p.npz")
    bits = sum(np.prod(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel"))
    assert bits / 8 < size < bits / 8 + 15_000
    ternary, _ = network(np.random.default_rng(0), conv=(), fc=(1000, 1000), levels=3, threshold=0.3)
    assert 2 * bits / 8 < packed.save(packed.fold(ternary), tmp_path / "p.npz") < 2 * bits / 8 + 30_000


def test_the_manifest_has_the_format_version_and_class_names(saved):
    with np.load(saved[0], allow_pickle=False) as file:
        manifest = json.loads(file["manifest"].tobytes())
    assert (manifest["format"], manifest["version"]) == ("bnn packed network", 1)
    assert manifest["class_names"] == ["cat", "dog", "é", "<x>"]
    assert packed.load(saved[0]).class_names == ("cat", "dog", "é", "<x>")


def test_a_network_has_methods_that_write_and_read_the_same_file(saved, tmp_path):
    path, net, images = saved
    assert net.save(tmp_path / "p.npz") == path.stat().st_size
    assert (tmp_path / "p.npz").read_bytes() == path.read_bytes()
    again = packed.PackedNetwork.load(str(tmp_path / "p.npz"))
    np.testing.assert_array_equal(again.scores(images), packed.load(path).scores(images))
    with pytest.raises(packed.PackError, match="expected a packed network, received no such file"):
        packed.PackedNetwork.load(tmp_path / "none.npz")


def refused(path, *words):
    with within(20), pytest.raises(packed.PackError) as error:
        packed.load(path)
    said = str(error.value)
    assert said.startswith(f"{path}: expected ") and "received" in said and "\n" not in said
    assert all(word in said for word in words), said


@pytest.mark.parametrize("cases", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_refused_or_gives_the_same_network(saved, tmp_path, cases):
    path, net, images = saved
    rng, whole, expected = np.random.default_rng(0), path.read_bytes(), net.scores(images[:1])
    kept = 0
    for case in range(cases):
        damaged = tmp_path / f"{case}.npz"
        damaged.write_bytes(corrupted(whole, rng))
        try:
            again = packed.load(damaged)
        except packed.PackError:
            refused(damaged)
        else:
            np.testing.assert_array_equal(again.scores(images[:1]), expected)
            kept += 1
    assert kept < cases / 2


@pytest.mark.parametrize("length", [0, 1, 100, 2000])
def test_a_truncated_file_is_refused(saved, tmp_path, length):
    path = tmp_path / "p.npz"
    path.write_bytes(saved[0].read_bytes()[:length])
    refused(path, "a damaged or foreign file")


def test_foreign_files_are_refused(saved, tmp_path):
    path = tmp_path / "p.npz"
    refused(path, "no such file")
    path.mkdir()
    refused(path)
    path.rmdir()
    np.savez(path, x=np.ones(3))
    refused(path, "without its manifest")
    np.savez_compressed(path, x=np.zeros(10**6))
    refused(path, "compressed arrays")
    np.savez(path, manifest=np.array([{"format": 1}], object), allow_pickle=True)
    refused(path)
    rewrite(saved[0], path, version=2)
    refused(path, "bnn packed network, version 1", "version 2")
    rewrite(saved[0], path, class_names=["a", "b", "c", "d"])
    refused(path, "SHA-256")


def resealed(source, target, change):
    """Write a copy with a changed manifest and a digest that matches."""
    with np.load(source) as file:
        arrays = {name: file[name] for name in file.files}
    manifest = json.loads(arrays.pop("manifest").tobytes())
    change(manifest)
    del manifest["sha256"]
    manifest["sha256"] = files.digest(manifest, arrays)
    np.savez(target, manifest=np.frombuffer(json.dumps(manifest).encode(), np.uint8), **arrays)


def test_a_file_of_an_earlier_version_has_floats_from_0_to_1(saved, tmp_path):
    resealed(saved[0], tmp_path / "p.npz", lambda manifest: manifest.pop("image_range"))
    assert packed.load(tmp_path / "p.npz").image_range == (0, 1)


def test_inputs_that_are_no_pixels_have_no_range(tmp_path):
    model = keras.Sequential([keras.Input((5,)), QuantDense(7), BatchNorm()])
    net = packed.fold(model)
    packed.save(net, tmp_path / "p.npz")
    resealed(tmp_path / "p.npz", tmp_path / "old.npz", lambda manifest: manifest.pop("image_range"))
    assert net.image_range is None
    assert {packed.load(tmp_path / name).image_range for name in ("p.npz", "old.npz")} == {None}


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["layers"].pop(),
        lambda m: m["layers"].pop(1),
        lambda m: m.update(layers=[]),
        lambda m: m["layers"][1].update(pool="none"),
        lambda m: m["layers"][1].update(pool="max"),
        lambda m: m["layers"][2].update(pool="bits"),
        lambda m: m["layers"][1].update(weights="real"),
        lambda m: m["layers"][1].update(weights="binary"),
        lambda m: m["layers"][1].update(shape=[3, 3, 5, 66]),
        lambda m: m["layers"][1].update(shape=[10**6, 10**6, 10**6, 5]),
        lambda m: m["layers"][1].update(dense=True),
        lambda m: m["layers"][0].update(name=1),
        lambda m: m.update(input_shape=[9, 7, 3]),
        lambda m: m.update(input_shape=[9, 7]),
        lambda m: m.update(input_shape="977"),
        lambda m: m.update(pixels=[1]),
        lambda m: m.update(pixels=["a", "b"]),
        lambda m: m.update(image_range=[0.0]),
        lambda m: m.update(image_range=[1.0, 0.0]),
        lambda m: m.update(image_range=[0.0, float("inf")]),
        lambda m: m.update(image_range="ab"),
        lambda m: m.update(class_names=["a"]),
        lambda m: m.pop("layers"),
        lambda m: m.update(layers=7),
        lambda m: m["layers"][0].update(weights="binary"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(saved, tmp_path, change):
    """The digest is correct, as in files that another program wrote."""
    resealed(saved[0], tmp_path / "p.npz", change)
    refused(tmp_path / "p.npz", "another one")


def rewrite(source, target, **changes):
    with zipfile.ZipFile(source) as file, zipfile.ZipFile(target, "w") as copy:
        for name in file.namelist():
            content = file.read(name)
            if name == "manifest.npy":
                with np.load(source) as arrays:
                    manifest = json.loads(arrays["manifest"].tobytes()) | changes
                with copy.open(name, "w") as entry:
                    np.lib.format.write_array(entry, np.frombuffer(json.dumps(manifest).encode(), np.uint8))
            else:
                copy.writestr(name, content)
