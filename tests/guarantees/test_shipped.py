"""The networks in results/ give the accuracy and the statistics of their model cards."""

import gzip
import json
import math

import numpy as np
import pytest

from bnn import datasets, geometry, runs
from bnn.analysis import analyze
from bnn.models import accuracy, in_float32
from tests.support import ROOT, call

SHARED = ROOT.parent / "shared" / "data"
SHIPPED = sorted(path.parent for path in (ROOT / "results").glob("*/*/best.keras"))


def test_the_networks_are_compact():
    sizes = [(folder / "best.keras").stat().st_size / 1e6 for folder in SHIPPED]
    assert max(sizes) <= 30 and sum(sizes) <= 60


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda folder: folder.parent.name)
def shipped(request):
    """(Run, its metrics, its network)."""
    run = runs.open_run(request.param)
    return run, json.loads((run.folder / "metrics.json").read_text()), run.load_model("best")


def test_the_kernels_agree_with_the_card(shipped):
    _, metrics, model = shipped
    model = in_float32(model)  # bfloat16 would round the kernel of a real layer
    for row in metrics["layers"]:
        layer = model.get_layer(row["layer"])
        latent, quantized = (np.asarray(k).reshape(row["d"], row["units"]) for k in kernels(layer))
        angles = np.degrees(geometry.angle(quantized, latent, axis=0))
        found = {
            "angle_mean_deg": angles.mean(),
            "angle_std_deg": angles.std(),
            "latent_std": latent.std(dtype=np.float64),
            "zeros": np.mean(quantized == 0),
        }
        assert found == pytest.approx({key: row[key] for key in found})
    assert [row["layer"] for row in metrics["layers"]] == [
        x.name for x in model.layers if hasattr(x, "quantized_kernel")
    ]


def kernels(layer):
    return layer.kernel, layer.quantized_kernel()


def test_the_accuracy_agrees_with_the_card(shipped):
    run, metrics, model = shipped
    split = first_test_images(run, 1000)
    # Rounding differs between processors, so images with nearly equal scores may change their class.
    assert accuracy(model, split) == pytest.approx(metrics["first_1000_accuracy"], abs=2 / len(split))


@pytest.mark.slow
def test_every_statistic_of_the_card(shipped):
    """Measured as published: in the arithmetic of the training."""
    run, metrics, model = shipped
    if (data := downloaded(run)) is None:
        pytest.skip(f"its {run.training.data_set} is not in data/")
    found = analyze(model, data.test.images[: metrics["images"]])
    for row, expected in zip(found.rows(), metrics["layers"], strict=True):
        # The published value is over the first 100 test images; today's is over 100 random ones.
        assert row.pop("r_scores") == pytest.approx(expected["r_scores"], abs=0.05)
        assert row.pop("layer") == expected["layer"]
        known = {key: value for key, value in row.items() if not math.isnan(value)}
        assert known.keys() == {key for key in row if expected[key] is not None}
        assert known == pytest.approx({key: expected[key] for key in known}, rel=1e-3, abs=1e-3)


@pytest.mark.slow
def test_the_program_finds_the_accuracy_in_float32_of_the_card(shipped, tmp_path):
    run, metrics, _ = shipped
    if downloaded(run) is None:
        pytest.skip(f"its {run.training.data_set} is not in data/")
    process = call("analyze.py", run.folder, "--output", tmp_path)
    assert process.returncode == 0, process.stderr
    assert run.arithmetic in process.stdout
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["test_accuracy"] == pytest.approx(metrics["float32_accuracy"], abs=2e-4)


def downloaded(run):
    """The DataSet of the run; None if data/ does not have it or has another copy."""
    try:
        data = datasets.load(run.training.data_set)
    except datasets.DataError:
        return None
    return data if data.digest == run.data["digest"] else None


def first_test_images(run, n):
    """The first n test images of the run, from data/; MNIST also from a folder beside the checkout; else a skip."""
    data = downloaded(run)
    if data is not None:
        return data.test[:n]
    if run.training.data_set != "MNIST" or not SHARED.is_dir():
        pytest.skip(f"no official {run.training.data_set} here")
    return shared_mnist(n)


def shared_mnist(n):
    images, labels = (
        np.frombuffer(
            gzip.decompress((SHARED / "mnist" / f"t10k-{name}-ubyte.gz").read_bytes()),
            np.uint8,
            offset=offset,
        )
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return datasets.Split(images.reshape(-1, 28, 28, 1)[:n], labels[:n])
