"""`analyze` recognizes the framework of a model; a framework is added by one folder."""

import subprocess
import sys
from contextlib import contextmanager
from types import ModuleType

import keras
import numpy as np
import pytest

from bnn.analysis import ReportError, analyze, from_arrays, report
from bnn.analysis.core.agreement import agreements, drawn, other_kernel, taken
from bnn.analysis.core.linear_maps import Dense
from bnn.analysis.core.measuring import SIGN
from bnn.analysis.core.product import Call, of_arrays
from tests.support import ROOT


class Matrix:
    """A model of a framework of one layer: images times a matrix."""

    def __init__(self, kernel):
        self.kernel = kernel


class MatrixAdapter:
    name, unanalyzed = "matrix", {}

    def __init__(self, model, images, quantizer):
        self.model, self.images = model, images
        self.products = [of_arrays("kernel", Dense(), model.kernel[:, None], quantizer or SIGN)]

    def stream(self, batch_size):
        for start in range(0, len(self.images), batch_size):
            yield start, [[Call(self.images[start : start + batch_size])]]

    def score_agreement(self, layers, n, batch_size, seed, progress):
        def run(chosen):
            return taken(self.images, chosen) @ self.model.kernel

        @contextmanager
        def exchanged(layer):
            before, self.model.kernel = self.model.kernel, other_kernel(layer, True)[:, 0]
            yield
            self.model.kernel = before

        return agreements(
            layers, run, drawn(self.images, n, batch_size, seed, []), exchanged, np.asarray, progress
        )


@contextmanager
def adapted(model, images, quantizer, kernel, batch_size):
    yield MatrixAdapter(model, images, quantizer)


def test_a_framework_is_one_module_with_an_adapter(monkeypatch):
    wing = ModuleType("wing_of_matrices")
    wing.accepts, wing.adapted = lambda model: isinstance(model, Matrix), adapted
    monkeypatch.setitem(sys.modules, "matrices", ModuleType("matrices"))
    monkeypatch.setitem(sys.modules, "wing_of_matrices", wing)
    monkeypatch.setitem(report.ADAPTERS, "matrices", "wing_of_matrices")
    rng = np.random.default_rng(0)
    kernel, images = (rng.standard_normal((n, 30)).astype(np.float32) for n in (30, 200))
    (layer,) = analyze(Matrix(kernel.copy()), images, quantizer="ternary")
    expected = from_arrays(kernel, images, quantizer="ternary")
    for key in ("angle_mean_deg", "gain", "r_weights", "sign_flips"):
        assert getattr(layer, key) == pytest.approx(getattr(expected, key), rel=1e-6)
    assert layer.r_scores == pytest.approx(layer.r_weights, abs=0.02)  # the scores are the dot products


def test_what_is_no_model_is_refused():
    for model in (None, np.ones((3, 3)), keras.Sequential):
        with pytest.raises(
            ReportError, match="network: expected a Keras model, a PyTorch module, a run or the path"
        ):
            analyze(model, np.ones((3, 3)))


def test_keras_takes_no_function_for_kernels():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ReportError, match="kernel: expected None for a Keras model"):
        analyze(model, np.ones((3, 4)), kernel=lambda layer: None)


def test_arrays_need_no_keras():
    code = (
        "import sys, numpy, bnn; a = numpy.random.default_rng(0).standard_normal((50, 9));"
        "bnn.analysis.from_arrays(a.T @ a, a); print('keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"
