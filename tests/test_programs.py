"""train.py and analyze.py run as programs: what they print, write and refuse."""

import json
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.support import ROOT, STATISTICS, TINY, assert_refused, call, once, unwrapped


@pytest.fixture(scope="session")
def analyzed(trained, tmp_path_factory):
    """(output folder of analyze.py for the tiny run, the finished process)"""
    return once(tmp_path_factory, "analysis of tiny", lambda output: analyze(trained[0], output))


def analyze(run, output):
    before = contents(run)
    process = call("analyze.py", run, "--images", 60, "--output", output)
    assert process.returncode == 0, process.stderr
    assert contents(run) == before
    return output, process


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the tiny run, which a test may damage."""
    return shutil.copytree(trained[0], tmp_path / "copy")


# train.py


def test_train_prints_what_it_did_and_the_next_command(trained):
    folder, process = trained
    first, heading, *epochs, last = unwrapped(process.stdout).splitlines()
    assert heading.split()[0] == "loss"
    assert first.startswith(f"{folder}: binary network, 7,2")
    assert first.endswith(" parameters, on mnist-5k, 4,000 training images, float32")
    assert [line.split()[1] for line in epochs] == ["1/3", "2/3", "3/3"]
    assert last.startswith(f"wrote {folder}: best validation accuracy 0.")
    assert last.endswith(f"next: python analyze.py {folder}")
    assert process.stderr == ""
    assert {path.name for path in folder.iterdir()} >= {"config.json", "log.csv", "last.keras", "best.keras"}


def test_the_command_is_recorded(trained):
    config = json.loads((trained[0] / "config.json").read_text())
    assert config["command"] == ["train.py", *TINY, "--run_dir", str(trained[0])]


def test_a_network_can_be_loaded_with_keras_in_a_new_process(trained):
    code = (
        "import sys, keras, bnn.layers\n"
        "for name in ('last', 'best'):\n"
        "    print(keras.saving.load_model(f'{sys.argv[1]}/{name}.keras').count_params())"
    )
    process = call("-c", code, trained[0], cwd=ROOT)
    assert process.returncode == 0, process.stderr
    last, best = process.stdout.split()
    assert last == best
    assert f" {int(last):,} parameters" in trained[1].stdout


def test_a_limit_on_file_sizes_gives_one_line_and_the_old_files_are_kept(copy):
    """Like a full disk: the system refuses to write files of more than 60 kB, and a checkpoint is larger."""
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    code = (
        "import resource, runpy\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "runpy.run_path('train.py', run_name='__main__')"
    )
    other = copy.parent / "new"
    assert_refused(
        call("-c", code, *TINY, "--init_from", copy, "--run_dir", other, cwd=ROOT),
        "train.py: error: ",
        "last.keras: expected to write it, received File too large",
    )
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert not (other / "last.keras").exists()


# errors of train.py, all but the last before TensorFlow is loaded


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            "--conv 8 8 --max_pool 1",
            ("max_pool: expected one entry for each of the 2 in conv, received [1]",),
        ),
        (
            "--conv 8 8 8 8 8 --max_pool 1 1 1 1 1",
            ("max_pool: expected at most 4 poolings for images of 28x28",),
        ),
        ("--levels 3 --threshold 1", ("threshold: expected a value in [0, 1), received 1.0",)),
        ("--levels 3 --threshold -0.1", ("threshold: expected a value in [0, 1), received -0.1",)),
        ("--levels 3 --threshold nan", ("threshold: expected", "received nan")),
        ("--batch_size 4001", ("--batch_size: expected at most the 4000 training images, received 4001",)),
        ("--debug --batch_size 501", ("expected at most the 500 training images",)),
        ("--epochs 0", ("epochs: expected", "received 0")),
        (
            "--resume nowhere",
            ("nowhere: expected a run directory with config.json, received no such folder",),
        ),
        (
            "--resume tests",
            ("tests: expected a run directory with config.json, received a folder without one",),
        ),
    ],
)
def test_bad_settings_are_refused_in_one_line(args, words):
    args = args.split()
    data = () if "--resume" in args else ("--data_set", "mnist-5k")
    assert_refused(call("train.py", *data, *args, cwd=ROOT), "train.py: error: ", *words)


def test_an_unknown_data_set_is_refused():
    process = call("train.py", "--data_set", "imagenet")
    assert process.returncode == 2
    last = process.stderr.splitlines()[-1]
    assert all(word in last for word in ("--data_set", "'imagenet'", "cifar-10", "MNIST", "mnist-5k"))


def test_the_error_for_missing_data_names_the_download_command(tmp_path):
    """In a copy of the clone, which has no data."""
    name = "cifar-10"
    shutil.copytree(ROOT / "bnn", tmp_path / "bnn", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", tmp_path)
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "data" / "download.py", tmp_path / "data")
    process = subprocess.run(
        [sys.executable, "train.py", "--data_set", name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert_refused(process, f"{name}: expected", f"python data/download.py --data_set {name}", "mnist-5k")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flag", "expected", "received"),
    [
        (["--epochs", "4"], "3", "4"),
        (["--conv", "8", "9"], "(8, 8)", "(8, 9)"),
        (["--seed", "1"], "0", "1"),
        (["--levels", "3"], "2", "3"),
    ],
)
def test_flags_that_contradict_the_run_are_refused(trained, flag, expected, received):
    process = call("train.py", "--resume", trained[0], *flag)
    assert_refused(
        process, f"{flag[0]}: expected {expected}, with which {trained[0]} was begun, received {received}"
    )


def test_a_finished_run_is_complete_and_its_next_steps_are_named(copy):
    before = {path.name: path.read_bytes() for path in copy.glob("[!.]*")}
    process = call("train.py", "--resume", copy)
    assert (process.returncode, process.stderr) == (0, "")
    assert "wrote" not in process.stdout
    told = unwrapped(process.stdout)
    assert told.startswith(f"{copy} is complete: all 3 epochs are trained, best validation accuracy ")
    assert f"python analyze.py {copy}\n" in told
    assert f"python train.py --init_from {copy} --run_dir NEW" in told
    assert {path.name: path.read_bytes() for path in copy.glob("[!.]*")} == before


def test_resume_refuses_another_folder(trained):
    process = call("train.py", "--resume", trained[0], "--run_dir", "elsewhere")
    assert process.returncode == 2
    assert "expected no --run_dir" in process.stderr.splitlines()[-1]


@pytest.mark.parametrize("program", ["train.py --resume", "analyze.py"])
@pytest.mark.parametrize("content", [b"", b'{"model": {"conv": [8', b'{"name": "left-pad"}'])
def test_folders_with_a_damaged_or_other_config_are_refused(copy, program, content):
    (copy / "config.json").write_bytes(content)
    process = call(*program.split(), copy)
    assert_refused(process, "config.json: expected the config of a run, received a damaged file")


def test_resume_refuses_other_data(copy):
    config = json.loads((copy / "config.json").read_text())
    config["data"]["digest"] = "f" * 64
    (copy / "config.json").write_text(json.dumps(config))
    assert_refused(
        call("train.py", "--resume", copy), "expected data of SHA-256 " + "f" * 64, "received 846f6cad"
    )


# analyze.py


def test_analyze_prints_accuracy_and_table(trained, analyzed):
    (run, _), (folder, process) = trained, analyzed
    lines = process.stdout.splitlines()
    assert lines[0] == f"{run}: binary network, trained on mnist-5k"
    accuracy = json.loads((folder / "metrics.json").read_text())["test_accuracy"]
    assert lines[1] == f"test accuracy {accuracy:.4f} (500 images)"
    head = next(i for i, line in enumerate(lines) if line.split()[:1] == ["layer"])
    assert [line.split()[0] for line in lines[head + 1 : head + 5]] == [
        "conv_1",
        "conv_2",
        "dense_1",
        "dense_2",
    ]
    assert process.stderr == ""


def test_metrics_have_the_documented_entries(analyzed):
    metrics = json.loads((analyzed[0] / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert {"test_accuracy", "data_set", "layers"} <= set(metrics)
    assert metrics["data_set"] == "mnist-5k"
    assert 0.2 < metrics["test_accuracy"] <= 1
    assert [row["d"] for row in metrics["layers"]] == [9, 72, 392, 16]
    assert [row["units"] for row in metrics["layers"]] == [8, 8, 16, 10]
    for row in metrics["layers"]:
        assert tuple(row) == STATISTICS
        assert (row["r_activations"] is None) == (row["layer"] == "conv_1")
        assert 20 < row["angle_mean_deg"] < 45


def test_figures_are_real_png_and_pdf_files(analyzed):
    folder, process = analyzed
    figures = {path.stem for path in folder.glob("*.png")}
    assert figures == {path.stem for path in folder.glob("*.pdf")}
    assert all(name in unwrapped(process.stdout).splitlines()[-1] for name in figures)
    assert len(figures) >= 5
    for name in figures:
        png, pdf = ((folder / f"{name}.{suffix}").read_bytes() for suffix in ("png", "pdf"))
        assert png.startswith(b"\x89PNG") and len(png) > 10_000
        assert pdf.startswith(b"%PDF") and len(pdf) > 5_000


@pytest.mark.parametrize("images", [0, -1, 501])
def test_a_number_of_images_beyond_the_test_set_is_refused(trained, images):
    process = call("analyze.py", trained[0], "--images", images)
    assert_refused(process, f"images: expected 1 to the 500 test images, received {images}")


def test_a_figure_that_cannot_be_drawn_costs_nothing_else(tmp_path):
    """A folder has the name of the figure; the other figures and everything that was measured are there."""
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", np.eye(4, dtype=np.float32))
    (tmp_path / "angles.png" / "full").mkdir(parents=True)
    flags = ("--images", tmp_path / "images.npy", "--output", tmp_path)
    process = call("analyze.py", tmp_path / "model.keras", *flags)
    assert process.returncode == 1
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("analyze.py:")]
    assert re.search(r"error: figures that could not be drawn: angles \(.*\); wrote .*metrics.json$", line)
    assert process.stderr.splitlines()[-1] == line
    assert "dense" in process.stdout and "r_weights" in (tmp_path / "metrics.json").read_text()
    assert (tmp_path / "latent_weights.pdf").is_file() and (tmp_path / "dot_products.png").is_file()


@pytest.mark.parametrize("program", ["train.py", "analyze.py"])
def test_help_answers_without_tensorflow(program):
    process = call(program, "--help", env=os.environ | {"KERAS_BACKEND": "none such"})
    assert process.returncode == 0
    assert "--" in process.stdout
