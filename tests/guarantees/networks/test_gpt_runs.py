"""The text that a trained language model writes, and its analysis."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

import bnn
from bnn import runs, training
from bnn.analysis import analyze
from bnn.commands import predict
from bnn.console.errors import ConfigError
from bnn.datasets import DataError
from tests.support import small_text

CONTEXT = 6
SIZES = {"network": "gpt", "blocks": 2, "heads": 2, "width": 8, "context": CONTEXT, "classes": 10}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on digits that count up, mostly."""
    data, given = small_text(context=CONTEXT), SIZES | {"epochs": 3, "steps_per_epoch": 5, "lr_start": 0.02}
    folder = tmp_path_factory.mktemp("gpt") / "run"
    return training.train(folder, data_set=data, verbose=False, **given)


def test_the_text_depends_on_the_seed_alone(run, capsys):
    text = bnn.generate(run, "012", 12, seed=3)
    assert text.startswith("012") and len(text) == 15 and set(text) <= set("0123456789")
    assert bnn.generate(str(run.folder), "012", 12, seed=3) == text
    assert bnn.generate(run, "012", 12, seed=4) != text
    assert predict.main([str(run.folder), "--prompt", "012", "--characters", "12", "--seed", "3"]) == 0
    assert capsys.readouterr().out == f"{text}\n"


def test_without_temperature_the_most_likely_character_follows(run):
    """Each from the last characters alone, as many as the context, at every length of the prompt."""
    text, model = bnn.generate(run, "01", 9, temperature=0), run.load_in_float32()
    for end in range(2, len(text)):
        given = np.array([[int(digit) for digit in text[max(0, end - CONTEXT) : end]]], np.uint8)
        padded = np.pad(given, ((0, 0), (0, CONTEXT - given.shape[1])))
        assert text[end] == str(np.asarray(model([padded]))[0, given.shape[1] - 1].argmax())


def test_the_analysis_counts_characters_and_nats(run, monkeypatch):
    data = small_text(context=CONTEXT)
    monkeypatch.setattr(runs.Run, "load_data", lambda *_: data)
    report = analyze(run)
    scores = np.asarray(run.load_in_float32()([data.test.images]))
    log_p = log_softmax(scores.astype(np.float64), axis=-1)
    loss = -np.mean(np.take_along_axis(log_p, data.test.labels[..., None].astype(int), -1))
    assert report.about["test_loss"] == pytest.approx(loss, rel=1e-6)
    assert report.about["test_accuracy"] == np.mean(scores.argmax(-1) == data.test.labels)
    assert report.about["test_characters"] == data.test.labels.size == 36
    assert f"(36 characters), loss {loss:.4f} nats, {loss / np.log(2):.4f} bits" in report.accuracy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "prompt: expected at least one character, received ''"),
        ({"prompt": None}, "prompt: expected at least one character, received None"),
        ({"characters": 0}, "characters: expected a whole number from 1, received 0"),
        ({"temperature": -0.1}, r"temperature: expected 0 or a positive number, received -0\.1"),
        ({"temperature": float("nan")}, "temperature: expected 0 or a positive number, received nan"),
        ({"seed": -1}, r"seed: expected a whole number in \[0, 2\^32\), received -1"),
    ],
)
def test_what_cannot_be_written_is_refused(options, message, run):
    with pytest.raises(ConfigError, match=message):
        bnn.generate(run, **{"prompt": "0", "characters": 1} | options)


def test_prompts_and_images_meet_the_run_that_takes_them(run, tmp_path):
    with pytest.raises(
        DataError, match="text: expected the 10 characters '0123456789', received 'a' at place 2"
    ):
        bnn.generate(run, "0a")
    with pytest.raises(runs.RunError, match="on images, received one on the text of tiny-shakespeare; bnn"):
        bnn.predict(run, np.zeros((1, 8, 8, 1), np.uint8))
    for flags in (["x.png"], ["--errors"]):
        with pytest.raises(
            runs.RunError, match="received one on the text of tiny-shakespeare; --prompt TEXT"
        ):
            predict.main([str(run.folder), *flags])
    with pytest.raises(ConfigError, match="run: expected a run or its folder, received a Sequential"):
        bnn.generate(keras.Sequential(), "0")
