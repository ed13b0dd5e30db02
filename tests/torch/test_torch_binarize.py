"""PyTorch modules with quantized weights; the kernels' fit itself is tested in tests/binarization."""

import subprocess
import sys

import numpy as np
import pytest

import bnn
from bnn.analysis import ReportError
from tests.support import ROOT

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")
nn = torch.nn


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((80, 3, 8, 8)).cumsum(-1).cumsum(-2).astype(np.float32)


@pytest.fixture(scope="module")
def model(images):
    """Convolutions with and without batch norm, a grouped and a transposed one, and a dense layer; in training mode."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8, momentum=None),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, groups=2),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 12 * 12, 5),
    )
    with torch.no_grad():
        model(torch.tensor(images))
    return model


def outputs(model, images):
    with torch.no_grad():
        return model.eval()(torch.tensor(images)).double().numpy()


def nearest(model, images):
    """The network with signs and the best scales for the weights, and its batch norm refitted."""
    import copy

    other = copy.deepcopy(model)
    with torch.no_grad():
        for module in other:
            if hasattr(module, "weight") and module.weight.dim() > 1:
                w = module.weight
                axes = [0, 2, 3] if isinstance(module, nn.ConvTranspose2d) else list(range(1, w.dim()))
                w.copy_(torch.where(w >= 0, 1.0, -1.0) * w.abs().mean(axes, keepdim=True))
        other[1].reset_running_stats()
        other.train()(torch.tensor(images))
    return other


def test_a_module_is_binarized_and_not_changed(model, images):
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = bnn.binarize(model, images)
    assert model.training and all(
        torch.equal(value, before[key]) for key, value in model.state_dict().items()
    )
    assert [layer.name for layer in found.layers] == ["0", "3", "5", "7"] and found.real == {}
    for place in (0, 3, 7):
        for unit in found.model[place].weight.detach().numpy():
            assert len(np.unique(unit)) == 2 and len(np.unique(np.abs(unit))) == 1
    for unit in found.model[5].weight.detach().numpy().swapaxes(0, 1):
        assert len(np.unique(np.abs(unit))) == 1
    real, near = outputs(model, images), outputs(nearest(model, images), images)
    after = outputs(found.model, images)
    assert np.mean((after - real) ** 2) < 0.5 * np.mean((near - real) ** 2)
    held = np.sort(np.random.default_rng(0).permutation(80)[:16])
    r = np.corrcoef(real[held].ravel(), after[held].ravel())[0, 1]
    assert found.agreement["r"] == pytest.approx(r, abs=1e-5)
    assert found.agreement["same"] == np.mean(real[held].argmax(1) == after[held].argmax(1))


def test_batch_norm_has_the_moments_of_the_binary_layer(model, images):
    found = bnn.binarize(model, images, batch_size=30).model
    fitted = np.sort(np.random.default_rng(0).permutation(80)[16:])
    with torch.no_grad():
        x = found[0](torch.tensor(images[fitted])).double()
    np.testing.assert_allclose(found[1].running_mean, x.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1].running_var, x.var((0, 2, 3), unbiased=False), rtol=1e-4)


class Encoder(nn.Module):
    """Embedding, attention, a recurrent layer, and two heads that share their weight."""

    def __init__(self):
        super().__init__()
        self.table, self.attention = nn.Embedding(20, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.memory, self.first = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 4)
        self.second = nn.Linear(6, 4)
        self.second.weight = self.first.weight

    def forward(self, words):
        x = self.table(words)
        x = x + self.attention(x, x, x)[0]
        x = self.memory(x)[0]
        return self.first(x[:, 0]), self.second(x[:, -1])


def test_attention_and_recurrent_layers_and_what_stays_real():
    torch.manual_seed(1)
    model, words = Encoder(), np.random.default_rng(1).integers(0, 20, (60, 5))
    found = bnn.binarize(model, words, levels=3)
    assert [layer.name for layer in found.layers] == [
        *(f"attention/{part}" for part in ("query", "key", "value", "output")), "memory/weight_ih_l0",
        "memory/weight_hh_l0",
    ]  # fmt: skip
    assert (
        found.real["table"].startswith("it looks rows up")
        and found.real["first"] == "another module shares its weight"
    )
    assert torch.equal(found.model.first.weight, model.first.weight)
    weight = found.model.attention.in_proj_weight.detach().numpy()
    assert all(len(np.unique(unit)) <= 3 for unit in weight) and found.agreement["r"] > 0.7


def test_it_needs_no_keras():
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(('keras', 'tensorflow', 'jax', 'numba')))\n"
        "import numpy as np, torch, bnn\n"
        "x = np.random.default_rng(0).standard_normal((20, 6)).astype('float32')\n"
        "print(bnn.binarize(torch.nn.Sequential(torch.nn.Linear(6, 3)), x).bits)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr


def test_names_and_inputs_that_do_not_fit_are_refused(model, images):
    with pytest.raises(
        ReportError, match="assignment: expected names of layers with a kernel, received 'conv'"
    ):
        bnn.binarize(model, images, assignment={"conv": 2})
    with pytest.raises(ReportError, match="images: expected inputs that the model accepts"):
        bnn.binarize(model, images[:, :2])
