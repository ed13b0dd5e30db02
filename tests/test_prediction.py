"""bnn.predict: classes and scores of arrays and files, by a run, its folder, its packed network and models."""

import keras
import numpy as np
import pytest
from PIL import Image

import bnn
from bnn import bits, datasets, models, packed, runs
from bnn.console.errors import ModelError
from bnn.datasets import DataError
from tests.support import small_data, start


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model, run = start(tmp_path_factory.mktemp("runs") / "run", small_data())
    models.refit_batch_norm(model, small_data().train.images)
    run.save_model(model, "best")
    return run


@pytest.fixture(scope="module")
def images():
    return small_data().test.images[:7]


@pytest.fixture(scope="module")
def scores(run, images):
    """Computed by Keras's own loop."""
    return run.load_model().predict(images, verbose=0)


def test_a_run_its_folder_its_model_and_its_packed_network_agree(run, images, scores, tmp_path):
    network = packed.fold(run.load_model())
    packed.save(network, tmp_path / "packed.npz")
    for given in (run, run.folder, str(run.folder), run.load_model(), run.checkpoint("best")):
        np.testing.assert_array_equal(bnn.predict(given, images).scores, scores)
    with bits.numpy_alone():
        for given in (network, tmp_path / "packed.npz"):
            np.testing.assert_allclose(bnn.predict(given, images).scores, scores, atol=1e-4)


def test_the_result_has_classes_names_margins_and_can_be_unpacked(run, images, scores):
    found = bnn.predict(run, images)
    classes, same = found
    np.testing.assert_array_equal(classes, scores.argmax(axis=1))
    assert same is found.scores and same.dtype == np.float32 and found.class_names == run.class_names
    assert found.names == [run.class_names[i] for i in classes]
    ordered = np.sort(scores.astype(float), axis=1)
    np.testing.assert_allclose(found.margins, ordered[:, -1] - ordered[:, -2])
    assert found.sources == [f"images[{i}]" for i in range(7)]


@pytest.mark.parametrize("kind", ["run", "model"])
def test_every_form_of_images_gives_the_same(run, images, scores, tmp_path, kind):
    """A model of this package casts its input to uint8: floats from 0 to 1 would be black."""
    network = run if kind == "run" else run.load_model()
    np.save(tmp_path / "some.npy", images[:2])
    Image.fromarray(images[2, ..., 0]).save(tmp_path / "three.png")
    for form in (images / 255, images[..., 0], images.astype(np.int64), images.tolist()):
        np.testing.assert_array_equal(bnn.predict(network, form).scores, scores)
    np.testing.assert_array_equal(bnn.predict(network, images[3]).scores, scores[3:4])
    for paths in ([tmp_path / "some.npy", str(tmp_path / "three.png")], tmp_path):
        found = bnn.predict(network, paths)
        np.testing.assert_array_equal(found.scores, scores[:3])
        names = [f"{tmp_path / 'some.npy'}[0]", f"{tmp_path / 'some.npy'}[1]", str(tmp_path / "three.png")]
        assert found.sources == names


def test_another_model_takes_arrays_as_they_are():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    found = bnn.predict(model, x)
    expected = x @ model.layers[0].kernel + model.layers[0].bias
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
    assert found.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 9, 8, 3), r"^images: expected shape \(n, 8, 8, 3\), received \(5, 9, 8, 3\); ValueError: "),
        ((8, 8, 3), r"^images: expected shape \(n, 8, 8, 3\), received \(8, 8, 3\); ValueError: "),
        ((5, 3, 8, 8), r"received \(5, 3, 8, 8\); use np.moveaxis\(images, 1, -1\); ValueError: "),
        ((0, 8, 8, 3), r"^images: expected at least one image, received the shape \(0, 8, 8, 3\)$"),
        ((), r"^images: expected at least one image, received the shape \(\)$"),
    ],
)
def test_arrays_that_another_model_does_not_take_are_refused_in_one_line(shape, message):
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(2, 3),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    with pytest.raises(ModelError, match=message) as refused:
        bnn.predict(keras.Sequential(layers), np.zeros(shape, "float32"))
    assert "\n" not in str(refused.value) and "\x1b" not in str(refused.value)


def test_images_of_another_size_are_refused_or_scaled(run, images, scores):
    large = images.repeat(2, axis=1).repeat(2, axis=2)
    with pytest.raises(
        DataError, match=r"^images: expected .* 8 x 8 x 1, received 16 x 16 x 1; resize=True scales"
    ):
        bnn.predict(run, large)
    assert bnn.predict(run, large, resize=True).scores.shape == scores.shape


@pytest.mark.parametrize(
    ("network", "given", "error", "message"),
    [
        (None, 3, ModelError, "^network: expected a run, .*, received NoneType$"),
        ("nowhere", 3, runs.RunError, "nowhere: expected a run directory"),
        (
            "run",
            [[1], [2, 3]],
            ModelError,
            "^images: expected one array, .*, received a list of different",
        ),
        ("run", [], DataError, "^images: expected images of 8 x 8 x 1, received 0$"),
        ("run", "no.png", datasets.DataError, "no.png: expected an image"),
        (
            "model",
            np.zeros((1, 5), "float32"),
            ModelError,
            r"with the scores of classes .* \(1, 5, 2\)$",
        ),
    ],
)
def test_what_is_no_network_or_no_image_is_refused(run, network, given, error, message):
    if network == "model":
        network = keras.Sequential([keras.Input((5,)), keras.layers.Reshape((5, 1)), keras.layers.Dense(2)])
    with pytest.raises(error, match=message):
        bnn.predict(run if isinstance(network, str) and network == "run" else network, given)
