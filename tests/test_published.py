"""tools/publish.py and tools/results.py: from a run to a folder of results/ and its tables."""

import csv
import json
import shutil

import numpy as np
import pytest

from bnn import datasets, runs
from bnn.analysis import analyze
from bnn.files import atomic
from bnn.models import accuracy, refit_batch_norm
from tests.support import ROOT, assert_refused, call
from tools import publish

SMALL = (
    "--data_set",
    "mnist-5k",
    "--conv",
    "8",
    "--max_pool",
    "1",
    "--fc",
    "16",
    "--debug",
    "--log_geometry",
    "1",
    "--seed",
)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A results folder with one group of one run, including its network."""
    folder = tmp_path_factory.mktemp("published")
    assert call("train.py", *SMALL, 0, "--run_dir", folder / "run").returncode == 0
    target = folder / "results" / "small" / "seed0"
    process = call(
        "tools/publish.py", folder / "run", target, "--network", "--images", 40, "--ablation_images", 60
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1].startswith(f"wrote {target}: test accuracy 0.")
    return folder / "results"


def test_the_figures_of_a_published_run_can_be_reproduced_from_it(published):
    run = runs.open_run(published / "small" / "seed0")
    metrics = json.loads((run.folder / "metrics.json").read_text())
    model, data = run.load_model(), datasets.load("mnist-5k")
    assert metrics["test_accuracy"] == accuracy(model, data.test)
    rows = analyze(model, data.test.images[:40]).rows()
    assert metrics["layers"] == json.loads(json.dumps(rows))
    assert metrics["checkpoint"] == "last"
    assert 0 < metrics["patch_variance"]["1"] < metrics["patch_variance"]["4"] <= 1
    card = (run.folder / "README.md").read_text()
    assert (
        f"| test accuracy in {run.training.precision}, as trained | {metrics['test_accuracy']:.4f} |" in card
    )
    assert f"| {metrics['float32_accuracy']:.4f} |" in card


def test_a_continuous_network_is_measured_with_the_signs_of_its_weights(tmp_path):
    flags = ("--continuous", "--fc", "--epochs", 1, "--log_geometry", 0)
    assert call("train.py", *SMALL, 0, *flags, "--run_dir", tmp_path / "run").returncode == 0
    process = call(
        "tools/publish.py", tmp_path / "run", tmp_path / "twin", "--images", 40, "--ablation_images", 60
    )
    assert process.returncode == 0, process.stderr
    metrics = json.loads((tmp_path / "twin" / "metrics.json").read_text())
    run, data = runs.open_run(tmp_path / "run"), datasets.load("mnist-5k")
    model = run.load_model("last")
    kernel = np.reshape(model.get_layer("conv_1").kernel, (9, 8))
    cosines = np.abs(kernel).sum(axis=0) / np.sqrt(9 * np.square(kernel).sum(axis=0))
    assert metrics["layers"][0]["angle_mean_deg"] == pytest.approx(
        np.degrees(np.arccos(cosines)).mean(), rel=1e-4
    )
    assert metrics["test_accuracy"] == accuracy(model, data.test)
    for layer in ("conv_1", "dense_1"):
        latent = model.get_layer(layer).kernel
        latent.assign(np.where(np.asarray(latent) < 0, -1, 1))
    refit_batch_norm(model, data.train.images[:60])
    assert metrics["binarized_accuracy"] == pytest.approx(accuracy(model, data.test))
    assert not (tmp_path / "twin" / "unbinarized.csv").exists()


def test_a_published_run_contains_no_paths_of_the_machine(published):
    source = published.parent / "run"
    for path in (published / "small" / "seed0").iterdir():
        if path.suffix != ".keras" and path.name != "README.md":
            assert str(source) not in path.read_text(), path
    command = json.loads((published / "small" / "seed0" / "config.json").read_text())["command"]
    assert command[-2:] == ["--run_dir", "runs/run"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ["train.py", "--run_dir", "/home/me/run", "--epochs", "3"],
            ["train.py", "--run_dir", "runs/run", "--epochs", "3"],
        ),
        (["train.py", "--run_dir=/home/me/a=b", "--seed=1"], ["train.py", "--run_dir=runs/a=b", "--seed=1"]),
        (["train.py", "--data_dir", "/data/x", "--resume", "runs/a"], ["train.py", "--resume", "runs/a"]),
        (["train.py", "--data_dir=/data/x", "--clip", "2"], ["train.py", "--clip", "2"]),
        (
            ["bnn.training.train", "run_dir=/home/me/run", "conv=[4]"],
            ["bnn.training.train", "run_dir=runs/run", "conv=[4]"],
        ),
    ],
)
def test_the_published_command_has_no_folder_of_the_machine(command, expected):
    assert publish.shareable(command) == expected


def test_tables_have_the_values_of_the_folders(published):
    readme = published / "README.md"
    names = ("list_of_runs", "correlations", "angles", "geometry", "side_by_side", "unbinarized")
    readme.write_text(
        "".join(f"before\n<!-- table: {name} small -->\n<!-- end -->\nafter\n" for name in names)
    )
    assert call("tools/results.py", "write", "--folder", published).stdout == f"wrote {readme}: 6 tables\n"
    text = readme.read_text()
    assert text.count("before\n") == text.count("after\n") == 6
    metrics = json.loads((published / "small" / "seed0" / "metrics.json").read_text())
    first = metrics["layers"][0]
    assert f"| 0.56 | {first['r_weights']:.3f} | 0.81 | {first['r_permuted']:.3f} |" in text
    assert f"| conv_1 | 9 | {first['angle_mean_deg']:.1f} | {first['angle_std_deg']:.2f} |" in text
    assert f"| conv_1 | {first['angle_mean_deg']:.1f} | {first['r_weights']:.3f} |" in text
    assert "| layer | angle, small | r, small |" in text
    assert f"| {metrics['test_accuracy']:.4f} |" in text
    with (published / "small" / "seed0" / "unbinarized.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = {"kernels": "latent kernels", "activations": "continuous activations"}[row["what"]]
            assert f"| {name} | {row['layer']} | {100 * float(row['refitted']):.2f} |" in text
    assert call("tools/results.py", "check", "--folder", published).returncode == 0
    readme.write_text(text.replace("| 0.56 |", "| 0.57 |"))
    assert_refused(
        call("tools/results.py", "check", "--folder", published), str(readme), "tools/results.py write"
    )


def test_hidden_layers_are_shown_along_the_run(published):
    (published / "README.md").write_text("<!-- table: along_the_run small -->\n<!-- end -->\n")
    assert call("tools/results.py", "write", "--folder", published).returncode == 0
    run = runs.open_run(published / "small" / "seed0")
    with (run.folder / "geometry.csv").open(newline="") as file:
        _, hidden, _ = [row for row in csv.DictReader(file) if row["epoch"] == "2"]
    last = run.log()[-1]
    cells = [f"{last[key]:.3f}" for key in ("accuracy", "val_accuracy")]
    cells += [
        f"{float(hidden[key]):.{n}f}" for key, n in (("angle_mean_deg", 1), ("gain", 2), ("r_within", 3))
    ]
    row = f"| 2 | {' | '.join(cells)} |"
    assert row in (published / "README.md").read_text()
    assert "| 0 | - | - |" in (published / "README.md").read_text()


def test_seeds_are_shown_by_mean_and_deviation(published, tmp_path):
    for seed, fraction in enumerate((0.5, 0.7, 0.9)):
        folder = shutil.copytree(published / "small" / "seed0", tmp_path / "group" / f"seed{seed}")
        metrics = json.loads((folder / "metrics.json").read_text())
        for row in metrics["layers"]:
            row["angle_mean_deg"] = 10 * fraction
            if seed == 2:
                del row["kappa"]  # as if published before it was measured
        atomic.write_json(folder / "metrics.json", metrics)
    tables = [f"<!-- table: {name} group -->\n<!-- end -->\n" for name in ("angles", "gain")]
    (tmp_path / "README.md").write_text("".join(tables))
    assert call("tools/results.py", "write", "--folder", tmp_path).returncode == 0
    page = (tmp_path / "README.md").read_text()
    assert "| conv_1 | 9 | 7.0 ± 2.0 |" in page
    heads, _, row = (
        line.strip("| ").split(" | ") for line in page.partition("gain group")[2].splitlines()[1:4]
    )
    cells = dict(zip(heads, row, strict=True))
    assert cells["kappa"] == "-" and "±" not in cells["gain"] and float(cells["gain"]) > 0


@pytest.mark.parametrize(("table", "word"), [("nonsense small", "nonsense"), ("angles missing", "missing")])
def test_an_unknown_table_or_group_is_refused(published, tmp_path, table, word):
    shutil.copytree(published / "small", tmp_path / "small")
    (tmp_path / "README.md").write_text(f"<!-- table: {table} -->\n<!-- end -->\n")
    assert_refused(call("tools/results.py", "write", "--folder", tmp_path), word)


def test_the_tables_of_this_repository_are_up_to_date():
    process = call("tools/results.py", "check", "--folder", ROOT / "results")
    assert process.returncode == 0, process.stderr
