"""The levels of the weights of PyTorch models for a number of bits."""

import pytest

from bnn.analysis import apply_levels, assign_levels

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")


def test_the_prediction_and_the_measurement_are_those_of_the_model_with_these_levels():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    )
    x = torch.randn(50, 2, 6, 6)
    found = assign_levels(model, x, 2, cost_images=50)
    assert list(found.levels()) == ["0", "3"] and found.bits <= 2 + 1e-6
    with torch.no_grad():
        before = torch.log_softmax(model(x).double(), dim=1)
        assert apply_levels(model, x, found) is model
        after = torch.log_softmax(model(x).double(), dim=1)
    divergence = float((before.exp() * (before - after)).sum(dim=1).mean())
    assert found.measured == pytest.approx(divergence, rel=1e-3)
    assert found.predicted == pytest.approx(divergence, rel=0.7)
