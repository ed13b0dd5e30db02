"""Own data from the training to the list of runs: several seeds, summaries, data that change, and arrays."""

import contextlib
import dataclasses
import io
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bnn
from bnn import runs
from bnn.analysis import notebook, subject
from bnn.commands import train
from bnn.datasets import DataError
from bnn.runs import listing
from bnn.settings.config import ConfigError, TrainConfig
from bnn.training import seeds, start
from tests.support import unwrapped
from tests.training.test_loop import spy

rng = np.random.default_rng(0)
PIXELS, LABELS = rng.integers(0, 256, (40, 7, 9), dtype=np.uint8), np.arange(40) % 3
FLOATS = PIXELS / 127.5 - 1
ARRAYS = {"x_train": FLOATS, "y_train": LABELS, "x_test": FLOATS[:20], "y_test": LABELS[:20]}
SETTINGS = {
    "conv": [],
    "max_pool": [],
    "fc": [8],
    "epochs": 1,
    "precision": "float32",
    "image_range": [-1.0, 1.0],
}
FLAGS = [word for name, value in SETTINGS.items() for word in (f"--{name}", *map(str, np.ravel(value)))]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Return the folder of two seeds, trained by the program, and what it printed."""
    folder = tmp_path_factory.mktemp("own")
    np.savez(folder / "own.npz", **ARRAYS, class_names=["ant", "bee", "cat"])
    where = ["--data_set", str(folder / "own.npz"), "--run_dir", str(folder / "runs" / "many")]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert train.main([*where, *FLAGS, "--seed", "0", "1"]) == 0
    return folder / "runs" / "many", printed.getvalue()


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_seeds_are_trained_and_end_with_the_pooled_table(many):
    folder, printed = many
    assert printed.count("images of 7 x 9 x 1 in 3 classes: --conv") == 1  # they are read once
    assert f"many: {folder}, 2 seeds 0, 1\n" in printed
    accuracies = [metrics(folder / name)["test_accuracy"] for name in ("seed0", "seed1")]
    assert f"test accuracy  {np.mean(accuracies):.4f} ± {np.std(accuracies, ddof=1):.4f}\n" in printed
    names = {path.name for path in folder.iterdir()}
    assert names == {"seed0", "seed1", *(f"comparison.{kind}" for kind in ("csv", "json", "png", "pdf"))}
    assert runs.open_run(folder / "seed1").training.seed == 1


def test_the_same_call_trains_what_is_missing(many, tmp_path, capsys):
    folder = shutil.copytree(many[0], tmp_path / "many")
    shutil.rmtree(folder / "seed1")
    before = (folder / "seed0" / "last.keras").stat().st_mtime_ns
    data_set = runs.open_run(folder / "seed0").training.data_set
    trained = seeds.train([0, 1, 0], folder, data_set=data_set, **SETTINGS)
    assert [run.folder for run in trained] == [folder / "seed0", folder / "seed1"]
    assert f"{folder / 'seed0'} is complete\n" in capsys.readouterr().out
    assert (folder / "seed0" / "last.keras").stat().st_mtime_ns == before
    assert [row["epoch"] for row in trained[1].log()] == [1]
    for same in (Path(data_set), bnn.datasets.load(data_set, image_range=(-1, 1))):
        assert seeds.train(np.arange(2), folder, data_set=same, **SETTINGS) == trained
    with pytest.raises(
        ConfigError, match=r"^fc: expected \(8,\), with which .*seed0 was begun, received \(9,\)"
    ):
        seeds.train([0, 1], folder, data_set=data_set, **SETTINGS | {"fc": [9]})
    defaults = {name: value for name, value in SETTINGS.items() if name != "fc"}
    with pytest.raises(ConfigError, match=r"^fc: expected \(8,\), with which .*seed0 was begun, received"):
        seeds.train([0, 1], folder, data_set=data_set, **defaults)
    with pytest.raises(runs.RunError, match=r"seed0: expected a folder for one run per seed, received a run"):
        seeds.train([0, 1], folder / "seed0", data_set=data_set, **SETTINGS)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ([], 0, "\nwrote "),
        (["--seed", "0", "1"], 128 + signal.SIGTERM, "; continue with the same command\n"),
        (
            ["--seed", "0", "1", "--overwrite"],
            128 + signal.SIGTERM,
            "seed0, then the same command for the seeds that are left\n",
        ),
    ],
)
def test_a_signal_in_the_last_epoch_stops_what_would_follow(
    many, tmp_path, monkeypatch, capsys, flags, code, said
):
    """One training is then complete. Of several, no further one begins."""
    spy(monkeypatch, "on_epoch_end", lambda _: signal.raise_signal(signal.SIGTERM))
    where = ["--data_set", str(many[0].parent.parent / "own.npz"), "--run_dir", str(tmp_path / "runs")]
    assert train.main([*where, *FLAGS, *flags]) == code
    assert said in unwrapped(capsys.readouterr().out)
    (log,) = tmp_path.rglob("log.csv")
    assert runs.open_run(log.parent).best_epoch()["epoch"] == 1
    assert (log.parent / "summary.txt").is_file()


def test_several_seeds_are_no_continuation(many, capsys):
    with pytest.raises(SystemExit):
        train.main(["--resume", str(many[0] / "seed0"), "--seed", "0", "1"])
    assert "--seed: expected one seed with --resume" in capsys.readouterr().err


def test_nested_runs_are_listed_and_found_by_notebooks(many):
    folder = many[0].parent
    lines = unwrapped(listing.text(folder)).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["many/seed0", "many/seed1"]
    assert lines[1].split()[-1] == "seed=1" and "own.npz" in lines[1]
    accuracies = {path: runs.open_run(path).best_epoch()["val_accuracy"] for path in listing.find(folder)}
    best = max(accuracies, key=lambda path: (accuracies[path], (path / "best.keras").stat().st_mtime))
    assert notebook.best_run(folder).folder == best
    with pytest.raises(
        runs.RunError, match=r"many: expected a run directory .*; did you mean .*many/seed0\?"
    ):
        runs.open_run(many[0])


def test_the_summary_has_settings_accuracies_and_the_table(many):
    run = runs.open_run(many[0] / "seed0")
    text = (run.folder / "summary.txt").read_text()
    assert (
        f"best validation accuracy {run.log()[0]['val_accuracy']:.4f} in epoch 1, 1 of 1 epochs done\n"
        in text
    )
    assert f"test accuracy {metrics(run.folder)['test_accuracy']:.4f} (20 images)\n" in text
    assert {"  fc = 8", "  image_range = -1.0 1.0", "  seed = 0"} <= set(text.splitlines())
    angle = metrics(run.folder)["layers"][0]["angle_mean_deg"]
    (row,) = [line.split() for line in text.splitlines() if line.split()[:1] == ["dense_1"]]
    assert row[:4] == ["dense_1", "63", "8", f"{angle:.1f}"]


def test_data_that_changed_are_reported(many):
    run = runs.open_run(many[0] / "seed0")
    path = Path(run.training.data_set)
    content = path.read_bytes()
    assert run.origin(run.load_data()) == f"trained on {path}"
    try:
        np.savez(path, **ARRAYS | {"y_train": (LABELS + 1) % 3})
        origin = subject.find(run).about["origin"]
        assert origin.endswith(f"of SHA-256 {run.data['digest'][:8]}; the data have changed since")
        with pytest.raises(runs.RunError, match=r"expected data of SHA-256 .*own.npz has changed since"):
            start.go_on(run.folder, {})
    finally:
        path.write_bytes(content)


def test_a_run_keeps_the_order_of_its_classes(tmp_path):
    """Earlier versions sorted folders of numbers as text."""
    for i, pixels in enumerate(PIXELS[:36]):
        (tmp_path / "photos" / str(i % 12)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / str(i % 12) / f"{i}.png")
    names = tuple(sorted(map(str, range(12))))
    earlier = bnn.datasets.load(f"{tmp_path / 'photos'}", class_names=names)
    settings = SETTINGS | {"data_set": earlier, "batch_size": 4}
    run = start.begin(tmp_path / "run", settings, command=["train.py"], overwrite=True).run
    assert run.class_names == names
    fresh = bnn.datasets.load(f"{tmp_path / 'photos'}")
    assert fresh.class_names != names and fresh.digest == earlier.digest
    read = [run.load_data(), start.go_on(run.folder, {}).data_set]
    read.append(start.go_on(run.folder, {"data_set": fresh}).data_set)
    for data in read:
        assert data.class_names == names
        np.testing.assert_array_equal(data.train.labels, earlier.train.labels)
        np.testing.assert_array_equal(data.train.images, earlier.train.images)


def as_earlier(run):
    """Write the config.json that earlier versions wrote, which drew validation and test images in another way."""
    path = run.folder / "config.json"
    config = json.loads(path.read_text())
    assert config["data"].pop("stratified") is False
    path.write_text(json.dumps(config))
    return runs.open_run(run.folder)


def test_a_run_keeps_its_split(tmp_path):
    """Earlier versions drew the images without regard to their classes."""
    for i, pixels in enumerate(PIXELS):
        (tmp_path / "photos" / str(i % 3)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / str(i % 3) / f"{i}.png")
    earlier = bnn.datasets.load(f"{tmp_path / 'photos'}", stratified=False)
    fresh = bnn.datasets.load(f"{tmp_path / 'photos'}")
    settings = SETTINGS | {"data_set": earlier, "batch_size": 4}
    run = as_earlier(start.begin(tmp_path / "run", settings, command=["train.py"]).run)
    read = [run.load_data(), start.go_on(run.folder, {}).data_set]
    read.append(start.go_on(run.folder, {"data_set": fresh}).data_set)
    for data in read:
        for part in ("train", "validation", "test"):
            np.testing.assert_array_equal(getattr(data, part).images, getattr(earlier, part).images)
    assert not np.array_equal(fresh.test.images, earlier.test.images)
    begun = start.begin(tmp_path / "new", settings | {"data_set": fresh}, command=["train.py"]).run
    np.testing.assert_array_equal(runs.open_run(begun.folder).load_data().test.images, fresh.test.images)


def test_a_run_on_arrays_keeps_its_split(tmp_path, monkeypatch):
    earlier = bnn.datasets.from_arrays(**ARRAYS, image_range=(-1, 1), stratified=False)
    fresh = bnn.datasets.from_arrays(**ARRAYS, image_range=(-1, 1))
    settings = SETTINGS | {"data_set": earlier, "batch_size": 4}
    run = as_earlier(start.begin(tmp_path / "run", settings, command=["train.py"]).run)
    with pytest.raises(runs.RunError, match=r"expected arrays that are split as the earlier version .*data="):
        start.go_on(run.folder, {"data_set": fresh})
    resumed = []
    monkeypatch.setattr(start.Training, "run_to_end", lambda training, *_: resumed.append(training.data_set))
    bnn.resume(run.folder, data=ARRAYS)
    np.testing.assert_array_equal(resumed[0].validation.images, earlier.validation.images)
    assert not np.array_equal(fresh.validation.images, earlier.validation.images)


@pytest.mark.parametrize("stratified", [True, False])
def test_debug_takes_images_of_every_class(stratified):
    """The images of a folder are sorted by class. Runs of earlier versions keep the first images."""
    labels = np.repeat([0, 1], 1000)
    images = np.arange(2000 * 4).astype(np.uint8).reshape(2000, 2, 2)
    data = bnn.datasets.from_arrays(images, labels, images, labels, images, labels, stratified=stratified)
    cut = start.load_data(TrainConfig(data_set="arrays", debug=True), data)
    counts = [np.bincount(part.labels).tolist() for part in (cut.train, cut.validation)]
    assert counts == ([[250, 250], [50, 50]] if stratified else [[500], [100]])


def test_images_that_an_earlier_version_read_otherwise_are_refused(tmp_path):
    """Earlier versions showed what lies under transparent pixels."""
    for i, pixels in enumerate(PIXELS[:12]):
        (tmp_path / "photos" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.dstack([pixels] * 4)).save(tmp_path / "photos" / str(i % 2) / f"{i}.png")
    data = bnn.datasets.load(f"{tmp_path / 'photos'}")
    earlier = dataclasses.replace(data, digest=data.earlier_digest)
    settings = SETTINGS | {"data_set": earlier, "batch_size": 4}
    run = start.begin(tmp_path / "run", settings, command=["train.py"]).run
    with pytest.raises(runs.RunError, match=r"expected images as the earlier version read them that began"):
        start.go_on(run.folder, {})
    assert "as an earlier version read it, not this one, which handles transparency" in run.origin(data)
    fresh = dataclasses.replace(run, data=run.data | {"digest": data.digest})
    fresh.expect_data(data)
    assert fresh.origin(data) == f"trained on {data.name}"


def test_arrays_are_trained_on_as_a_file_with_them_is(many, tmp_path):
    """The arrays of a run are not kept. Analysis takes them in the form that training does."""
    run = bnn.train(tmp_path / "run", data=tuple(ARRAYS.values()), **SETTINGS)
    other = runs.open_run(many[0] / "seed0")
    assert run.model == other.model and run.class_names == ("0", "1", "2")
    assert run.log()[0]["val_loss"] == pytest.approx(other.log()[0]["val_loss"], rel=1e-3)
    assert "angles" not in (run.folder / "summary.txt").read_text()
    found = subject.find(run, FLOATS)
    np.testing.assert_array_equal(found.images, PIXELS[..., None])
    assert bnn.resume(run.folder, data=ARRAYS).folder == run.folder
    with pytest.raises(runs.RunError, match="expected data of SHA-256"):
        bnn.resume(run.folder, data=ARRAYS | {"y_test": LABELS[20:]})
    for step in (bnn.resume, subject.find):
        with pytest.raises(DataError, match="expected the arrays that the run was trained on, received none"):
            step(run.folder)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"data": (1, 2)}, r"data: expected \(x_train, y_train, x_test, y_test\), .*, received tuple"),
        (
            {"data": tuple(ARRAYS.values()), "data_set": "MNIST"},
            "data: expected data or data_set, received both",
        ),
        ({"data": ARRAYS | {"y_test": LABELS}}, "y_test: expected one label per image"),
    ],
)
def test_other_arguments_are_one_line(call, message, tmp_path):
    with pytest.raises((ConfigError, DataError), match=message):
        bnn.train(tmp_path / "run", **SETTINGS | call)
    assert not (tmp_path / "run").exists()
