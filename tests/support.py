"""Functions for several test files: a small data set, small runs, and programs run as processes."""

import fcntl
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from bnn.datasets import DataSet, Split
from bnn.datasets.texts import windows
from bnn.settings.config import ModelConfig, TrainConfig
from tests import warm

ROOT = Path(__file__).resolve().parent.parent
# 200 steps per epoch, about half a second: enough time for a signal to arrive within an epoch.
TINY = (
    "--data_set",
    "mnist-5k",
    "--conv",
    "8",
    "8",
    "--max_pool",
    "1",
    "1",
    "--fc",
    "16",
    "--batch_size",
    "20",
    "--epochs",
    "3",
    "--deterministic",
)
KINDS = {"binary": {}, "ternary": {"levels": 3, "threshold": 0.1}, "continuous": {"continuous": True}}
OTHER_ESTIMATORS = {
    "stochastic": {"estimator": "stochastic_sign"},
    "magnitude-aware": {"estimator": "magnitude_aware_sign"},
    "optimal ternary": {"levels": 3, "estimator": "optimal_ternary"},
    "absmean": {"levels": 3, "estimator": "absmean"},
}
# The keys of a layer in metrics.json, in their order.
STATISTICS = (
    "layer",
    "d",
    "units",
    "angle_mean_deg",
    "angle_std_deg",
    "angle_theory_deg",
    "gain",
    "gain_min",
    "r_weights",
    "r_within",
    "r_within_min",
    "r_two_numbers",
    "r_two_error",
    "r_three_numbers",
    "r_three_error",
    "angle_inputs_deg",
    "residual_gain",
    "kappa",
    "kappa_median",
    "residual_mean_share",
    "residual_mean_gain",
    "residual_channels_share",
    "residual_channels_gain",
    "residual_rest_share",
    "residual_rest_gain",
    "r_rotated",
    "constant_units",
    "slope",
    "sign_flips",
    "r_permuted",
    "r_activations",
    "r_scores",
    "cost",
    "cost_error",
    "latent_std",
    "zeros",
)


def command(program, *args):
    """The command line of a program of this repository, of a module after "-m", or of code after "-c"."""
    if program in ("-m", "-c"):
        return [sys.executable, program, *map(str, args)]
    return [sys.executable, str(ROOT / program), *map(str, args)]


def call(program, *args, fresh=False, cwd=None, **options):
    """Run a program to its end; return an object with `returncode`, `stdout` and `stderr`.

    Args:
        program: str, the path of the program in the repository.
        *args: its arguments.
        fresh: whether it starts in a new interpreter, which takes seconds if it loads Keras, instead of in a process
            forked from one that has already loaded Keras.
        cwd: its current folder.
        **options: options of `subprocess.run`; they imply `fresh`.
    """
    line = command(program, *args)
    if fresh or options or not can_fork():
        return subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=cwd, **options)
    return warm.call(line[1:], cwd)


def can_fork():
    """Whether programs may be forked: TensorFlow starts no threads before its first operation, other backends do."""
    return sys.platform == "linux" and "KERAS_BACKEND" not in os.environ


def begin(program, *args, fresh=False):
    """Start a program; its standard output can be read line by line. For `fresh` see `call`."""
    line = command(program, *args)
    if not fresh and can_fork():
        return warm.begin(line[1:])
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, bufsize=1)


def once(factory, name, make):
    """Return the result of `make(folder)` for a folder of this name; all workers of a session share one call.

    Args:
        factory: pytest's `tmp_path_factory`.
        name: str, the name of the folder.
        make: function of the folder, a path that does not exist yet; its result must support pickle.
    """
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    result = base / f"{name}.pickle"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            made = make(base / name)
            result.write_bytes(pickle.dumps(made))
    return pickle.loads(result.read_bytes())


def wait_for_line(process, pattern):
    """Read the output of a process up to a line that matches the pattern, and return this line."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError(f"no line with {pattern!r} in {''.join(lines)!r}, stderr {process.stderr.read()!r}")


def assert_refused(process, *words):
    """Check for exit code 1 and one line on standard error that contains all the words."""
    assert process.returncode == 1, process.stderr
    assert len(process.stderr.splitlines()) == 1, process.stderr
    assert all(word in process.stderr for word in words), process.stderr


def unwrapped(text):
    """Join the lines of a printed text that were broken to fit 80 columns; see `bnn.console.tables.filled`."""
    return re.sub(r"\n  (?=\S)", " ", text)


def same_but_for_seconds(log, other):
    """Whether two logs, as returned by `Run.log`, are equal except for the times."""
    return [row | {"seconds": 0} for row in log] == [row | {"seconds": 0} for row in other]


def small_data(n=200):
    """A data set of images of 8 x 8 random pixels; the position of a white pixel gives the class."""
    rng = np.random.default_rng(0)

    def split(n):
        labels = rng.integers(10, size=n).astype(np.uint8)
        images = rng.integers(0, 200, (n, 8, 8, 1), dtype=np.uint8)
        images[np.arange(n), labels % 8, labels // 8] = 255
        return Split(images, labels)

    return DataSet("mnist-5k", "0" * 64, True, split(n), split(n // 4), split(n // 4))


def small_text(n=60, context=8):
    """A data set of sequences of the digits, most of which follow their predecessor."""
    rng = np.random.default_rng(0)

    def split(n, step):
        steps = rng.choice(3, n * step + context, p=(0.1, 0.8, 0.1))
        return windows((np.cumsum(steps) % 10).astype(np.uint8), context, step)

    return DataSet("tiny-shakespeare", "0" * 64, True, split(n, 1), split(5, context), split(6, context))


def small_settings(kind="binary", conv=(4,), **training):
    """(ModelConfig, TrainConfig) of a small network, trained within two seconds."""
    model = ModelConfig(
        input_shape=(8, 8, 1),
        conv=conv,
        max_pool=(1,) * len(conv),
        fc=(8,),
        bn_decay=0.9,
        **(KINDS | OTHER_ESTIMATORS)[kind],
    )
    defaults = {"data_set": "mnist-5k", "epochs": 3, "batch_size": 20, "lr_start": 0.03, "lr_end": 0.003}
    return model, TrainConfig(**defaults | {"precision": "float32"} | training)


def small_config(kind="binary", **options):
    """The Config of `small_settings`."""
    model, training = small_settings(kind, **options)
    return model.with_training(training)


def start(folder, data, kind="binary", **options):
    """Create a small run: (compiled network, Run); for the options see `small_settings`."""
    from bnn.training.start import begin

    model, config = small_settings(kind, **options)
    begun = begin(folder, vars(model) | vars(config) | {"data_set": data}, command=["train.py"])
    return begun.model, begun.run


def code(book):
    """The code cells of a notebook."""
    return [cell for cell in book.cells if cell.cell_type == "code"]


def images(book):
    """The outputs of a notebook that are images."""
    outputs = [output for cell in code(book) for output in cell.outputs]
    return [output for output in outputs if "image/png" in output.get("data", {})]


def without_keras(folder):
    """Return an environment in which a program that imports Keras fails."""
    stand_in = folder / "no keras"
    stand_in.mkdir(exist_ok=True)
    (stand_in / "keras.py").write_text("raise RuntimeError('Keras was loaded')")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(stand_in), os.environ.get("PYTHONPATH", "")])}


def assert_same_report(found, expected, tolerance=1e-6):
    """Check that two Reports are equal up to the rounding of sums in another order; counts are exactly equal."""
    assert (found.about, found.unanalyzed, found.undefined) == (
        expected.about,
        expected.unanalyzed,
        expected.undefined,
    )
    assert [layer.name for layer in found] == [layer.name for layer in expected]
    for layer, other in zip(found, expected, strict=True):
        other_row = other.statistics()
        for key, value in layer.statistics().items():
            if isinstance(value, float):
                close = np.isclose(value, other_row[key], rtol=tolerance, atol=tolerance, equal_nan=True)
                assert close, (layer.name, key, value, other_row[key])
            else:
                assert value == other_row[key], (layer.name, key)
        assert layer.weights.count == other.weights.count
        assert set(layer.histograms) == set(other.histograms)
        for name, histogram in layer.histograms.items():
            np.testing.assert_array_equal(histogram.counts, other.histograms[name].counts)
            np.testing.assert_array_equal(histogram.x_edges, other.histograms[name].x_edges)
            assert histogram.outside == other.histograms[name].outside
        pairs = (one.grouped_patches for one in (layer, other))
        ordered = [part[:, np.lexsort(part[0].T[::-1])] for part in pairs]
        np.testing.assert_allclose(*ordered, atol=tolerance)
