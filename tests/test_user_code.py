"""`--use FILE.py`: quantizers with arguments, data sets and errors of the user's own files."""

import numpy as np
import pytest

import bnn
from bnn import runs
from bnn.console.errors import ConfigError
from bnn.datasets.storing import DataError
from bnn.settings.user_code import load
from tests.support import call

CODE = '''
import keras
import numpy as np
import bnn.datasets
from bnn.layers import Quantizer, sign, with_gradient

@keras.saving.register_keras_serializable()
class TanhSign(Quantizer):
    """Sign, with the gradient of tanh(beta x)."""

    def __init__(self, beta):
        self.beta = beta

    def __call__(self, x):
        slope = lambda x, upstream: upstream * self.beta * (1 - keras.ops.tanh(self.beta * x) ** 2)
        return with_gradient(sign, slope)(x)

    def get_config(self):
        return {"beta": self.beta}

def read(folder):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (rng.random((60, 6, 6)) * 0.5 + labels[:, None, None] * 0.2).astype("float32")
    return {"x_train": images, "y_train": labels, "x_test": images[:9], "y_test": labels[:9]}

bnn.datasets.register("shades", read)
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(CODE)
    return path


def program(*arguments):
    process = call("-m", "bnn", *arguments)
    return process.returncode, process.stdout, process.stderr


@pytest.fixture(scope="module")
def folder(file, tmp_path_factory):
    """A run of the command line with a data set and a quantizer of the file."""
    run = tmp_path_factory.mktemp("runs") / "run"
    quantizer = 'Custom>TanhSign{"beta": 2.0}'
    flags = [
        "--kernel_quantizer",
        quantizer,
        "--activation_quantizer",
        quantizer,
        "--conv",
        "--fc",
        "4",
    ]
    code, out, err = program(
        "train", "--use", file, "--data_set", "shades", *flags, "--epochs", "1", "--run_dir", run
    )
    assert code == 0, err
    assert "images of 6 x 6 x 1 in 3 classes" in out
    return run


def test_programs_open_the_run_with_the_file_and_name_it_without(folder, file):
    code, out, err = program("analyze", "--use", file, folder, "--images", 5)
    assert code == 0 and "quantized network" in out, err
    code, _, err = program("analyze", folder)
    assert code == 1 and err.count("\n") == 1
    assert "--use FILE.py" in err and ("shades" in err or "TanhSign" in err)


def test_the_run_has_its_quantizers_with_their_arguments(folder, file):
    load(file)
    run = runs.open_run(folder)
    assert run.config.quantization.kernel_quantizer == 'Custom>TanhSign{"beta": 2.0}'
    layers = {layer.name: layer for layer in run.load_model().layers}
    first, second = (layers[name].kernel_quantizer for name in ("dense_1", "dense_2"))
    assert first.beta == second.beta == 2.0 and first is not second  # each layer has its own
    assert runs.default_name(run.config).startswith("shades-quantized")


def test_an_object_is_stored_by_its_class_and_config(file, tmp_path):
    module = load(file)
    quantizer = module.TanhSign(3.0)
    settings = {"conv": (), "fc": (), "epochs": 1, "precision": "float32"}
    run = bnn.training.train(tmp_path / "run", data_set="shades", kernel_quantizer=quantizer, **settings)
    assert run.config.quantization.kernel_quantizer == 'Custom>TanhSign{"beta": 3.0}'
    assert run.load_model().get_layer("dense_1").kernel_quantizer.beta == 3.0
    assert bnn.training.resume(run.folder, kernel_quantizer=module.TanhSign(3.0)).log() == run.log()
    with pytest.raises(bnn.settings.config.ConfigError, match="kernel_quantizer: expected"):
        bnn.training.resume(run.folder, kernel_quantizer=module.TanhSign(1.0))


def test_a_registered_data_set_is_read_like_arrays(file):
    load(file)
    data = bnn.datasets.load("shades")
    assert (data.name, data.class_names, len(data.train), len(data.validation)) == (
        "shades",
        ("0", "1", "2"),
        54,
        6,
    )
    assert data.train.images.dtype == np.uint8


@pytest.mark.parametrize("name", ["MNIST", "arrays", "a/b", "x.npz", "", 3])
def test_names_of_data_sets_that_are_taken_are_refused(name):
    with pytest.raises(DataError, match="data_set: expected a new name"):
        bnn.datasets.register(name, dict)


def test_a_reader_that_returns_something_else_is_named():
    bnn.datasets.register("wrong", lambda folder: {"x": 1})
    with pytest.raises(DataError, match=r"data_set wrong: expected a dict with x_train, .* received \['x'\]"):
        bnn.datasets.load("wrong")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", r"own\.py:1: ZeroDivisionError: division by zero"),
        ("\ndef f(:\n", r"own\.py:2: SyntaxError"),
        ("import nothing_of_this_name", r"own\.py:1: ModuleNotFoundError"),
    ],
)
def test_an_error_in_the_file_is_one_line_with_its_place(tmp_path, text, said):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(tmp_path / "own.py")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="expected a Python file, received no such file"):
        load(tmp_path / "none.py")
