"""Settings as flags: parsing, errors and --help."""

import argparse
import dataclasses

import pytest

from bnn.settings.config import ModelConfig, TrainConfig
from bnn.settings.flags import add_flags, take_settings
from bnn.settings.presets import PRESETS


def parse(*argv):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(argv))


def test_only_the_given_flags_appear():
    assert parse() == {}
    assert parse("--epochs", "3", "--continuous", "--conv", "8", "16", "--fc") == {
        "epochs": 3,
        "continuous": True,
        "conv": [8, 16],
        "fc": [],
    }


def test_a_number_or_a_word():
    assert parse("--clip", "0.5", "--clip_gradients", "2") == {"clip": 0.5, "clip_gradients": 2}
    assert parse("--clip", "glorot", "--clip_gradients", "none") == {"clip": "glorot", "clip_gradients": None}


def test_what_a_network_turns_on_can_be_turned_off():
    assert parse("--network", "binarynet", "--no-bn_scale") == {"network": "binarynet", "bn_scale": False}
    assert parse("--bn_scale") == {"bn_scale": True}


def test_every_flag_of_the_authors_code_exists():
    flags = {f.name for kind in (ModelConfig, TrainConfig) for f in dataclasses.fields(kind) if f.metadata}
    assert flags >= {
        "data_set",
        "batch_size",
        "epochs",
        "lr_start",
        "lr_end",
        "loss_mode",
        "conv",
        "fc",
        "max_pool",
        "ckpt_n",
        "filter_size",
        "continuous",
        "debug",
        "levels",
        "threshold",
    }


@pytest.mark.parametrize(
    "argv",
    [
        ["--data_set", "svhn"],
        ["--levels", "4"],
        ["--epochs", "many"],
        ["--conv", "8", "x"],
        ["--loss_mode", "l2"],
        ["--clip", "none"],
        ["--clip_gradients", "glorot"],
    ],
)
def test_flags_with_wrong_values_end_with_status_2(argv, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(*argv)
    assert exit_.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert argv[0] in message and argv[-1] in message


def test_help_shows_the_defaults(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    parser = argparse.ArgumentParser()
    add_flags(parser)
    text = " ".join(parser.format_help().split())
    epochs = PRESETS["mnist-5k"]["epochs"]
    assert (
        f"passes over the training images (default: 500; MNIST: 100; fashion-mnist: 20; mnist-5k: {epochs})"
        in text
    )
    assert "(default: 128 128 256 256 512 512; MNIST: none; fashion-mnist: " in text


def test_settings_are_removed_from_the_parsed_arguments():
    parser = argparse.ArgumentParser()
    add_flags(parser)
    parser.add_argument("--other")
    namespace = parser.parse_args(["--epochs", "3", "--other", "x"])
    assert take_settings(namespace) == {"epochs": 3}
    assert vars(namespace) == {"other": "x"}


def test_the_help_of_a_network_shows_its_own_defaults(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    shown = {}
    for network in ("bi-real-20", "binarynet"):
        parser = argparse.ArgumentParser()
        add_flags(parser, network)
        shown[network] = " ".join(parser.format_help().split())
    assert "(default: 16 32 64)" in shown["bi-real-20"] and "(default: real)" in shown["bi-real-20"]
    assert "passes over the training images (default: 500) " in shown["binarynet"]
    assert "none: do not clip (default: none)" in shown["binarynet"]
