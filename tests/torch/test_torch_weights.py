"""Weights of PyTorch models that are shared, hidden or not real, and layers whose first axis is not the images'."""

import numpy as np
import pytest

from bnn.analysis import analyze_torch

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")
nn = torch.nn
RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 5, 8)).astype(np.float32)
NOT_FOUND = "is none of the modules that are analyzed; it holds"


def same_rows(found, expected):
    assert len(found) == len(expected)
    for layer, other in zip(found, expected, strict=True):
        row, other = layer.statistics(), other.statistics()
        for key in row.keys() - {"layer"}:
            assert row[key] == pytest.approx(other[key], abs=1e-4, nan_ok=True), (layer.name, key)


class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)

    def forward(self, x):
        return self.head(torch.relu(self.embedding(x))).mean(1)


@pytest.mark.parametrize("memory", [False, True], ids=["parameter", "memory"])
def test_scores_of_one_module_leave_others_with_its_weight_alone(memory):
    torch.manual_seed(0)
    plain, tied, words = LanguageModel(), LanguageModel(), RNG.integers(0, 20, (12, 6))
    plain.head.weight.data.copy_(plain.embedding.weight)
    if memory:
        tied.head.weight.data = tied.embedding.weight.data
    else:
        tied.head.weight = tied.embedding.weight
    tied.load_state_dict(plain.state_dict())
    found = analyze_torch(tied, words)
    same_rows(found, analyze_torch(plain, words))
    assert found.unanalyzed == {} and 0 < found["head"].r_scores < 1
    torch.testing.assert_close(tied.head.weight, plain.head.weight, rtol=0, atol=0)


class Hidden(nn.Module):
    """A dense layer whose weight is anywhere."""

    def __init__(self, put, weight):
        super().__init__()
        self.get = put(self, weight)

    def forward(self, x):
        return x @ torch.as_tensor(self.get()).reshape(8, 8).float()


def buffer(module, weight):
    module.register_buffer("packed", (weight > 0).to(torch.uint8))
    return lambda: module.packed


def attribute(module, weight):
    module.plain = weight
    return lambda: module.plain


def flat(module, weight):
    module.flat = nn.Parameter(weight.flatten())
    return lambda: module.flat


def container(module, weight):
    module.parts = {"a": [weight.numpy()]}
    return lambda: module.parts["a"][0]


class Packed:
    def __init__(self, bits):
        self.bits = bits


def object_of_its_own(module, weight):
    module.packed = Packed(weight > 0)
    return lambda: module.packed.bits


def unregistered(module, weight):
    module.layers = [nn.Linear(8, 8)]
    return lambda: module.layers[0].weight.detach()


@pytest.mark.parametrize(
    ("put", "names"),
    [
        (buffer, "packed"),
        (attribute, "plain"),
        (flat, "flat"),
        (container, "parts.a.0"),
        (object_of_its_own, "packed.bits"),
        (unregistered, "layers.0"),
    ],
)
def test_numbers_outside_of_rows_are_named(put, names):
    found = analyze_torch(nn.Sequential(Hidden(put, torch.randn(8, 8)), nn.Linear(8, 2)), X)
    assert [layer.name for layer in found] == ["1"]
    assert found.unanalyzed == {"0": f"a Hidden {NOT_FOUND} {names}"}


def test_tensors_beside_the_weight_of_a_row_are_named():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(5), nn.LayerNorm(8), nn.Linear(8, 2))
    model[0].lora = nn.Parameter(torch.randn(8, 4))
    nn.utils.parametrizations.spectral_norm(model[3])
    assert analyze_torch(model, X).unanalyzed == {"0.lora": "a Linear holds it beside its weight"}


def test_a_dense_layer_may_keep_its_weight_in_a_buffer():
    module, plain = nn.Linear(8, 3), nn.Linear(8, 3)
    plain.load_state_dict(module.state_dict())
    weight = module.weight.detach()
    del module.weight
    module.register_buffer("weight", weight)
    same_rows(analyze_torch(module, X), analyze_torch(plain, X))


class Magnitude(nn.Module):
    def forward(self, x):
        return x.to(torch.complex64) if not x.is_complex() else x.abs()


def test_complex_kernels_and_inputs_are_named():
    inner = nn.Linear(8, 8, dtype=torch.complex64)
    found = analyze_torch(nn.Sequential(Magnitude(), inner, Magnitude(), nn.Linear(8, 2)), X)
    assert [layer.name for layer in found] == ["3"] and found.unanalyzed == {"1": "its weight is complex"}


class FourBits(nn.Linear):
    """A packed weight in place of the real one, as in bitsandbytes."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.weight = nn.Parameter(torch.zeros(32, 1, dtype=torch.uint8), requires_grad=False)

    def forward(self, x):
        return x.flip(-1) + self.bias


@pytest.mark.parametrize(
    ("first", "kernel", "reason"),
    [
        (
            FourBits,
            None,
            r"its weight of shape (32, 1) is not that of a product with its inputs of shape (12, 5, 8)",
        ),
        (
            nn.Linear,
            lambda w: (w[:2], w),
            "kernel= returned the shapes (2, 8) and (8, 8): expected equal ones",
        ),
        (
            nn.Linear,
            lambda w: w[:, :3],
            "its weight of shape (8, 3) is not that of a product with its inputs",
        ),
        (nn.Linear, lambda w: w[:5], "a Linear whose output is not its input times its weight"),
        (nn.Linear, lambda w: w[:0], "its weight of shape (0, 8) is empty"),
        (nn.Linear, lambda w: w.flatten(), "its weight has 1 axes"),
        (nn.Linear, lambda w: w * np.nan, "its weight is not finite"),
        (nn.Linear, lambda _: "sign", "kernel= returned (str): expected one tensor, or (quantized, latent)"),
    ],
)
def test_weights_of_another_shape_or_kind_are_named(first, kernel, reason):
    model = nn.Sequential(first(8, 8), nn.Linear(8, 2))
    given = kernel and (lambda module: kernel(module.weight) if module is model[0] else None)
    found = analyze_torch(model, X, kernel=given)
    assert [layer.name for layer in found] == ["1"]
    assert list(found.unanalyzed) == ["0"] and found.unanalyzed["0"].startswith(reason)


class Turned(nn.Module):
    """GPT-2's Conv1D: a dense layer whose weight is (inputs, outputs)."""

    def __init__(self, units, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, units))
        self.bias = nn.Parameter(torch.randn(units))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)


@pytest.mark.parametrize("units", [3, 8])
@pytest.mark.parametrize(
    "kernel", [None, lambda module: getattr(module, "weight", None)], ids=["found", "given"]
)
def test_a_transposed_dense_layer_has_the_rows_of_a_dense_one(units, kernel):
    torch.manual_seed(0)
    turned, plain = Turned(units, 8), nn.Linear(8, units)
    plain.load_state_dict({"weight": turned.weight.T, "bias": turned.bias})
    last = nn.Linear(units, 2)
    found = analyze_torch(nn.Sequential(turned, nn.ReLU(), last), X, kernel=kernel)
    same_rows(found, analyze_torch(nn.Sequential(plain, nn.ReLU(), last), X))
    assert found.unanalyzed == {}


FORMS = {
    "tuple": lambda y, bias: (y, None),
    "second": lambda y, bias: (y.sum(-1), y),
    "no bias": lambda y, bias: (y - bias, bias),
    "dict": lambda y, bias: {"y": [y]},
}


class Returns(nn.Module):
    """A dense layer, of PyTorch or of another class, that returns more than its result."""

    def __init__(self, kind, form):
        super().__init__()
        self.inner, self.form, self.last = kind(8, 6), FORMS[form], nn.Linear(6, 2)
        self.inner.register_forward_hook(lambda module, _, y: self.form(y, module.bias), prepend=True)

    def forward(self, x):
        y = self.inner(x)
        parts = y["y"] if isinstance(y, dict) else y
        return self.last(torch.relu(next(part for part in parts if part is not None and part.dim() == 3)))


class Signed(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, torch.sign(self.weight), self.bias)


@pytest.mark.parametrize("form", FORMS)
def test_the_result_may_be_within_the_output_of_a_module(form):
    def pair(module):
        return (torch.sign(module.weight), module.weight) if isinstance(module, Signed) else None

    for kind in (lambda d, units: Turned(units, d), nn.Linear, Signed):
        torch.manual_seed(0)
        model = Returns(kind, form)
        twin = nn.Sequential(model.inner, nn.ReLU(), model.last)
        found = analyze_torch(model, X, kernel=pair)
        model.inner._forward_hooks.clear()
        if form == "no bias":
            model.inner.bias.data.zero_()
        same_rows(found, analyze_torch(twin, X, kernel=pair))
        assert found.unanalyzed == {} and 0 < found[0].r_scores < 1


class Standardized(nn.Conv1d):
    def standard(self):
        w = self.weight
        return (w - w.mean((1, 2), keepdim=True)) / w.std((1, 2), keepdim=True)

    def forward(self, x):
        return self._conv_forward(x, self.standard(), self.bias)


def test_kernel_may_give_the_weight_that_a_module_multiplies_by():
    torch.manual_seed(0)
    conv, plain, rest = Standardized(5, 6, 3), nn.Conv1d(5, 6, 3), [nn.Flatten(), nn.Linear(36, 2)]
    plain.load_state_dict({"weight": conv.standard(), "bias": conv.bias})
    found = analyze_torch(
        nn.Sequential(conv, *rest),
        X,
        quantizer="ternary",
        kernel=lambda module: module.standard() if module is conv else None,
    )
    same_rows(found, analyze_torch(nn.Sequential(plain, *rest), X, quantizer="ternary"))


class Encoder(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.inner = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)

    def forward(self, x):
        x = x if self.inner.self_attn.batch_first else x.transpose(0, 1)
        y = self.inner(x)
        return (y if self.inner.self_attn.batch_first else y.transpose(0, 1)).mean(1)


@pytest.mark.parametrize("n", [1, 5, 12])
def test_the_axis_of_images_is_found(n):
    """With 5 images and 5 steps, nothing but a batch of another size tells the axes apart."""
    torch.manual_seed(0)
    models = [Encoder(False), Encoder(True)]
    models[0].load_state_dict(models[1].state_dict())
    found, expected = (analyze_torch(model, X[:n], batch_size=5) for model in models)
    same_rows(found, expected)
    assert len(found) == 6 and found.unanalyzed == {}


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(2, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(x + self.inner(torch.ones(12, 2))[:5])


def test_inputs_without_an_axis_of_images_are_named():
    found = analyze_torch(Positions(), X)
    assert [layer.name for layer in found] == ["last"]
    assert found.unanalyzed == {"inner": "none of the axes of its inputs is that of the images"}
