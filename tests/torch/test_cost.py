"""The cost of quantizers in PyTorch models, against finite differences of the log-likelihood."""

import numpy as np
import pytest

import bnn
from bnn.analysis.core.agreement import other_kernel

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")


def slopes(model, layer, x, labels, step=1e-2):
    """The derivative of log p(label) of every image along the change of a weight, by central differences."""
    weight = layer.product.variable.tensor
    change = layer.product.in_shape(
        other_kernel(layer, True) - layer.product.kernels.latent, tuple(weight.shape)
    )
    change, found = torch.from_numpy(np.ascontiguousarray(change)), []
    with torch.no_grad():
        before = weight.clone()
        for sign in (1, -1):
            weight.copy_(before + sign * step * change)
            log_p = torch.log_softmax(model(x), dim=1)
            found.append(log_p[torch.arange(len(x)), labels].numpy())
        weight.copy_(before)
    return (found[0] - found[1]) / (2 * step)


def test_the_cost_is_half_the_mean_square_of_the_directional_derivative():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 5, 3),
        torch.nn.BatchNorm2d(5),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(80, 4),
    )
    x, labels = torch.randn(25, 2, 6, 6), torch.randint(4, (25,))
    model[0].weight.requires_grad_(False)
    report = bnn.analyze(model, x, score_images=0, cost_images=25, labels=labels.numpy())
    model.eval()
    assert len(report) == 2 and not model[0].weight.requires_grad and model[4].weight.grad is None
    for layer in report:
        assert layer.cost == pytest.approx(np.mean(slopes(model, layer, x, labels) ** 2) / 2, rel=2e-2)


def test_rows_of_one_weight_are_layers_and_computed_weights_have_no_cost():
    torch.manual_seed(0)
    attention = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = torch.nn.Sequential(
        attention, torch.nn.Flatten(), torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(40, 3))
    )
    found = {
        layer.name: layer.cost
        for layer in bnn.analyze(model, torch.randn(12, 5, 8), score_images=0, cost_images=12)
    }
    assert sum(cost is None for cost in found.values()) == 1
    assert all(cost is None or cost > 0 for cost in found.values()) and len(found) >= 6
