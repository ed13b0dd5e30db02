"""Mistyped commands: the error names what was typed and what to type, and Python is told of arguments, not of flags."""

import re
import shutil

import numpy as np
import pytest

from bnn import analysis, models, runs
from bnn.__main__ import COMMANDS, parse
from bnn.commands import analyze, download, export, predict, train
from bnn.console import spelling
from bnn.console.errors import ConfigError, UserError
from tests.support import ROOT


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A folder with a run, copies of its network under other names, and images."""
    shutil.copytree(trained[0], tmp_path / "runs" / "a")
    for name in ("model.keras", "model.h5", "model.pt"):
        shutil.copy(trained[0] / "best.keras", tmp_path / name)
    np.save(tmp_path / "x.npy", np.zeros((2, 28, 28, 1), np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


MISTYPED = [
    (
        analyze,
        "runs/a --quantizer ternary",
        "--quantizer ternary: expected kernels without .*; leave --quantizer out",
    ),
    (
        analyze,
        "runs/a --activations nothing",
        "--activations: expected sign, ternary, .*, received 'nothing'",
    ),
    (
        analyze,
        "model.h5",
        r"model.h5: expected a .keras file that Keras 3 saved, .*; .* model.save\('MODEL.keras'\)",
    ),
    (analyze, "model.h5 --images x.npy", r"model.h5: expected a .keras file .* model.save\('MODEL.keras'\)"),
    (analyze, "none.h5 --images x.npy", "none.h5: expected a run or a .keras file, received no such file"),
    (
        analyze,
        "model.pt",
        r"model.pt: expected a .keras file .*; .* bnn.analysis.analyze_torch\(model, images\)",
    ),
    (analyze, "model.keras", "model.keras: expected --images FILE with what the model takes, received none"),
    (analyze, "runs/a/best.keras", "best.keras: expected --images FILE .*; .* runs/a takes those of the run"),
    (analyze, "model.keras x.npy", "model.keras: expected run directories .*; .* --images FILE"),
    (analyze, "runs/a model.keras", "model.keras: expected run directories .*; .* --images FILE"),
    (analyze, f"{ROOT}/results", f"results: expected a run .*, such as {ROOT}/results/cifar-10-binary"),
    (
        analyze,
        "runs/a --images x.npy",
        "--images: expected a number of test images of the run, received x.npy",
    ),
    (
        predict,
        "model.keras x.npy",
        "model.keras: expected a run .*, received a .keras file; in Python, bnn.predict",
    ),
    (predict, "x.png runs/a", "x.png: expected a run .*, received a .png file; the network comes first"),
    (predict, "nothing x.npy", "nothing: expected a run directory with config.json, received no such folder"),
    (export, "model.keras", r"model.keras: expected a run directory, .*; in Python, bnn.pack\("),
    (
        export,
        "runs/a/best.keras",
        r"best.keras: expected a run directory .*, received a file; did you mean runs/a\?",
    ),
    (train, "--resume runs/a/last.keras", r"last.keras: expected .*, received a file; did you mean runs/a\?"),
    (
        train,
        "--data_set mnist-5k --threshold 0.02",
        "threshold: expected 0 .*, received 0.02; --levels 3 makes .*",
    ),
]


@pytest.mark.parametrize(("command", "line", "message"), MISTYPED, ids=[line for _, line, _ in MISTYPED])
def test_the_error_says_what_to_type(place, command, line, message):
    with pytest.raises(UserError, match=f"{message}$" if message.endswith("?") else message) as error:
        command.main(line.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parsed", "line", "message"),
    [
        (
            train.parse,
            "--conv 8,8",
            "--conv: expected a whole number, received '8,8'; separate numbers by spaces",
        ),
        (
            train.parse,
            "--fc none",
            "--fc: expected a whole number, received 'none'; --fc without a number means none",
        ),
        (train.parse, "--lr_end x", "--lr_end: expected a number, received 'x'"),
        (train.parse, "--clip none", "--clip: expected a number or glorot, received 'none'"),
        (train.parse, "runs/a", "unrecognized arguments: runs/a; a run is --run_dir DIR or --resume RUN, .*"),
        (
            train.parse,
            "--learning_rate 1",
            r"unrecognized arguments: --learning_rate 1; did you mean --lr_start\?",
        ),
        (train.parse, "--data_dir x.npy", "argument --data_dir: expected a folder, received the file x.npy"),
        (
            analyze.parse,
            "runs/a --output x.npy",
            "argument --output: expected a folder, received the file x.npy",
        ),
        (
            export.parse,
            "runs/a --output runs",
            "--output: expected the name of a file, received the folder 'runs'",
        ),
        (
            export.parse,
            "runs/a --output no/x",
            "--output: expected a file in a folder that exists, received 'no/x'.*",
        ),
        (download.parse, "cifar-10", "unrecognized arguments: cifar-10; a data set is --data_set NAME"),
        (
            parse,
            "",
            f"expected a command, one of {', '.join(COMMANDS)}, received none; bnn --help describes them",
        ),
        (parse, "help", ".*, received 'help'; bnn --help describes them"),
        (parse, "predcit x", r".*, received 'predcit'; did you mean predict\?"),
    ],
)
def test_a_command_line_that_cannot_be_parsed_is_refused_with_advice(place, capsys, parsed, line, message):
    with pytest.raises(SystemExit) as stop:
        parsed(line.split())
    assert stop.value.code == 2
    assert re.search(rf"^[\w. ]+: error: (argument )?{message}\n$", capsys.readouterr().err)


def test_python_is_told_of_arguments(place):
    with pytest.raises(ConfigError, match=r"^activations: expected sign, "):
        analysis.analyze("runs/a", activations="nothing")
    with pytest.raises(UserError, match=r"^quantizer='sign': expected kernels .*; leave quantizer out$"):
        analysis.analyze("model.keras", "x.npy", quantizer="sign")
    with pytest.raises(models.ModelError, match=r"none.h5: expected a .keras file, received no such file"):
        analysis.analyze("none.h5", "x.npy")
    with pytest.raises(
        runs.RunError, match=r"results: expected .*; did you mean .*/cifar-10-binary/seed0\?$"
    ):
        runs.open_run(ROOT / "results")


def test_main_of_a_program_ends_the_command_line(place):
    with pytest.raises(UserError):
        export.main(["model.keras"])
    assert spelling.argument("run_dir") == "run_dir"
