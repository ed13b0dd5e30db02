"""The code of pages, executed in order: Python blocks, and the commands that need no download and no hours.

Every page is one namespace and shares a folder with the files that the pages name. All commands are parsed by
tests/test_docs.py; the README is executed by test_readme.py.
"""

import json
import shlex

import keras
import numpy as np
import pytest
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import bnn
from bnn.analysis.core import statistics
from tests.support import ROOT, call
from tests.test_docs import blocks

# What a block contains that is not executed here, and the reason or the place that executes it.
ELSEWHERE = {
    "torch": "tests/torch/test_torch_docs.py",
    "BinaryConv2d": "tests/torch/test_torch_docs.py",
    "input_quantizer(before)": "tests/analysis/test_larq.py",
    "kernel_quantizer_internal": "tests/analysis/test_larq.py",
    'load("MNIST")': "needs a download",
    "import openvino": "tests/packed/test_openvino_graph.py",
}
PROGRAMS = {"train.py": "train", "analyze.py": "analyze"}
DATA = {"mnist-5k", "digits.npz", "photos/"}  # that need no download


def commands(text):
    """Yield (program, arguments) of the lines of a block that can be executed here."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "bnn"] or words[:1] == ["bnn"]:
            program, arguments = "-m", ["bnn", *words[3 if words[0] == "python" else 1 :]]
        elif words[:1] == ["python"] and words[1] in PROGRAMS:
            program, arguments = "-m", ["bnn", PROGRAMS[words[1]], *words[2:]]
        else:
            continue
        if arguments[1] == "train" and not DATA & set(arguments) and "--resume" not in arguments:
            continue  # hours, or data to download; parsed by test_docs.py
        if "--use" in arguments or any(word.startswith("results/") for word in arguments):
            continue  # executed by test_user_code.py; needs a download
        yield (
            program,
            arguments + (["--debug"] if arguments[1] == "train" and "--resume" not in arguments else []),
        )


def run_commands(example):
    for program, arguments in commands(example.parsed):
        done = call(program, *arguments, cwd=example.namespace["folder"])
        assert done.returncode == 0, (arguments, done.stderr[-500:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the pages name: a run, a model, images, and a folder of photos."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "results").symlink_to(ROOT / "results")
    settings = {"conv": (8, 8), "max_pool": (1, 1), "fc": (16,), "epochs": 1, "deterministic": True}
    bnn.train(folder / "runs" / "NAME", data_set="mnist-5k", log_geometry=1, verbose=False, **settings)
    data = bnn.datasets.load("mnist-5k")
    for name in ("picture.png", "IMAGE.png"):
        Image.fromarray(data.test.images[0, :, :, 0]).save(folder / name)
    for i, (image, label) in enumerate(zip(data.test.images, data.test.labels, strict=True)):
        (folder / "photos" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(folder / "photos" / str(label) / f"{i}.png")
    arrays = {"x_train": data.train.images[:1000], "y_train": data.train.labels[:1000]}
    arrays |= {"x_test": data.test.images, "y_test": data.test.labels}
    np.savez(folder / "digits.npz", **arrays)
    (folder / "levels.json").write_text('{"conv2d": 2, "dense": 4}')
    np.save(folder / "FILE.npy", data.test.images[:100] / np.float32(255))
    real().save(folder / "MODEL.keras")
    return folder


def real():
    """A Keras model with real weights for digits, compiled."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="conv2d"),
            layers.Flatten(),
            layers.Dense(10, name="dense"),
        ]
    )
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


def names(page, folder):
    """What the code of a page takes as given."""
    data = bnn.datasets.load("mnist-5k")
    found = {"bnn": bnn, "np": np, "keras": keras, "folder": folder, "images": data.test.images[:50]}
    if page == "packed":
        run = bnn.open_run(folder / "runs" / "NAME")
        return found | {"model": run.load_model(), "class_names": run.class_names}
    found |= {"x_train": data.train.images[:500], "y_train": data.train.labels[:500]}
    found |= {"x_test": data.test.images, "y_test": data.test.labels}
    found |= {"x": data.train.images[:100] / 255.0, "y": np.eye(10)[data.train.labels[:100]]}
    own = lambda folder: {name: found[name] for name in ("x_train", "y_train", "x_test", "y_test")}  # noqa: E731
    return found | {"model": real(), "x_validation": found["x"], "read": own}


def execute(page, folder, wanted=lambda code: not any(word in code for word in ELSEWHERE)):
    """Execute the wanted blocks of a page in order; how many there were."""
    parsers = [PythonCodeBlockParser()]
    if page != "your-own-model":  # whose commands are executed as they are printed, below
        parsers.append(CodeBlockParser("bash", run_commands))
    document = Sybil(parsers).parse(ROOT / "docs" / f"{page}.md")
    document.namespace.update(names(page, folder))
    examples = [example for example in document.examples() if wanted(str(example.parsed))]
    for example in examples:
        example.evaluate()
    return len(examples)


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("faq", 2),
        ("packed", 2),
        pytest.param("training", 10, marks=pytest.mark.slow),
        ("your-own-model", 3),
        ("start", 2),
    ],
)
def test_the_code_of_a_page_runs(page, least, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(statistics, "STATISTICS", list(statistics.STATISTICS))
    assert execute(page, folder) >= least


def test_the_commands_for_your_own_model_run_as_printed(tmp_path):
    lines = "".join(blocks(ROOT / "docs" / "your-own-model.md", "bash")).splitlines()
    assert len(lines) == 6
    for line in lines:
        python, program, *arguments = shlex.split(line)
        process = call(program, *arguments, cwd=tmp_path)
        assert python == "python" and process.returncode == 0, process.stderr
    rows = json.loads((tmp_path / "ternary" / "metrics.json").read_text())["layers"]
    assert [(row["d"], row["units"]) for row in rows] == [(9, 16), (9, 16), (1936, 10)]
    assert all(row["r_activations"] > 0 for row in rows)
    assert len(json.loads((tmp_path / "levels.json").read_text())) == 3
