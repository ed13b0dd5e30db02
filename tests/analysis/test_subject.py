"""The arguments of `analyze`: a model, a run or a path, with images, a number of images or a file."""

import keras
import numpy as np
import pytest

import bnn
from bnn import datasets, runs
from bnn.analysis import ReportError, analyze, subject
from bnn.console.errors import ModelError
from bnn.models import accuracy
from tests.support import small_data, start


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run: its network depends only on the seed."""
    model, run = start(tmp_path_factory.mktemp("runs") / "run", small_data())
    run.save_model(model, "best")
    return run


@pytest.fixture(autouse=True)
def data(monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_data(), raising=False)
    return small_data()


def test_a_run_and_its_path_give_the_same_report(run, data):
    reports = [analyze(given) for given in (run, run.folder, str(run.folder))]
    images = data.test.images
    expected = analyze(run.load_model(), images)
    for report in reports:
        assert report.rows() == expected.rows()
        assert report.about == {
            "run": str(run.folder),
            "network": "binary",
            "origin": "trained on mnist-5k",
            "test_accuracy": accuracy(run.load_model(), data.test),
            "test_images": 50,
            "precision": "float32",
            "data_set": "mnist-5k",
            "data_digest": "0" * 64,
            "quantizer": None,
            "activations": None,
            "images": 50,
        }
        assert report.log == []
    assert expected.about == {"quantizer": None, "activations": None, "images": 50} and expected.log is None


def test_the_first_test_images_are_used(run, data, monkeypatch):
    monkeypatch.setattr(subject, "IMAGES", 30)
    np.testing.assert_array_equal(subject.find(run).images, data.test.images[:30])
    np.testing.assert_array_equal(subject.find(run, 20).images, data.test.images[:20])
    own = data.train.images[:7]
    assert subject.find(run, own).images is own
    for number in (0, -1, 51):
        with pytest.raises(ReportError, match=f"images: expected 1 to the 50 test images, received {number}"):
            analyze(run, number)


def test_a_model_file_takes_arrays_or_a_file(run, data, tmp_path):
    path, images = run.checkpoint("best"), data.test.images[:9]
    np.save(tmp_path / "images.npy", images)
    rows = [analyze(path, given).rows() for given in (images, tmp_path / "images.npy")]
    assert rows[0] == rows[1]
    assert analyze(str(path), images).about["model"] == str(path)
    for given in (None, 5):
        with pytest.raises(ReportError, match="images: expected arrays for the model, or a file"):
            analyze(path, given)
        with pytest.raises(ReportError, match="images: expected arrays for the model, or a file"):
            analyze(run.load_model(), given)


def test_values_that_a_model_does_not_take_are_refused_in_one_line():
    layers = [keras.Input((5,)), keras.layers.Embedding(10, 4), keras.layers.Flatten(), keras.layers.Dense(2)]
    words = np.full((4, 5), 10)
    with pytest.raises(
        ReportError, match=r"^images: expected shape \(n, 5\), received \(4, 5\); .* is not in \[0, 10\)"
    ):
        analyze(keras.Sequential(layers), words)


def test_arrays_that_a_subclassed_model_does_not_take_are_refused_in_one_line():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(3)

        def call(self, x):
            return self.inner(x)

    model = Own()
    model(np.zeros((1, 6)))
    message = (
        r"^images: expected arrays that the model takes, received the shape \(4, 5\); ValueError: Input 0 "
    )
    with pytest.raises(ReportError, match=message):
        analyze(model, np.zeros((4, 5), "float32"))
    with pytest.raises(ModelError, match=message):
        bnn.predict(model, np.zeros((4, 5), "float32"))


def test_a_folder_that_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(runs.RunError, match="received no such folder"):
        analyze(tmp_path / "none")
