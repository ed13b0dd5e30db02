"""bnn export and bnn predict: the packed file classifies like the run, without TensorFlow."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bnn import bits, datasets, models, packed, runs
from bnn.commands import export, predict
from tests.support import ROOT


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    return shutil.copytree(trained[0], tmp_path_factory.mktemp("export") / "run")


@pytest.fixture(scope="module")
def images():
    return datasets.load("mnist-5k").test.images[: predict.FEW]


@pytest.fixture(scope="module")
def scores(run, images):
    return models.scores(runs.open_run(run).load_model(), images)


@pytest.fixture(scope="module")
def file(run):
    assert export.main([str(run), "--images", "0"]) == 0
    return run / "packed.npz"


def test_export_says_what_it_checked_and_wrote(run, capsys, tmp_path):
    """The network has 14 x 14 x 8 + 7 x 7 x 8 + 16 activations per image."""
    output = tmp_path / "bits.npz"
    assert export.main([str(run), "--images", "30", "--output", str(output)]) == 0
    checked, wrote = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"checked on 30 test images: 30 in the same class as by the float32 network, "
        r"scores within \d\.\de-\d\d, 0 of 59,280 activations differ",
        checked,
    )
    size = output.stat().st_size
    assert wrote.startswith(f"wrote {output}: {size:,} bytes, ")
    assert float(wrote.split()[4]) == round(4 * runs.open_run(run).load_model().count_params() / size, 1)


def test_the_packed_file_gives_the_scores_of_the_run(file, images, scores):
    with bits.numpy_alone():
        found = packed.load(file).scores(images)
    np.testing.assert_allclose(found, scores, atol=1e-4)


def lines(network, *paths):
    """Return the lines that predict prints, in a process that fails if it loads Keras."""
    code = "import sys; from bnn.commands.predict import main; main(sys.argv[1:]); assert 'keras' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, [network, *paths])],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def expected(path, row):
    second, first = np.sort(row)[-2:]
    return rf"{re.escape(str(path))}: {row.argmax()}, margin {first - second:.3f}"


def test_predict_from_a_packed_file_loads_no_keras(file, images, scores, tmp_path):
    paths = [tmp_path / name for name in ("one.png", "color.png", "one.npy", "flat.npy", "many.npy")]
    Image.fromarray(images[0, ..., 0]).save(paths[0])
    Image.fromarray(np.repeat(images[1], 3, axis=2)).save(paths[1])
    for path, array in zip(paths[2:], (images[2], images[3, ..., 0], images), strict=True):
        np.save(path, array)
    found = lines(file, *paths)
    names = [*paths[:4], *(f"{paths[4]}[{i}]" for i in range(predict.FEW))]
    assert found == [
        f"{n}: {s.argmax()}, margin {np.diff(np.sort(s)[-2:])[0]:.3f}"
        for n, s in zip(names, [*scores[:4], *scores], strict=True)
    ]


def test_predict_from_a_run(run, images, scores, tmp_path, capsys):
    np.save(tmp_path / "one.npy", images[0])
    assert predict.main([str(run), str(tmp_path / "one.npy")]) == 0
    assert re.fullmatch(expected(tmp_path / "one.npy", scores[0]) + "\n", capsys.readouterr().out)


def test_files_that_are_not_images_for_the_network_are_refused(file, tmp_path):
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "text.npy").write_text("text")
    np.save(tmp_path / "none.npy", np.zeros((0, 28, 28, 1), np.uint8))
    np.save(tmp_path / "real.npy", np.zeros((28, 28, 1)))
    np.save(tmp_path / "number.npy", np.uint8(3))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for name, words in {
        "small.png": "expected images of 28 x 28 x 1, received 5 x 4 x 1",
        "none.npy": "received 0 x 28 x 28 x 1",
        "text.png": "expected a PNG or .npy file",
        "text.npy": "expected a .npy file of images",
        "objects.npy": "expected a .npy file of images",
        "real.npy": "expected uint8",
        "number.npy": "received no axes",
    }.items():
        with pytest.raises((packed.PackError, predict.UserError), match=words):
            predict.main([str(file), str(tmp_path / name)])
    with pytest.raises(FileNotFoundError):
        predict.main([str(file), str(tmp_path / "nothing.png")])
    with pytest.raises(packed.PackError, match="expected a packed network"):
        predict.main([str(tmp_path / "text.png"), str(tmp_path / "small.png")])


@pytest.mark.parametrize("form", ["onnx", "qonnx"])
def test_graphs_are_written(run, form, capsys):
    onnx = pytest.importorskip("onnx")
    assert export.main([str(run), "--format", form]) == 0
    path = run / export.FILES[form]
    assert capsys.readouterr().out == f"wrote {path}: {path.stat().st_size:,} bytes\n"
    assert len(onnx.load(path).graph.node) > 10


def test_without_the_data_export_says_not_checked(run, tmp_path, capsys, monkeypatch):
    def missing(*_):
        raise datasets.DataError("MNIST: expected its files, received none")

    monkeypatch.setattr("bnn.datasets.reading.load", missing)
    export.main([str(run), "--output", str(tmp_path / "p.npz")])
    assert capsys.readouterr().out.startswith("not checked: MNIST: expected its files, received none\nwrote ")
