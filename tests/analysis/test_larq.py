"""A layer of a network trained with Larq, read from a file: its arrays give the statistics of its products."""

from pathlib import Path

import numpy as np
import pytest

from bnn.analysis import report


@pytest.fixture(scope="module")
def layer():
    """The arrays that data/make_larq_layer.py saved."""
    with np.load(Path(__file__).parents[1] / "data" / "larq_layer.npz", allow_pickle=False) as file:
        return dict(file)


def test_our_signs_equal_those_of_larq(layer):
    found = report.from_arrays(layer["latent"], layer["inputs"], before=layer["before"])
    np.testing.assert_array_equal(found.kernels.quantized, layer["quantized"])
    np.testing.assert_array_equal(np.where(layer["before"] >= 0, 1, -1), layer["inputs"])
    np.testing.assert_allclose(layer["inputs"] @ found.kernels.quantized, layer["output"], atol=1e-4)


def test_the_statistics_are_those_of_the_products_of_larq(layer):
    row = report.from_arrays(layer["latent"], layer["inputs"], before=layer["before"]).statistics()
    real = layer["inputs"] @ layer["latent"]
    binary = layer["output"]

    def correlation(x, y):
        return np.corrcoef(x.ravel(), y.ravel())[0, 1]

    assert (row["d"], row["units"]) == layer["latent"].shape == (128, 64)
    assert row["r_weights"] == pytest.approx(correlation(binary, real), abs=1e-5)
    assert row["sign_flips"] == pytest.approx(np.mean(binary * real < 0), abs=1e-9)
    before = layer["before"] @ layer["quantized"]
    assert row["r_activations"] == pytest.approx(correlation(binary, before), abs=1e-5)
    cosines = np.sum(np.abs(layer["latent"]), axis=0) / np.sqrt(128 * np.sum(layer["latent"] ** 2, axis=0))
    assert row["angle_mean_deg"] == pytest.approx(np.degrees(np.arccos(cosines)).mean(), abs=1e-3)
    assert 0.8 < row["r_weights"] < 1
