"""Small networks, their reports, and axes that are rendered at the end of a test."""

from types import SimpleNamespace

import numpy as np
import pytest

from bnn import backend, plots
from bnn.analysis import analyze
from bnn.models import build_model
from bnn.settings.config import ModelConfig
from tests.support import KINDS

SHAPES = {
    "gray": {"input_shape": (8, 8, 1), "conv": (4, 6), "max_pool": (0, 1), "fc": (8,)},
    "color": {"input_shape": (8, 8, 3), "conv": (4,), "max_pool": (1,), "fc": (8,)},
    "dense": {"input_shape": (8, 8, 1), "conv": (), "max_pool": (), "fc": (8,)},
}

NETWORKS = [("binary", "gray"), ("ternary", "color"), ("binary", "dense")]


@pytest.fixture(scope="session", params=NETWORKS, ids="-".join)
def network(request):
    """A network's `report`, and the `shape` of the inputs of its first kernels."""
    kind, shape = request.param
    backend.seed_everything(0)  # the points decide whether every label fits
    config = ModelConfig(**SHAPES[shape], **KINDS[kind])
    images = np.random.default_rng(0).integers(0, 256, (12, *config.input_shape), dtype=np.uint8)
    first = config.input_shape if shape == "dense" else (3, 3, config.input_shape[-1])
    return SimpleNamespace(report=analyze(build_model(config), images), shape=first)


@pytest.fixture
def ax():
    """Axes in our style; rendering them at the end shows that drawing raises no warning."""
    with plots.in_style():
        fig, ax = plots.figure()
        yield ax
        fig.draw_without_rendering()


@pytest.fixture
def rng():
    return np.random.default_rng(0)
