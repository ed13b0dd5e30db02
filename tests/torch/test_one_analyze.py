"""`analyze` recognizes PyTorch's modules, with Keras loaded or absent."""

import json
import subprocess
import sys

import numpy as np
import pytest

from bnn.analysis import ReportError, analyze, analyze_torch
from tests.support import ROOT

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")
nn = torch.nn

WITHOUT_KERAS = """
import sys

ABSENT = "keras", "tensorflow", "jax", "numba"
sys.modules.update(dict.fromkeys(ABSENT))  # None: `import` raises, as where it is not installed
from pathlib import Path
import numpy as np
import torch
import bnn

folder = Path(sys.argv[1])
model = torch.load(folder / "model.pt", weights_only=False)
report = bnn.analyze(model, np.load(folder / "images.npy"), activations="sign")
assert "conv" in report.text(wide=True)
report.save(folder)
bnn.plots.save(bnn.plots.angles(report), folder / "angles")
inputs, kernel = np.random.default_rng(0).standard_normal((2, 8, 8))
assert bnn.analysis.from_arrays(kernel, inputs).units == 8
print([name for name in ABSENT if sys.modules[name]])
"""


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(4, 8, 3, stride=2, padding=(1, 0), groups=2, dilation=(1, 2)))
    model.add_module("norm", nn.BatchNorm2d(8))
    model.add_module("depthwise", nn.Conv2d(8, 16, 2, groups=8))
    model.add_module("turned", nn.ConvTranspose2d(16, 6, 3, stride=2, output_padding=1))
    model.add_module("flat", nn.Flatten())
    model.add_module("dense", nn.Linear(192, 5))
    return model


@pytest.fixture
def images():
    return np.random.default_rng(1).standard_normal((12, 4, 7, 8)).astype(np.float32)


def test_pytorch_needs_no_keras(model, images, tmp_path):
    torch.save(model, tmp_path / "model.pt")
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", WITHOUT_KERAS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert (tmp_path / "angles.png").stat().st_size > 1000
    saved = json.loads((tmp_path / "metrics.json").read_text())["layers"]
    for row, layer in zip(saved, analyze(model, images, activations="sign"), strict=True):
        assert row["layer"] == layer.name and row["units"] == layer.units
        for key in ("r_weights", "gain", "r_scores", "r_activations", "r_rotated"):
            assert row[key] == pytest.approx(getattr(layer, key), abs=1e-5)


def test_products_are_those_of_the_modules(model, images):
    """One unit's dot products with the latent kernel have the moments of the module's output without its bias."""
    report = analyze(model, images, score_images=0)
    assert [layer.name for layer in report] == ["conv", "depthwise", "turned", "dense"]
    outputs, hooks = {}, []
    for name in ("conv", "depthwise", "turned", "dense"):
        module = model.get_submodule(name)
        hooks.append(
            module.register_forward_hook(lambda m, _, out, name=name: outputs.update({name: (m, out)}))
        )
    with torch.no_grad():
        model.eval()(torch.tensor(images))
    for layer in report:
        module, out = outputs[layer.name]
        bias = module.bias.detach().reshape(-1, *[1] * (out.dim() - 2))
        products = (out - bias).double().numpy()
        assert layer.weights.count == products.size
        assert layer.weights.std[1] == pytest.approx(products.std(), rel=1e-5)
        assert layer.weights.mean[1] == pytest.approx(products.mean(), abs=1e-5)


def test_both_names_and_a_file_of_images_give_one_report(model, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    reports = [
        analyze(model, images),
        analyze_torch(model, inputs=torch.tensor(images)),
        analyze(model, tmp_path / "images.npy"),
    ]
    assert reports[0].rows() == reports[1].rows() == reports[2].rows()
    assert reports[0].about == {"quantizer": None, "activations": None, "images": 12}


def test_a_quantizer_that_no_kernel_takes_is_refused():
    model, inputs = nn.Sequential(nn.Linear(8, 3)), np.ones((4, 8), np.float32)

    def kernel(module):
        return (module.weight.sign(), module.weight) if isinstance(module, nn.Linear) else None

    with pytest.raises(
        ReportError, match="quantizer='ternary': expected kernels without a quantizer of their own"
    ):
        analyze(model, inputs, quantizer="ternary", kernel=kernel)


def test_the_parts_of_the_residual_are_those_of_unfolded_inputs():
    """`unfold` gives the patches of a convolution in PyTorch's order, channel by channel."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1))
    images = np.random.default_rng(2).standard_normal((10, 3, 6, 7)).astype(np.float32)
    images += np.cumsum(images, axis=-1)
    (layer,) = analyze(model, images, score_images=0)
    a = (
        nn.functional.unfold(torch.tensor(images), 3, padding=1)
        .movedim(1, 2)
        .reshape(-1, 27)
        .double()
        .numpy()
    )
    w = model[0].weight.detach().double().numpy().reshape(5, 27)
    for unit, w_c in enumerate(w):
        w_b = np.where(w_c >= 0, 1.0, -1.0)
        r = np.corrcoef(a @ w_b, a @ w_c)[0, 1]
        e = w_b - w_b @ w_c / (w_c @ w_c) * w_c
        channels = np.repeat(e.reshape(3, 9).mean(axis=1), 9)
        assert layer.gains.angle_inputs[unit] == pytest.approx(np.degrees(np.arccos(r)), abs=0.01)
        for place, part in enumerate((np.full(27, e.mean()), channels - e.mean(), e - channels)):
            gain = (a @ part).var() / (part @ part * a.var(axis=0).mean())
            assert layer.residual_gains.share[place, unit] == pytest.approx(part @ part / (e @ e), rel=1e-4)
            assert layer.residual_gains.gain[place, unit] == pytest.approx(gain, rel=1e-3)


def test_levels_are_fitted_to_half_of_the_images(model, images):
    images = np.cumsum(
        np.repeat(images, 4, axis=0) + np.random.default_rng(5).standard_normal((48, 4, 7, 8)), -1
    )
    images = images.astype(np.float32)
    report = analyze(model, images, quantizer="fitted", seed=1)
    assert [layer.name for layer in report] == ["conv", "depthwise", "turned", "dense"]
    assert report.about["images"] == report.about["fitted_images"] == 24
    other = np.sort(np.random.default_rng([1, 1]).permutation(48)[24:])
    plain = analyze(model, images[other], score_images=0)
    for fitted, signs in zip(report, plain, strict=True):
        assert all(len(np.unique(np.abs(unit))) == 1 for unit in fitted.kernels.quantized.T)
        assert fitted.gains.gain == pytest.approx(signs.gains.gain, rel=1e-5)  # of the same images
    assert report["conv"].r_within > plain["conv"].r_within
