"""A run that was trained in bfloat16: every program computes its network in float32, and says so."""

import numpy as np
import pytest

import bnn
from bnn import bits, packed
from bnn.analysis import analyze, notebook
from bnn.commands import export, predict
from bnn.models import accuracy, in_float32, refit_batch_norm, scores
from tests.support import small_data, start, unwrapped


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model, run = start(tmp_path_factory.mktemp("runs") / "run", small_data(), precision="bfloat16")
    refit_batch_norm(model, small_data().train.images)  # many sums of the first layer are near a threshold
    run.save_model(model, "best")
    return run


@pytest.fixture
def exact(run):
    """The network in float32; the saved one gives other scores."""
    saved, test = run.load_model(), small_data().test
    assert np.abs(scores(saved, test.images) - scores(in_float32(saved), test.images)).max() > 1e-4
    return in_float32(saved)


@pytest.fixture(autouse=True)
def data(monkeypatch):
    monkeypatch.setattr("bnn.datasets.load", lambda name, folder=None: small_data(), raising=False)
    return small_data()


def test_every_program_computes_in_float32(run, exact, data):
    expected = scores(exact, data.test.images)
    about = analyze(run, score_images=0).about
    assert about["test_accuracy"] == accuracy(exact, data.test) and about["precision"] == "float32"
    np.testing.assert_array_equal(scores(notebook.open_run(run.folder)[2], data.test.images), expected)
    np.testing.assert_array_equal(bnn.predict(run, data.test.images).scores, expected)
    network = packed.fold(packed.reference(run))
    with bits.numpy_alone():
        np.testing.assert_allclose(network.scores(data.test.images), expected, atol=1e-4)


def test_programs_say_so_in_one_line(run, exact, data, capsys, tmp_path):
    predict.draw_errors(run.folder, tmp_path)
    printed = capsys.readouterr().out.splitlines()
    assert sum(run.arithmetic == line for line in printed) == 1
    assert "float32" in run.arithmetic and "bfloat16" in run.arithmetic
    assert any(f"test accuracy {accuracy(exact, data.test):.4f}:" in line for line in printed)


def test_nothing_is_said_of_a_run_in_float32(tmp_path):
    assert start(tmp_path / "run", small_data())[1].arithmetic == ""


def test_the_export_prints_all_accuracies(run, exact, data, capsys, tmp_path):
    assert export.main([str(run.folder), "--output", str(tmp_path / "packed.npz")]) == 0
    trained = accuracy(run.load_model(), data.test)
    found = next(
        line for line in unwrapped(capsys.readouterr().out).splitlines() if line.startswith("accuracy")
    )
    assert found.endswith(
        f"{accuracy(exact, data.test):.4f} in float32, {trained:.4f} as trained, in bfloat16"
    )
