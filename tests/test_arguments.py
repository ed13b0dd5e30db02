"""The argument parser of every program: suggestions, errors of one line, and help texts that wrap."""

import ast

import pytest

from bnn.commands import analyze, download, train
from bnn.console.arguments import Parser
from bnn.console.suggestions import did_you_mean
from tests.support import ROOT


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("--dataset", ["--data_set", "--data_dir", "--epochs"], "--data_set"),
        ("--data-set", ["--data_set", "--data_dir"], "--data_set"),
        ("mnist5k", ["cifar-10", "MNIST", "mnist-5k"], "mnist-5k"),
        ("mnist", ["cifar-10", "MNIST", "mnist-5k"], "MNIST"),
        ("CIFAR10", ["cifar-10", "MNIST", "mnist-5k"], "cifar-10"),
    ],
)
def test_the_closest_name_is_suggested(word, known, meant):
    assert did_you_mean(word, known) == f"; did you mean {meant}?"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("learning_rate", "lr_start"), ("--kernel-size", "filter_size"), ("quantizer", "estimator")],
)
def test_names_of_other_libraries_are_known(word, meant):
    assert did_you_mean(word, ["lr_start", "filter_size", "estimator"]) == f"; did you mean {meant}?"
    assert did_you_mean(word, ["images"]) == ""


@pytest.mark.parametrize("word", ["imagenet", "", "x" * 5000])
def test_nothing_is_suggested_if_no_name_is_close(word):
    assert did_you_mean(word, ["cifar-10", "MNIST"]) == ""


@pytest.mark.parametrize(
    ("parse", "argv", "end"),
    [
        (train.parse, ["--dataset", "x"], "unrecognized arguments: --dataset x; did you mean --data_set?"),
        (train.parse, ["--epoch_s=3"], "unrecognized arguments: --epoch_s=3; did you mean --epochs?"),
        (train.parse, ["--data_set", "mnist5k"], "received 'mnist5k'; did you mean mnist-5k?"),
        (train.parse, ["--estimator", "aprox_sign"], "received 'aprox_sign'; did you mean approx_sign?"),
        (train.parse, ["--levels", "4"], "expected one of 2, 3, received 4"),
        (train.parse, ["--run_dir", ""], "argument --run_dir: expected the name of a folder, received ''"),
        (analyze.parse, ["x", "--ouput", "y"], "did you mean --output?"),
        (download.parse, ["--data_set", "cifar10"], "received 'cifar10'; did you mean cifar-10?"),
    ],
)
def test_mistyped_flags_and_values_get_a_suggestion_in_one_line(parse, argv, end, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(argv)
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith(f"{end}\n")


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("parse", [train.parse, analyze.parse, download.parse])
def test_help_is_as_wide_as_the_terminal_and_readable(parse, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        parse(["--help"])
    widths = [len(line) for line in capsys.readouterr().out.splitlines()]
    assert min(columns, 100) - 20 < max(widths) < min(columns, 101)


def test_paragraphs_wrap_and_examples_stay(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = (
        "A first\nparagraph that is wrapped anew.\n\n    an example   # which stays as it is, on one line\n"
    )
    shown = Parser(prog="x", description=text).format_help()
    assert "\nA first paragraph that is wrapped\nanew.\n" in shown
    assert "\n    an example   # which stays as it is, on one line\n" in shown


def _calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            yield node


def test_every_option_of_every_program_has_a_help_text():
    folders = ("bnn", "tools", "benchmarks", "experiments")
    bare = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for call in _calls(path)
        if not {"help", None} & {keyword.arg for keyword in call.keywords}  # None: **options
    ]
    assert bare == []
