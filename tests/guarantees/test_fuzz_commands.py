"""Random command lines: the exit code is 0, 1 or 2, and if it is not 0 the last line says why."""

import os
import runpy
import sys

import numpy as np
import pytest

from bnn.commands import analyze, binarize, download, train
from bnn.console import run_program
from bnn.networks import VGG
from bnn.settings import config
from bnn.settings.config import Quantization, TrainConfig
from bnn.settings.flags import flagged
from bnn.training.start import begin
from tests.corruption import within
from tests.support import ROOT, TINY, assert_refused, call, unwrapped

NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "10",
    "1e3",
    "0.5",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 30,
    "65537",
    "1_0",
]
WORDS = [
    "",
    " ",
    "-",
    "--",
    "none",
    "MNIST",
    "mnist-5k",
    "\N{SNOWMAN}",
    "\udcff",
    "a" * 5000,
    "[1]",
    "None",
    "%s",
]
PATHS = [
    "nowhere",
    ".",
    "/",
    "/dev/null",
    "tests",
    "a/b/c",
    "x" * 300,
    "README.md",
    "\udcff",
    "new\nline",
    "",
]
URLS = [
    "http://127.0.0.1:9/",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://\N{SNOWMAN}/",
    "file:///nowhere",
    "file:///dev/zero",
    "ftp://127.0.0.1/",
    "http:///",
    "http://.x./",
    "http://a:b@127.0.0.1:9",
    "//x",
]


def campaign(short, long):
    return pytest.mark.parametrize("cases", [short, pytest.param(long, marks=pytest.mark.slow)])


def random_flags(rng, flags, pool):
    """Random flags, each followed by zero to three values of the pool."""
    line = []
    for flag in rng.choice(flags, size=rng.integers(0, 5)):
        line += [
            str(flag),
            *(pool[i] for i in rng.integers(len(pool), size=rng.choice([0, 1, 1, 1, 1, 2, 3]))),
        ]
    return line


def outcome(program, main, argv, monkeypatch, capsys):
    """Run a program in this process; return (exit code, standard error), which is one line if the code is 1."""
    monkeypatch.setattr(sys, "argv", [program, *argv])
    sys.stderr.reconfigure(errors="backslashreplace")  # as in a Python whose output is not captured
    with within(60), pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr().err
    assert "Traceback" not in said, argv
    assert stop.value.code != 1 or len(said.splitlines()) == 1, (argv, said)
    return stop.value.code or 0, said


@campaign(400, 20_000)
def test_train_up_to_its_settings(cases, monkeypatch, capsys):
    """Parsing, presets and validation; the next test covers what follows."""
    rng = np.random.default_rng(0)
    flags = [f"--{name}" for name in flagged(VGG, Quantization, TrainConfig)] + [
        "--run_dir",
        "--resume",
        "--init_from",
        "--overwrite",
        "--x",
    ]

    def main():
        given, _ = train.parse()
        config.settings_for(given)

    codes = set()
    for _ in range(cases):
        argv = random_flags(rng, flags, NUMBERS + WORDS)
        code, said = outcome("train.py", lambda: run_program("train.py", main), argv, monkeypatch, capsys)
        assert code == 0 or "train.py: error: " in said, argv
        assert (code == 1) <= (": expected " in said and ", received " in said), argv
        codes.add(code)
    assert codes == {0, 1, 2}


@campaign(6, 300)
def test_train_up_to_its_first_step(cases, tmp_path, monkeypatch, capsys):
    """Networks of every shape get a run directory, or are refused before anything is written."""
    rng = np.random.default_rng(1)
    pool = {
        "--conv": ["", "1", "3 2", "5 5"],
        "--max_pool": ["", "0", "1", "0 1", "1 1 1"],
        "--fc": ["", "1", "7 2"],
        "--filter_size": ["1", "2", "31"],
        "--levels": ["2", "3"],
        "--threshold": ["0", "0.999"],
        "--continuous": [""],
        "--batch_size": ["1", "4000", "4001"],
        "--lr_start": ["1e300", "1e-300"],
        "--first_layer": ["real", "rotated", "whitening"],
        "--last_layer": ["real"],
        "--clip": ["glorot"],
        "--bn_scale": [""],
        "--network": ["vgg-small", "binarynet"],
        "--precision": ["bfloat16", "float32"],
        "--loss_mode": ["softmax"],
        "--debug": [""],
    }
    codes = set()
    for case in range(cases):
        argv = ["--data_set", "mnist-5k", "--run_dir", str(tmp_path / str(case))]
        for flag in rng.choice(list(pool), size=rng.integers(0, 7), replace=False):
            argv += [str(flag), *str(rng.choice(pool[flag])).split()]
        given, options = train.parse(argv)
        main = lambda given=given, folder=options.run_dir: (begin(folder, given, command=[]), 0)[1]  # noqa: E731
        code, said = outcome(
            "train.py", lambda main=main: run_program("train.py", main), argv, monkeypatch, capsys
        )
        codes.add(code)
        assert (tmp_path / str(case) / "config.json").is_file() == (code == 0), (argv, said)
    assert codes == {0, 1}


@campaign(60, 3000)
def test_analyze_with_random_arguments(cases, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(2)
    monkeypatch.chdir(tmp_path)
    for _ in range(cases):
        argv = [*random_flags(rng, ["--images", "--output", "--x"], NUMBERS + PATHS), str(rng.choice(PATHS))]
        main = lambda: run_program("analyze.py", analyze.main)  # noqa: E731
        code, said = outcome("analyze.py", main, argv, monkeypatch, capsys)
        assert code in (0, 1, 2), argv  # 0: without a network, analyze.py lists the runs
        assert (code == 0) == ("analyze.py: error: " not in said), argv
    assert not list(tmp_path.iterdir())


@campaign(20, 1000)
def test_binarize_with_random_arguments(cases, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(4)
    monkeypatch.chdir(tmp_path)
    public = ["--images", "--output", "--levels", "--assignment", "--batch_size", "--seed", "--x"]
    for _ in range(cases):
        required = ["--images", str(rng.choice(PATHS)), "--output", "out.keras"] if rng.random() < 0.5 else []
        argv = [*required, *random_flags(rng, public, NUMBERS + PATHS), str(rng.choice(PATHS))]
        main = lambda argv=argv: run_program("bnn binarize", lambda: binarize.main(argv))  # noqa: E731
        code, said = outcome("bnn binarize", main, argv, monkeypatch, capsys)
        assert code in (1, 2) and "bnn binarize: error: " in said, argv
    assert not list(tmp_path.iterdir())


@campaign(15, 1000)
def test_download_with_random_arguments(cases, tmp_path, monkeypatch, capsys):
    """Every mirror is a file, a closed port or an invalid address."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BNN_DATA", str(tmp_path))  # not a folder that already has the data
    monkeypatch.setenv("PATH", str(tmp_path / "without npm"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    rng, public = (
        np.random.default_rng(3),
        ["--mirror", "--output", "--data_dir", "--sha256", "--data_set", "--force", "--x"],
    )
    for _ in range(cases):
        argv = random_flags(rng, public, URLS + PATHS + ["MNIST", "cifar-10", "ab" * 32])
        main = lambda argv=argv: run_program("download.py", lambda: download.main(argv))  # noqa: E731
        code, said = outcome("download.py", main, argv, monkeypatch, capsys)
        assert code in (1, 2), argv
        assert said.startswith("download.py: error: "), argv
    assert not list(tmp_path.rglob("digests.json"))


@pytest.mark.parametrize("program", ["train.py", "analyze.py", "test.py", "data/download.py"])
def test_a_mistyped_flag_is_a_usage_error(program):
    process = call(program, "--imagse", "3", fresh=True)
    assert process.returncode == 2
    assert "error: " in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr


def test_names_that_are_not_valid_text_are_printed_with_escapes(tmp_path):
    """Standard output is strict about encoding, as in most locales."""
    folder = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff")
    dense = (*TINY, "--conv", "--max_pool")
    process = call("train.py", *dense, "--debug", "--epochs", 1, "--run_dir", folder)
    assert process.returncode == 0, process.stderr
    assert "\\udcff: best validation accuracy" in unwrapped(process.stdout)
    assert_refused(call("analyze.py", folder + "x"), "analyze.py: error: ", "\\udcffx: expected a run")


@campaign(60, 2000)
def test_notebooks_with_random_arguments(cases, tmp_path, monkeypatch, capsys):
    names = runpy.run_path(str(ROOT / "tools" / "notebooks.py"), run_name="fuzzed")
    rng = np.random.default_rng(4)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# no notebook")
    for _ in range(cases):
        argv = random_flags(rng, ["--run", "--figures", "--output", "--x"], PATHS)
        argv = [str(rng.choice(["html", "check", "write", "x", ""])), str(rng.choice(PATHS)), *argv]
        main = lambda: sys.exit(names["main"]())  # noqa: E731
        code, said = outcome("notebooks.py", main, argv, monkeypatch, capsys)
        assert code in (1, 2), argv
        assert said, argv
