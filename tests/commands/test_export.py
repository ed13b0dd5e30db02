"""bnn export and bnn predict: the packed file classifies like the run, without TensorFlow."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import bnn
from bnn import bits, datasets, models, packed, runs
from bnn.analysis import prediction
from bnn.commands import export, predict
from bnn.console.errors import UserError
from bnn.packed import chain, folding, onnx_graph
from tests.support import ROOT


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    return shutil.copytree(trained[0], tmp_path_factory.mktemp("export") / "run")


@pytest.fixture(scope="module")
def images():
    return datasets.load("mnist-5k").test.images[: prediction.FEW]


@pytest.fixture(scope="module")
def scores(run, images):
    return models.scores(runs.open_run(run).load_model(), images)


@pytest.fixture(scope="module")
def file(run):
    assert export.main([str(run), "--images", "0"]) == 0
    return run / "packed.npz"


def printed(capsys):
    """The texts that were printed, each without the line breaks that keep it within 80 columns."""
    out = capsys.readouterr().out
    assert all(len(line) <= 80 or " /" in line for line in out.splitlines())  # a path stays in one line
    return out.replace("\n  ", " ").splitlines()


def test_export_says_what_it_checked_and_wrote(run, capsys, tmp_path):
    """The network has 14 x 14 x 8 + 7 x 7 x 8 + 16 activations per image."""
    output = tmp_path / "bits.npz"
    assert export.main([str(run), "--images", "30", "--output", str(output)]) == 0
    checked, accurate, wrote, classes = printed(capsys)
    assert classes.startswith("classes: 0 = 0, 1 = 1, ")
    assert re.fullmatch(
        r"checked on 30 test images: 30 in the same class as with the float32 network, "
        r"scores within \d\.\de-\d\d, 0 of 59,280 activations differ",
        checked,
    )
    expected = models.accuracy(runs.open_run(run).load_model(), datasets.load("mnist-5k").test[:30])
    assert accurate == f"accuracy on them: {expected:.4f} packed, {expected:.4f} in float32"
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


def test_predict_from_a_packed_file_loads_no_keras(file, images, scores, tmp_path):
    paths = [tmp_path / name for name in ("one.png", "color.png", "one.npy", "flat.npy", "many.npy")]
    Image.fromarray(images[0, ..., 0]).save(paths[0])
    Image.fromarray(np.repeat(images[1], 3, axis=2)).save(paths[1])
    for path, array in zip(paths[2:], (images[2], images[3, ..., 0], images[4:]), strict=True):
        np.save(path, array)
    found = lines(file, *paths)
    names = [*paths[:4], *(f"{paths[4]}[{i}]" for i in range(prediction.FEW - 4))]
    assert found == [
        f"{n}: {s.argmax()}, margin {np.diff(np.sort(s)[-2:])[0]:.3f}"
        for n, s in zip(names, scores, strict=True)
    ]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1)])
@pytest.mark.parametrize("kind", ["quantized", "real"])
def test_floats_are_pixels_in_the_range_of_the_run(images, tmp_path, capsys, kind, low, high):
    """Also if the first layer is real and could multiply any numbers."""
    net = packed.fold(bnn.build(input_shape=(28, 28, 1), conv=(), max_pool=(), fc=(9,), first_layer=kind))
    packed.save(dataclasses.replace(net, image_range=(low, high)), tmp_path / "p.npz")
    arrays = {
        "uint8": images[:1],
        "int64": images[:1].astype(np.int64),
        "float": images[:1] / 255 * (high - low) + low,
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        predict.main([str(tmp_path / "p.npz"), str(tmp_path / f"{name}.npy")])
    lines = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == 3 * lines[:1]


def test_other_files_and_images_in_another_range_are_refused(file, tmp_path):
    np.save(tmp_path / "real.npy", np.full((28, 28, 1), 255.0))
    with pytest.raises(UserError, match=r"expected pixels from 0 to 1, received 255 to 255$"):
        predict.main([str(file), str(tmp_path / "real.npy")])
    with pytest.raises(packed.PackError, match="expected a packed network"):
        predict.main([str(tmp_path / "real.npy"), str(tmp_path / "real.npy")])
    with pytest.raises(UserError, match="expected a run directory"):
        predict.main([str(file), "--errors"])


@pytest.mark.parametrize("form", ["onnx", "qonnx"])
def test_graphs_are_written(run, form, capsys):
    onnx = pytest.importorskip("onnx")
    assert export.main([str(run), "--format", form]) == 0
    path = run / export.FILES[form]
    checked, wrote, classes = printed(capsys)
    assert checked == "checked on 8 test images: no difference to the float32 network beyond rounding"
    assert wrote == f"wrote {path}: {path.stat().st_size:,} bytes" and classes.endswith(", 9 = 9")
    graph = onnx.load(path)
    assert len(graph.graph.node) > 10
    assert {p.key: json.loads(p.value) for p in graph.metadata_props} == {"class_names": list("0123456789")}


def test_a_graph_for_openvino_is_two_files(run, images, scores, tmp_path, capsys):
    openvino = pytest.importorskip("openvino")
    path = tmp_path / "own.xml"
    assert export.main([str(run), "--format", "openvino", "--output", str(path)]) == 0
    checked, wrote, classes = printed(capsys)
    assert checked.startswith(
        "checked on 16 test images: no difference to the float32 network beyond rounding,"
    )
    weights = path.with_suffix(".bin")
    assert sorted(tmp_path.iterdir()) == [weights, path] and classes.endswith(", 9 = 9")
    size = path.stat().st_size + weights.stat().st_size
    assert wrote.startswith(f"wrote {path} and {weights}: {size:,} bytes, ")
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = np.concatenate([compiled([image[None]])[0] for image in images])
    np.testing.assert_allclose(found, scores, atol=1e-4)


def test_without_the_data_noise_shows_that_openvino_computes_something_else(run, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    from bnn.packed import openvino_graph

    def missing(*_):
        raise datasets.DataError("MNIST: expected its files, received none")

    own = openvino_graph._limits
    monkeypatch.setattr("bnn.datasets.reading.load", missing)
    monkeypatch.setattr(openvino_graph, "_limits", lambda layer: (own(layer)[0] + 9, own(layer)[1]))
    with pytest.raises(packed.PackError, match=r"in conv_1.*nothing was written"):
        export.main([str(run), "--format", "openvino", "--output", str(tmp_path / "network.xml")])
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("form", "layer"), [("packed", 0), ("packed", 1), ("packed", 2), ("onnx", 1), ("qonnx", 2)]
)
def test_nothing_is_written_if_the_check_fails(run, form, layer, tmp_path, monkeypatch, capsys):
    """One unit has a batch norm that differs by more than rounding, after the network was read."""
    form == "packed" or pytest.importorskip("onnx")
    read = chain.read

    def spoiled(model):
        found = read(model)
        link = found.links[layer]
        link.norm.offset.assign(np.asarray(link.norm.offset) - 3 * (np.arange(link.kernel.shape[-1]) == 1))
        return found

    for module in (folding, onnx_graph):
        monkeypatch.setattr(module, "chain", SimpleNamespace(read=spoiled, refusal=chain.refusal))
    output = tmp_path / "network"
    output.write_text("old")
    line = [str(run), "--format", form, "--images", "20", "--output", str(output)]
    name = ("conv_1", "conv_2", "dense_1")[layer]
    with pytest.raises(packed.PackError, match=rf"{name}.*nothing was written"):
        export.main(line)
    assert output.read_text() == "old" and [*tmp_path.iterdir()] == [output]
    assert "wrote" not in capsys.readouterr().out


def test_without_the_data_export_says_not_checked(run, tmp_path, capsys, monkeypatch):
    def missing(*_):
        raise datasets.DataError("MNIST: expected its files, received none")

    monkeypatch.setattr("bnn.datasets.reading.load", missing)
    export.main([str(run), "--output", str(tmp_path / "p.npz")])
    assert capsys.readouterr().out.startswith("not checked: MNIST: expected its files, received none\nwrote ")
