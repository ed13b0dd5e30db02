"""bnn predict with a run: classes and margins as lines and as CSV, images of valid and other shapes, and --errors."""

import csv
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from bnn import datasets, models, runs
from bnn.commands import predict
from bnn.datasets import DataError
from tests.support import call


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    return shutil.copytree(trained[0], tmp_path_factory.mktemp("predict") / "run")


@pytest.fixture(scope="module")
def test():
    return datasets.load("mnist-5k").test


@pytest.fixture(scope="module")
def scores(run, test):
    return models.scores(runs.open_run(run).load_model(), test.images)


def test_folders_and_files_give_lines_and_a_csv_file(run, test, scores, tmp_path, capsys):
    """Floats in an .npy file have the range of training: 0 is black, and 1 is white."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(test.images[0, ..., 0]).save(folder / "b.png")
    Image.fromarray(np.repeat(test.images[1], 3, axis=2)).save(folder / "more" / "a.PNG")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    np.save(tmp_path / "two.npy", test.images[2:4] / 255)
    table = tmp_path / "classes.csv"
    assert predict.main([*map(str, (run, folder, tmp_path / "two.npy")), "--csv", str(table)]) == 0
    names = [folder / "b.png", folder / "more" / "a.PNG", *(f"{tmp_path / 'two.npy'}[{i}]" for i in (0, 1))]
    expected = [
        [str(name), str(row.argmax()), np.diff(np.sort(row.astype(float))[-2:])[0]]
        for name, row in zip(names, scores, strict=False)
    ]
    printed = [f"{name}: {label}, margin {margin:.3f}" for name, label, margin in expected]
    assert capsys.readouterr().out.splitlines() == printed
    header, *rows = csv.reader(table.open(newline=""))
    assert header == ["image", "class", "margin"]
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    np.testing.assert_allclose([float(row[2]) for row in rows], [row[2] for row in expected], rtol=1e-5)


def test_the_best_scores_are_printed_and_all_are_written(run, test, scores, tmp_path, capsys):
    np.save(tmp_path / "two.npy", test.images[:2])
    table = tmp_path / "scores.csv"
    predict.main([str(run), str(tmp_path / "two.npy"), "--scores", "--csv", str(table)])
    rows = [row for _, row in zip(range(2), scores, strict=False)]
    for line, own in zip(capsys.readouterr().out.splitlines(), rows, strict=True):
        best = sorted(range(10), key=lambda i: -own[i])[:5]
        assert line.endswith("; scores " + ", ".join(f"{i} {own[i]:.3f}" for i in best))
    header, *written = csv.reader(table.open(newline=""))
    assert header == ["image", "class", "margin", *(f"score {i}" for i in range(10))]
    np.testing.assert_allclose([[float(x) for x in row[3:]] for row in written], rows, rtol=1e-5)


def test_class_names_are_those_of_the_run(run, test, scores, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs.Run, "class_names", tuple("abcdefghij"))
    np.save(tmp_path / "one.npy", test.images[0])
    predict.main([str(run), str(tmp_path / "one.npy")])
    assert f": {'abcdefghij'[scores[0].argmax()]}, margin" in capsys.readouterr().out


def test_another_size_is_refused_or_scaled(run, test, tmp_path, capsys):
    path = tmp_path / "large.png"
    large = Image.fromarray(test.images[0, ..., 0].repeat(2, axis=0).repeat(2, axis=1))
    large.save(path)
    with pytest.raises(
        DataError, match=r"large.png: expected images of 28 x 28 x 1, received 56 x 56 x 1; --res"
    ):
        predict.main([str(run), str(path)])
    assert predict.main([str(run), str(path), "--resize"]) == 0
    scaled = np.asarray(large.resize((28, 28), Image.Resampling.BILINEAR))[None, ..., None]
    scores = models.scores(runs.open_run(run).load_model(), scaled)[0].astype(float)
    margin = np.diff(np.sort(scores)[-2:])[0]
    assert capsys.readouterr().out == f"{path}: {scores.argmax()}, margin {margin:.3f}\n"


def test_errors_draws_the_worst_errors_and_the_confusion_matrix(
    run, test, scores, tmp_path, capsys, monkeypatch
):
    figures = {}
    monkeypatch.setattr(
        "bnn.plots.style.save", lambda figure, path, formats: [figures.setdefault(path, figure) and path]
    )
    assert predict.main([str(run), "--errors", "--output", str(tmp_path)]) == 0
    wrong = np.flatnonzero(scores.argmax(axis=1) != test.labels)
    about, found, *wrote = capsys.readouterr().out.splitlines()
    assert about == f"{run}: binary network, trained on mnist-5k"
    assert found == f"test accuracy {1 - len(wrong) / 500:.4f}: {len(wrong)} of 500 images are wrong"
    assert wrote == [f"wrote {tmp_path / name}" for name in ("confusion", "errors")]
    worst = max(wrong, key=lambda i: np.diff(np.sort(scores[i])[-2:])[0])
    first = figures[tmp_path / "errors"].axes[0]
    np.testing.assert_array_equal(first.images[0].get_array(), test.images[worst, ..., 0])
    expected = f"true {test.labels[worst]},\npredicted {scores[worst].argmax()}"
    assert first.get_title("center") == expected
    texts = figures[tmp_path / "confusion"].axes[0].texts
    assert sum(int(text.get_text() or 0) for text in texts) == 500


def test_a_figure_that_cannot_be_drawn_costs_nothing_else(run, tmp_path):
    (tmp_path / "confusion.png" / "full").mkdir(parents=True)
    process = call("-m", "bnn", "predict", run, "--errors", "--output", tmp_path)
    assert process.returncode == 1
    assert "test accuracy" in process.stdout
    assert process.stdout.splitlines()[-1] == f"wrote {tmp_path / 'errors.png'}, {tmp_path / 'errors.pdf'}"
    last = process.stderr.splitlines()[-1]
    assert re.fullmatch(r"bnn predict: error: figures that could not be drawn: confusion \(.*\)", last)


def test_a_name_without_a_font_has_a_key(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs.Run, "class_names", ("\U000e0100x\U0001fbff",) * 9 + ("b",))
    monkeypatch.setattr("bnn.plots.fonts._search", lambda missing: ((), missing))
    monkeypatch.setattr("bnn.plots.overview.style.save", lambda *_: [])
    assert predict.main([str(run), "--errors", "--output", str(tmp_path)]) == 0
    assert "classes in the figures: #0 = " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "expected an IMAGE or --errors, received neither"),
        (["--csv", "x.csv", "--errors"], "--csv: expected together with an IMAGE"),
        (["--scores", "--errors"], "--scores: expected together with an IMAGE"),
        (["x.png", "--output", "x"], "--output: expected together with --errors"),
    ],
)
def test_flags_that_miss_another_are_refused(flags, words, capsys):
    with pytest.raises(SystemExit):
        predict.main(["run", *flags])
    assert words in capsys.readouterr().err
