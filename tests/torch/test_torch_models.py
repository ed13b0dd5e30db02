"""PyTorch models: statistics equal those of the same Keras model, products equal those of PyTorch; refusals."""

from collections import UserDict
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import layers

from bnn.analysis import ReportError, analyze, analyze_torch

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")
nn = torch.nn
DataLoader = torch.utils.data.DataLoader
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((40, 3, 8, 8)).astype(np.float32)
SEQUENCES = (RNG.standard_normal((12, 5, 4)) + 0.3).astype(np.float32)


def sign(x):
    return np.where(x >= 0, 1.0, -1.0)


def correlation(x, y):
    return np.corrcoef(np.ravel(x), np.ravel(y))[0, 1]


def numpy(tensor):
    return tensor.detach().numpy()


def same_rows(found, expected, apart=frozenset({"layer"}), tolerance=1e-5):
    assert len(found) == len(expected)
    for layer, other in zip(found, expected, strict=True):
        row, other = layer.statistics(), other.statistics()
        assert [key for key in row if row[key] is None] == [key for key in other if other[key] is None]
        for key in {key for key in other if other[key] is not None} - apart - {"sign_flips"}:
            assert row[key] == pytest.approx(other[key], abs=tolerance, rel=tolerance, nan_ok=True), key
        assert row["sign_flips"] == pytest.approx(other["sign_flips"], abs=1e-3, nan_ok=True)


def twins():
    """(PyTorch model, Keras model) with the same weights."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    other = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3),
            layers.BatchNormalization(epsilon=1e-5),
            layers.ReLU(),
            layers.Conv2D(8, 3, strides=2, groups=2),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    for place, into in ((0, 0), (3, 3)):
        weight = numpy(model[place].weight).transpose(2, 3, 1, 0)
        other.layers[into].set_weights([weight, numpy(model[place].bias)])
    other.layers[-1].set_weights([numpy(model[-1].weight).T, numpy(model[-1].bias)])
    return model, other


@pytest.mark.parametrize(
    "options", [{}, {"quantizer": "ternary", "activations": "sign"}], ids=["sign", "ternary"]
)
def test_rows_equal_those_of_keras(options):
    model, other = twins()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = analyze_torch(model, IMAGES, batch_size=16, **options)
    expected = analyze(other, IMAGES.transpose(0, 2, 3, 1), batch_size=16, **options)
    assert [layer.name for layer in found] == ["0", "3", "7"]
    same_rows(found, expected)
    assert all(0 < layer.r_scores < 1 for layer in found)
    assert found.about == expected.about and found.unanalyzed == {}
    assert all(module.training for module in model.modules()) and not model[0]._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


MODULES = {
    "linear over time": (lambda: nn.Linear(4, 3), (5, 4)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=2, dilation=2), (4, 9)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2), (4, 7, 8)),
    "conv2d, same": (lambda: nn.Conv2d(4, 4, 4, padding="same", groups=4), (4, 7, 8)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (4, 4, 5)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, dilation=2, groups=2), (4, 4, 5)),
    "transposed, more padding": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, padding=2), (4, 6)),
}


@pytest.mark.parametrize(("build", "shape"), MODULES.values(), ids=MODULES)
def test_products_equal_those_of_pytorch(build, shape):
    """The module itself, with the signs of its weight, is the reference."""
    torch.manual_seed(0)
    module = build()
    images = torch.randn(20, *shape)
    (row,) = analyze_torch(nn.Sequential(module), images, batch_size=8)
    bias = (
        numpy(module.bias).reshape(-1, *[1] * (len(shape) - 1))
        if len(shape) > 2 or "Conv" in repr(module)
        else numpy(module.bias)
    )
    real = numpy(module(images)) - bias
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(sign(numpy(module.weight))))
    binary = numpy(module(images)) - bias
    assert row.weights.count == real.size
    assert row.r_weights == pytest.approx(correlation(binary, real), abs=1e-5)
    assert row.slope == pytest.approx(np.polyfit(binary.ravel(), real.ravel(), 1)[0], rel=1e-4)
    a, w = row.grouped_patches.astype(np.float64), row.product.kernels.latent
    if row.weights.count // w[0].size <= 2000:
        gain = (
            np.einsum("gmd,dgu->mgu", a, w).var(axis=0) / (w**2).sum(axis=0) / a.var(axis=1).mean(-1)[:, None]
        )
        np.testing.assert_allclose(row.gains.gain, gain.ravel(), rtol=1e-3)
    assert row.r_scores == pytest.approx(correlation(binary * row.slope + bias, real + bias), abs=0.02)


# ---- modules that quantize their own weight ----


class SignSte(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class BinaryConv(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, SignSte.apply(self.weight) * 0.5, self.bias)


class Binarized(nn.Module):
    """A parametrization that quantizes a weight."""

    def forward(self, weight):
        return 0.5 * SignSte.apply(weight)


def own_kernel(module):
    if isinstance(module, BinaryConv):
        return 0.5 * SignSte.apply(module.weight), module.weight
    return None


def test_own_quantizers_are_given_by_a_function_or_a_parametrization():
    torch.manual_seed(0)
    model = nn.Sequential(
        BinaryConv(3, 6, 3, padding=1), nn.ReLU(), BinaryConv(6, 4, 3), nn.Flatten(), nn.Linear(144, 3)
    )
    found = analyze_torch(model, IMAGES, kernel=own_kernel)
    plain = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(144, 3)
    )
    plain.load_state_dict(model.state_dict())
    for place in (0, 2):
        torch.nn.utils.parametrize.register_parametrization(plain[place], "weight", Binarized())
    same_rows(found, analyze_torch(plain, IMAGES), apart={"layer"})
    w, latent = own_kernel(model[0])
    x = torch.from_numpy(IMAGES)
    products = [numpy(nn.functional.conv2d(x, k, padding=1)) for k in (w, latent)]
    assert found[0].r_weights == pytest.approx(correlation(*products), abs=1e-5)
    flat = numpy(latent).reshape(6, -1)
    cosines = np.abs(flat).sum(axis=1) / np.linalg.norm(flat, axis=1) / np.sqrt(flat.shape[1])
    assert found[0].angle_mean_deg == pytest.approx(np.degrees(np.arccos(cosines)).mean(), abs=1e-3)
    slope = np.polyfit(products[1].ravel(), products[0].ravel(), 1)[0]
    scores = model(x)
    rest = model[2:]
    other = rest(torch.relu(slope * torch.from_numpy(products[1]) + model[0].bias[:, None, None]))
    assert found[0].r_scores == pytest.approx(correlation(numpy(scores), numpy(other)), abs=1e-4)


class Own(nn.Module):
    """It binarizes a latent kernel that is not its `weight`."""

    def __init__(self, size, function):
        super().__init__()
        self.latent, self.function = nn.Parameter(torch.randn(size)), function

    def forward(self, x):
        return self.function(x, SignSte.apply(self.latent))


@pytest.mark.parametrize(
    ("size", "function"), [((6, 3, 3, 3), nn.functional.conv2d), ((6, 192), nn.functional.linear)]
)
def test_a_latent_kernel_may_have_any_name(size, function):
    torch.manual_seed(0)
    first = Own(size, function)
    images = IMAGES if len(size) == 4 else IMAGES.reshape(40, -1)
    x, latent = torch.from_numpy(images), first.latent
    outputs = first(x)
    model = nn.Sequential(first, nn.Flatten(), nn.Linear(outputs[0].numel(), 3))
    found = analyze_torch(
        model, images, kernel=lambda m: (SignSte.apply(m.latent), m.latent) if m is first else None
    )
    assert found.unanalyzed == {}
    assert found[0].r_weights == pytest.approx(
        correlation(numpy(outputs), numpy(function(x, latent))), abs=1e-5
    )
    assert 0.5 < found[0].r_scores < 1


def test_a_module_that_multiplies_by_something_else_is_named():
    model = nn.Sequential(BinaryConv(3, 6, 3), nn.Flatten(), nn.Linear(216, 3))
    found = analyze_torch(model, IMAGES)
    assert [layer.name for layer in found] == ["2"]
    assert found.unanalyzed["0"].startswith("a BinaryConv whose output is not its input times its weight")
    with pytest.raises(ReportError, match="not its input times the quantized kernel"):
        analyze_torch(
            model[:1],
            IMAGES,
            kernel=lambda module: (module.weight, module.weight) if hasattr(module, "weight") else None,
        )


# ---- attention and recurrent modules ----


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention(batch_first):
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first)

        def forward(self, x, mask):
            x = x if batch_first else x.transpose(0, 1)
            y = self.attention(x, x, x, key_padding_mask=mask)[0]
            return (y if batch_first else y.transpose(0, 1)).mean(1)

    model, removed = Model(), np.zeros((12, 5), bool)
    removed[:6, 3:] = True
    found = analyze_torch(model, [SEQUENCES, removed])
    assert [layer.name for layer in found] == [
        f"attention/{part}" for part in ("query", "key", "value", "output")
    ]
    w = numpy(model.attention.in_proj_weight).T
    b = numpy(model.attention.in_proj_bias)
    q, k, v = (part.reshape(12, 5, 2, 2) for part in np.split(SEQUENCES @ w + b, 3, axis=-1))
    logits = np.einsum("nthd,nshd->nhts", q, k) / np.sqrt(2)
    logits = np.where(removed[:, None, None], -np.inf, logits)
    scores = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    heads = np.einsum("nhts,nshd->nthd", scores, v).reshape(-1, 4)
    a = {
        "query": SEQUENCES.reshape(-1, 4),
        "key": SEQUENCES[~removed],
        "value": SEQUENCES[~removed],
        "output": heads,
    }
    for layer in found:
        inputs, latent = a[layer.name.split("/")[1]], layer.kernels.latent
        assert layer.weights.count == inputs.shape[0] * 4
        assert layer.r_weights == pytest.approx(correlation(inputs @ sign(latent), inputs @ latent), abs=1e-5)
        assert 0 < layer.r_scores <= 1


def test_the_modules_within_a_transformer_layer_are_analyzed():
    model = nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
    found = analyze_torch(model, SEQUENCES)
    parts = [f"0.self_attn/{part}" for part in ("query", "key", "value", "output")]
    assert [layer.name for layer in found] == [*parts, "0.linear1", "0.linear2"]
    assert found.unanalyzed == {}


class Last(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0][:, -1]


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_recurrent_modules_equal_those_of_keras(name):
    """The order of gates differs, which does not change means over units. Keras's GRU also resets after the product."""
    torch.manual_seed(0)
    model = Last(getattr(nn, name)(4, 3, batch_first=True))
    other = keras.Sequential([keras.Input((5, 4)), getattr(layers, name)(3)])
    order = [0, 1, 2, 3] if name == "LSTM" else [1, 0, 2]

    def reordered(weight):
        return np.concatenate([np.split(numpy(weight), len(order))[gate] for gate in order])

    inner = model.inner
    bias = [reordered(inner.bias_ih_l0), reordered(inner.bias_hh_l0)]
    kernels = [reordered(w).T for w in (inner.weight_ih_l0, inner.weight_hh_l0)]
    other.layers[0].set_weights([*kernels, sum(bias) if name == "LSTM" else np.stack(bias)])
    found, expected = analyze_torch(model, SEQUENCES), analyze(other, SEQUENCES)
    assert [layer.name for layer in found] == ["inner/weight_ih_l0", "inner/weight_hh_l0"]
    same_rows(found, expected, apart={"layer", "r_rotated"})
    for row, twin in zip(found, expected, strict=True):
        assert set(row.gates) == set(twin.gates)
        for gate in row.gates:
            assert row.gates[gate] == pytest.approx(twin.gates[gate], rel=1e-5)


def test_packed_sequences_have_no_padding():
    torch.manual_seed(0)
    inner, lengths = nn.LSTM(4, 3, batch_first=True, bidirectional=True), np.array([5, 2, 4, 1] * 3)

    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x, n):
            packed = nn.utils.rnn.pack_padded_sequence(x, n.cpu(), batch_first=True, enforce_sorted=False)
            return self.inner(packed)[1][0].transpose(0, 1).flatten(1)

    found = analyze_torch(Packed(), [SEQUENCES, lengths])
    x, h = [], []
    for row, length in zip(SEQUENCES, lengths, strict=True):
        part = row[:length]
        outputs = numpy(inner(torch.from_numpy(part)[None])[0])[0, :, 3:]
        x.append(part)
        h.append(np.concatenate([outputs[1:], np.zeros((1, 3), np.float32)]))
    for key, a in (("weight_ih_l0_reverse", x), ("weight_hh_l0_reverse", h)):
        layer, a = found[f"inner/{key}"], np.concatenate(a)
        w = layer.kernels.latent
        assert layer.weights.count == lengths.sum() * 12
        assert layer.r_weights == pytest.approx(correlation(a @ sign(w), a @ w), abs=1e-5)


# ---- what people bring ----


def linear(*parts):
    """Linear(4, 3) within a network, after functions that change it."""
    module = nn.Linear(4, 3)
    for part in parts:
        module = part(module)
    return nn.Sequential(module, nn.ReLU(), nn.Linear(3, 2))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
def test_a_weight_that_is_computed_has_no_scores(norm):
    model, plain = linear(norm), linear()
    with torch.no_grad():
        for module, other in ((model[0], plain[0]), (model[2], plain[2])):
            other.weight.copy_(module.weight)
            other.bias.copy_(module.bias)
    found = analyze_torch(model, SEQUENCES)
    expected = analyze_torch(plain, SEQUENCES)
    for key in ("r_weights", "angle_mean_deg", "gain"):
        assert [getattr(row, key) for row in found] == pytest.approx([getattr(row, key) for row in expected])
    assert found[0].r_scores is None and found[1].r_scores == pytest.approx(expected[1].r_scores)
    assert found.unanalyzed == {}


def test_a_mask_of_minus_infinity_is_no_weight():
    model = linear()
    model.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))
    same_rows(analyze_torch(model, SEQUENCES), analyze_torch(nn.Sequential(*model), SEQUENCES))


def test_parametrizations_of_other_modules_are_named():
    inner = nn.LSTM(4, 3, batch_first=True)
    nn.utils.parametrize.register_parametrization(inner, "weight_hh_l0", Binarized())
    found = analyze_torch(nn.Sequential(Last(inner), nn.Linear(3, 2)), SEQUENCES)
    assert [layer.name for layer in found] == ["1"]
    assert found.unanalyzed == {"0.inner": "a parametrization within a ParametrizedLSTM is not analyzed"}


@pytest.mark.filterwarnings("ignore")  # PyTorch's own deprecations
def test_modules_that_pytorch_has_quantized_are_named():
    model = torch.ao.quantization.quantize_dynamic(linear(), {"0"})
    found = analyze_torch(model, SEQUENCES)
    assert [layer.name for layer in found] == ["2"]
    assert found.unanalyzed == {"0": "PyTorch has quantized it: its real weights are gone"}


@dataclass
class Output:
    scores: torch.Tensor
    loss: None = None


@pytest.mark.parametrize(
    "form", [Output, lambda y: {"scores": y, "more": [None, 2 * y]}], ids=["class", "dict"]
)
def test_outputs_in_any_form_give_scores(form):
    class Model(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return form(self.inner(x))

    inner = linear()
    found, plain = (analyze_torch(model, SEQUENCES) for model in (Model(inner), inner))
    assert [layer.r_scores for layer in found] == pytest.approx([layer.r_scores for layer in plain])


class Returns(nn.Module):
    """A network with batch norm that returns its scores in some form."""

    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.recurrent, self.norm = nn.LSTM(4, 6, batch_first=True), nn.BatchNorm1d(6)
        self.head, self.form = nn.Linear(6, 3), form

    def forward(self, x):
        y, (h, _) = self.recurrent(x)
        return self.form(self.head(self.norm(y[:, -1])), h)


@pytest.mark.parametrize(
    "form",
    [
        lambda y, h: (y.mean(), y, None),
        lambda y, h: (y, h.repeat(2, 1, 1)),
        lambda y, h: UserDict(scores=y, loss=y.mean()[None]),
        lambda y, h: (y, torch.distributions.Categorical(logits=y)),
    ],
    ids=["loss", "state", "mapping", "distribution"],
)
@pytest.mark.parametrize("n", [2, 12])
def test_outputs_without_the_images_do_not_count(form, n):
    found, plain = (analyze_torch(Returns(f), SEQUENCES[:n]) for f in (form, lambda y, h: y))
    assert [layer.r_scores for layer in found] == pytest.approx([layer.r_scores for layer in plain])


def test_scores_do_not_depend_on_the_batch_size():
    inputs = np.concatenate([SEQUENCES] * 5) + RNG.standard_normal((60, 5, 4)).astype(np.float32)
    found = [analyze_torch(Returns(lambda y, h: y), inputs, batch_size=size) for size in (1, 2, 7, 50, 60)]
    values = np.array([[layer.r_scores for layer in report] for report in found])
    np.testing.assert_allclose(values, values[:1].repeat(5, 0), atol=1e-5)
    assert (values < 0.9999).all()


def test_the_reason_is_given_if_scores_are_not_defined():
    for form, n, reason in (
        (lambda y, h: y.mean(), 12, "no output of the network"),
        (lambda y, h: torch.distributions.Categorical(logits=y), 12, "no output of the network"),
        (lambda y, h: y, 1, "batch norm uses the moments of a batch"),
    ):
        found = analyze_torch(Returns(form), SEQUENCES[:n])
        assert np.isnan([layer.r_scores for layer in found]).all()
        assert found.undefined["r_scores"].startswith(reason)


def test_arguments_are_given_by_name_in_any_mapping():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.deep = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, wide, deep):
            return self.wide(wide) + self.deep(deep)

    torch.manual_seed(0)
    model, rows = Two(), SEQUENCES[:, 0]
    given = {"deep": 2 * rows, "wide": rows}
    expected = analyze_torch(model, [rows, 2 * rows])
    for arrays in (given, UserDict(given)):
        same_rows(analyze_torch(model, arrays), expected)
    for names in ({"wide": rows}, given | {"more": rows}):
        with pytest.raises(ReportError, match="the model accepts, received its error"):
            analyze_torch(model, UserDict(names))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, words, mask, kinds):
        assert kinds is None and isinstance(mask, torch.Tensor)
        return self.head(self.embedding(words) * mask[..., None]).mean(1)


def test_a_mapping_may_hold_lists_of_numbers_and_none():
    """As a tokenizer's BatchEncoding without `return_tensors`."""
    torch.manual_seed(0)
    model, words, mask = Words(), RNG.integers(9, size=(12, 5)), RNG.integers(2, size=(12, 5))
    given = UserDict(words=words.tolist(), mask=[list(row) for row in mask], kinds=None)
    found = analyze_torch(model, given)
    same_rows(found, analyze_torch(model, {"words": words, "mask": mask, "kinds": None}))
    assert found.about["images"] == 12
    given["words"] = [row[: 3 + i % 2] for i, row in enumerate(words.tolist())]
    with pytest.raises(
        ReportError, match="rows of one length in 'words', received several lengths; pad them"
    ):
        analyze_torch(model, given)


def test_what_was_compiled_is_analyzed_without_compiling():
    def fails(*_):
        raise AssertionError("compiled")

    inner = linear()
    model = nn.Sequential(torch.compile(inner[0], backend=fails), *inner[1:])
    found = analyze_torch(model, SEQUENCES)
    same_rows(found, analyze_torch(inner, SEQUENCES))
    assert [layer.name for layer in found] == ["0", "2"]
    inner.compile(backend=fails)
    same_rows(analyze_torch(inner, SEQUENCES), found)


def test_refused_modules_are_named():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(256, 3)
    )
    assert analyze_torch(model, IMAGES).unanalyzed == {"0": "its padding is circular, not zeros"}
    with pytest.raises(ReportError, match="hooks do not see between its 2 layers"):
        analyze_torch(Last(nn.LSTM(4, 3, 2)), SEQUENCES)
    model = nn.Sequential(nn.Flatten(), nn.Bilinear(2, 2, 2))
    with pytest.raises(ReportError, match="a Bilinear is none of the modules"):
        analyze_torch(model, IMAGES)


def exported(model):
    return torch.export.export(model, (torch.zeros(2, 5, 4),)).module()


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(3)), IMAGES, "0.weight: expected a weight, received a lazy one"),
        (lambda: torch.jit.script(nn.Sequential(nn.Linear(8, 3))), IMAGES, "received a scripted one"),
        (lambda: nn.Sequential(nn.Linear(7, 3)), IMAGES, "the model accepts, received its error: mat1"),
        (lambda: nn.Sequential(nn.Linear(8, 3)), IMAGES * np.nan, "expected finite values, received nan"),
        (lambda: nn.Sequential(nn.Linear(8, 3)), IMAGES[:0], "n >= 1"),
        (
            lambda: nn.Linear(8, 3, device="meta"),
            IMAGES,
            "weight: expected values, received a tensor on the meta",
        ),
        (lambda: nn.Linear(4, 3), [[[1.0] * 4] * 2, [[1.0] * 4]], "arrays or tensors, received a float"),
        (lambda: nn.Linear(4, 3), DataLoader(SEQUENCES), "arrays or tensors, received a DataLoader"),
        (
            lambda: nn.Linear(4, 3),
            [SEQUENCES, SEQUENCES[1:]],
            "expected 12 of each input, as of the first, received 11",
        ),
        (lambda: exported(nn.Linear(4, 3)), SEQUENCES, "can be set to evaluation, received a GraphModule"),
        (lambda: keras.Sequential([keras.Input((8,)), layers.Dense(3)]), IMAGES, "received a Sequential"),
    ],
)
def test_models_and_inputs_that_do_not_fit_are_refused(model, inputs, message):
    with pytest.raises(ReportError, match=message):
        analyze_torch(model(), inputs)


def test_half_precision_and_shared_modules():
    torch.manual_seed(0)
    shared = nn.Linear(8, 8)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    (row,) = analyze_torch(model, IMAGES)
    assert row.weights.count == 2 * IMAGES.size
    (half,) = analyze_torch(model.to(torch.bfloat16), IMAGES)
    assert half.r_weights == pytest.approx(row.r_weights, abs=0.01)
    embedding = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 2))
    found = analyze_torch(embedding, RNG.integers(0, 9, (10, 6)))
    assert (found[0].d, found[0].units) == (4, 9) and "angle only: 0" in found.text()
    assert 0 < found[0].r_scores < 1
