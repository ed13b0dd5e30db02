"""The page of a PyTorch model."""

import pytest

import bnn
from bnn import pages

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")


def test_the_page_of_a_module_has_its_layers_and_figures(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    model.add_module("<i>first", torch.nn.Conv2d(1, 4, 3))
    model.add_module("act", torch.nn.ReLU())
    model.add_module("flat", torch.nn.Flatten())
    model.add_module("last", torch.nn.Linear(144, 3))
    report = bnn.analyze(model, torch.randn(20, 1, 8, 8))
    text = pages.write(report, tmp_path / "torch.html").read_text(encoding="utf-8")
    assert "&lt;i&gt;first" in text and "<i>" not in text and ">last<" in text
    assert text.count("<img ") >= 3 and f"data-value='{report['last'].gain!r}'" in text
