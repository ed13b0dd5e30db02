"""The PyTorch example of docs/your-own-model.md, run with a binary network trained briefly on the embedded digits."""

import re

import numpy as np
import pytest

from bnn import datasets
from tests.support import ROOT

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")
nn = torch.nn


class BinaryConv2d(nn.Conv2d):
    """A convolution with the signs of its weight and a straight-through estimator."""

    def forward(self, x):
        weight = self.weight.sign().detach() + self.weight - self.weight.detach()
        return self._conv_forward(x, weight, self.bias)


def trained(images, labels):
    torch.manual_seed(0)
    model = nn.Sequential(
        BinaryConv2d(1, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.Hardtanh(),
        BinaryConv2d(8, 16, 3, stride=2),
        nn.BatchNorm2d(16),
        nn.Hardtanh(),
        nn.Flatten(),
        nn.Linear(576, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for start in range(0, len(images), 50):
        optimizer.zero_grad()
        scores = model(torch.from_numpy(images[start : start + 50]))
        nn.functional.cross_entropy(scores, torch.from_numpy(labels[start : start + 50])).backward()
        optimizer.step()
    return model


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split = datasets.load("mnist-5k").train
    images = np.moveaxis(split.images[:2000], -1, 1).astype(np.float32) / 255
    model = trained(images, split.labels[:2000].astype(np.int64))
    text = (ROOT / "docs" / "your-own-model.md").read_text().partition("## PyTorch")[2]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    names = {"model": model, "images": images[:200], "BinaryConv2d": BinaryConv2d}
    exec(code, names)
    report = names["report"]
    assert [layer.name for layer in report] == ["0", "3", "7"] and report.unanalyzed == {}
    assert (tmp_path / "geometry" / "metrics.json").exists()
    assert all(0 < layer.r_scores < 1 for layer in report)
