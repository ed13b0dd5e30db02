"""The PyTorch example of docs/your-own-model.md: a binary network, trained for a moment on the embedded digits."""

import re

import numpy as np
import pytest

from bnn import datasets
from tests.support import ROOT

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    text = (ROOT / "docs" / "your-own-model.md").read_text().partition("## PyTorch")[2].partition("\n## ")[0]
    names = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(code, names)
    report = names["report"]
    assert [layer.name for layer in report] == ["0", "3", "7"] and report.unanalyzed == {}
    assert (tmp_path / "geometry" / "metrics.json").exists()
    assert all(0 < layer.r_scores < 1 for layer in report)
    test = datasets.load("mnist-5k").test
    with torch.no_grad():
        scores = names["model"].eval()(torch.tensor(test.images).movedim(-1, 1) / 255)
    assert np.mean(scores.argmax(1).numpy() == test.labels) > 0.8
