"""The user-defined quantizer of the documentation, defined, trained and analyzed as printed there."""

import re
import textwrap

import keras
import numpy as np
import pytest

from bnn import runs
from bnn.settings.config import ConfigError
from tests.support import ROOT, assert_refused, call


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Run the code of the page; return its names, and the folder in which it ran."""
    text = (ROOT / "docs" / "training.md").read_text()
    section = text[text.index("## A quantizer of your own") :]
    code = textwrap.dedent(re.search(r"(?:^    .*\n|^\n)+", section[section.index("    import") :], re.M)[0])
    folder, names = tmp_path_factory.mktemp("example"), {"__name__": "example"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code, "training.md", "exec"), names)
    return names, folder


def test_the_network_learns_and_its_layers_have_the_quantizer(example):
    names, folder = example
    run = runs.open_run(folder / "runs" / "triangle")
    assert run.best_epoch()["val_accuracy"] > 0.5
    assert run.model.kernel_quantizer == run.model.activation_quantizer == "Custom>triangle_sign"
    layer = run.load_model().get_layer("conv_2")
    assert layer.kernel_quantizer is names["triangle_sign"]


def test_the_network_is_analyzed(example):
    layers = {layer.name: layer for layer in example[0]["report"]}
    assert list(layers) == ["conv_1", "conv_2", "dense_1", "dense_2"]
    assert 20 < np.degrees(layers["dense_1"].angles).mean() < 60


def test_the_error_for_an_unregistered_function_names_it(example, monkeypatch):
    _, folder = example
    monkeypatch.delitem(keras.saving.get_custom_objects(), "Custom>triangle_sign")
    run = runs.open_run(folder / "runs" / "triangle")
    with pytest.raises(
        ConfigError, match=r"kernel_quantizer: expected .* as Custom>triangle_sign, received none"
    ):
        run.load_model()
    assert_refused(
        call("analyze.py", run.folder), "Custom>triangle_sign", "import the module that defines it"
    )
