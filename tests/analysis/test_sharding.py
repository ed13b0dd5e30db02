"""The analysis in shards: any division gives the report of one process; a wrong shard gives one line."""

import json
import shutil

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn.analysis import ReportError, analyze, analyze_shard, merge_shards
from bnn.analysis.core import layer_geometry, permutations
from bnn.commands.analyze import main
from bnn.console.errors import ConfigError
from tests.analysis.test_report import random_network
from tests.support import assert_same_report, unwrapped

RNG = np.random.default_rng(2)
IMAGES = RNG.integers(0, 256, (7, 7, 7, 2), dtype=np.uint8)
KINDS = ("binary", "continuous", "masked", "wide")


def network(kind):
    """(model, images): with a layer of several calls and masks, or with more products than a histogram counts."""
    keras.utils.set_random_seed(0)
    if kind == "masked":
        steps = keras.Input((4, 3))
        shared = keras.layers.Dense(3, name="shared")
        x = shared(shared(keras.layers.Masking()(steps)))
        sequences = RNG.standard_normal((7, 4, 3)).astype(np.float32)
        sequences[:2] = 0  # a first batch of two has nothing to measure
        sequences[5, 2:] = 0
        return keras.Model(steps, keras.layers.Dense(2, name="dense")(x)), sequences
    if kind == "wide":
        layers = [keras.layers.Conv2D(5, 3, name="conv"), keras.layers.Conv2DTranspose(6, 3, 2, name="back")]
        return keras.Sequential([keras.Input((7, 7, 2)), *layers]), IMAGES.astype(np.float32)
    return random_network(kind), IMAGES


@pytest.fixture(scope="module")
def networks():
    return {kind: network(kind) for kind in KINDS}


@pytest.fixture(autouse=True)
def several_blocks_and_steps(monkeypatch):
    monkeypatch.setattr(permutations, "BLOCK", 4)
    monkeypatch.setattr(permutations, "SKIPPED", 2)
    monkeypatch.setattr(layer_geometry, "HISTOGRAM_PAIRS", 60)
    monkeypatch.setattr(layer_geometry, "PATCHES", 40)


def in_shards(model, images, of, folder, order=(), **options):
    for number in order if len(order) else range(1, of + 1):
        analyze_shard(model, images, shard=(number, of), folder=folder, **options)
    return merge_shards(model, images, folder=folder, **options)


def check(pair, of, folder, **options):
    model, images = pair
    whole = analyze(model, images, **options)
    order = np.random.default_rng(of).permutation(of) + 1  # the shards end in any order
    assert_same_report(in_shards(model, images, of, folder, order, **options), whole)


@pytest.mark.parametrize(("kind", "of", "batch_size"), [("binary", 2, 2), ("masked", 3, 2), ("wide", 2, 50)])
def test_a_division_gives_the_report_of_one_process(networks, tmp_path, kind, of, batch_size):
    check(networks[kind], of, tmp_path, batch_size=batch_size, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_any_division_gives_the_report_of_one_process(networks, tmp_path_factory, kind):
    @settings(max_examples=15)
    @given(of=st.integers(1, 7), batch_size=st.integers(1, 8), seed=st.integers(0, 3))
    def random_division(of, batch_size, seed):
        check(networks[kind], of, tmp_path_factory.mktemp("report"), batch_size=batch_size, seed=seed)

    random_division()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """(model, images, folder with two shards of them)"""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="dense", activation="relu")])
    images = RNG.standard_normal((9, 5)).astype(np.float32)
    folder = tmp_path_factory.mktemp("shards")
    for number in (1, 2):
        analyze_shard(model, images, shard=f"{number}/2", folder=folder)
    return model, images, folder


def other_activation(model):
    config = model.get_config()
    config["layers"][1]["config"]["activation"] = "tanh"
    other = keras.Sequential.from_config(config)
    other.set_weights(model.get_weights())
    return other


def test_a_shard_of_another_model_of_other_images_or_settings_is_refused(shards):
    model, images, folder = shards
    others = images.copy()
    others[8, 4] += 1e-3
    cases = [
        ({}, {"network": other_activation(model)}, "1-of-2.npz: expected a shard of this model"),
        ({}, {"images": others}, "2-of-2.npz: expected a shard of these images"),
        ({}, {"images": images[:8]}, "expected a shard with images 8, received one with 9"),
        ({"seed": 1}, {}, "expected a shard with seed 1, received one with 0"),
        ({"batch_size": 3}, {}, "expected a shard with batch_size 3, received one with 50"),
        ({"quantizer": "ternary"}, {}, "expected a shard with quantizer 'ternary', received one with None"),
    ]
    for options, replaced, message in cases:
        network = replaced.get("network", model)
        with pytest.raises(ReportError, match=message) as caught:
            merge_shards(network, replaced.get("images", images), folder=folder, **options)
        assert "\n" not in str(caught.value) and "measure it again with shard='" in str(caught.value)
    assert len(merge_shards(model, images, folder=folder)) == 1


def test_missing_damaged_and_mixed_shards_are_named(shards, tmp_path):
    model, images, folder = shards

    def refused(message):
        with pytest.raises(ReportError, match=message) as caught:
            merge_shards(model, images, folder=tmp_path)
        assert "\n" not in str(caught.value)

    refused("expected the shards of an analysis, received none")
    shutil.copytree(folder / "shards", tmp_path / "shards")
    first, second = (tmp_path / "shards" / f"{number}-of-2.npz" for number in (1, 2))
    content = second.read_bytes()
    second.write_bytes(content[: len(content) // 2])
    refused("2-of-2.npz: expected a shard, received a damaged or foreign file")
    second.unlink()
    refused("expected all 2 shards, received none for 2/2; measure it with shard='2/2'")
    second.write_bytes(content)
    shutil.copy(first, first.with_name("1-of-3.npz"))
    refused("expected the shards of one division, received 1/2, 1/3, 2/2")


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/2/3", (1,), 2])
def test_a_shard_that_is_none_is_refused(shards, tmp_path, shard):
    model, images, _ = shards
    with pytest.raises(ReportError, match="shard: expected I/N with I from 1 to N"):
        analyze_shard(model, images, shard=shard, folder=tmp_path)
    assert not any(tmp_path.iterdir())


def test_what_no_shard_can_measure_is_refused(shards, tmp_path):
    model, images, _ = shards
    with pytest.raises(ReportError, match="at most 9 shards of 9 images, received 1/10"):
        analyze_shard(model, images, shard=(1, 10), folder=tmp_path)
    with pytest.raises(ReportError, match="levels are fitted to half of them all"):
        analyze_shard(model, images, shard=(1, 2), folder=tmp_path, quantizer="fitted")


@pytest.mark.slow
def test_the_command_line_writes_the_file_of_one_process(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    flags = ["--images", "40"]
    for number in (3, 1, 2):
        assert main([str(run), *flags, "--shard", f"{number}/3"]) == 0
    assert "--merge with the same flags makes the report" in unwrapped(capsys.readouterr().out)
    found = []
    for more in (["--merge"], []):
        assert main([str(run), *flags, *more]) == 0
        found.append(json.loads((run / "metrics.json").read_text()))
    merged, whole = found
    layers, others = merged.pop("layers"), whole.pop("layers")
    assert merged == whole
    for row, other in zip(layers, others, strict=True):
        assert row.keys() == other.keys()
        for key, value in row.items():
            close = pytest.approx(other[key], rel=1e-4, abs=1e-6) if isinstance(value, float) else other[key]
            assert value == close, key
    with pytest.raises(ConfigError, match="--shard: expected one run or model, received several runs"):
        main([str(run), str(run), "--shard", "1/2"])
    for flags in (["--merge", "--activations", "sign"], ["--shard", "4/3"], ["--shard", "1/2", "--merge"]):
        with pytest.raises(SystemExit) as stop:
            main([str(run), *flags])
        assert stop.value.code == 2
