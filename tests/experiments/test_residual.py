"""The experiment on shortcuts: a smoke test, whose costs are computed again, and the verdicts of made-up rows."""

import csv

import keras
import numpy as np
import pytest

from bnn import datasets, runs
from bnn.analysis import analyze
from bnn.analysis.keras import geometry_log
from bnn.models import accuracy, refit_batch_norm
from experiments import residual

LAYERS = [
    "conv_2",
    "conv_3",
]  # of the small network, whose second stage has a shortcut with a real convolution


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("residual")
    assert residual.main(["--quick", "--runs", str(path / "runs"), "--results", str(path)]) == 0
    return path


def run_of(folder, arm, kernels):
    return runs.open_run(
        folder / "runs" / f"{arm}-{kernels}-rate0.005-{residual.TRAINING_IMAGES}images-seed0"
    )


def test_every_hidden_convolution_of_every_network_has_a_row(folder):
    rows = table(folder / "residual.csv")
    networks = [(arm, kernels) for arm in residual.ARMS for kernels in residual.KERNELS]
    assert [(row["network"], row["kernels"], row["layer"]) for row in rows] == [
        (*network, layer) for network in networks for layer in LAYERS
    ]
    for row in rows:
        assert (row["accuracy lost"] == "") == (row["kernels"] == "binary")
    assert len(table(folder / "residual_rates.csv")) == len(networks)
    assert (folder / "residual.png").read_bytes().startswith(b"\x89PNG")
    plain = run_of(folder, "plain", "binary").load_model()
    assert not [layer for layer in plain.layers if isinstance(layer, keras.layers.Add)]


def test_the_history_has_means_over_the_hidden_convolutions(folder):
    rows = table(folder / "residual_history.csv")
    log = geometry_log.read(run_of(folder, "shortcuts", "binary").folder)
    for epoch in (0, 1, 2):
        gains = [row["gain"] for row in log if row["epoch"] == epoch and row["layer"] in LAYERS]
        (row,) = [
            row
            for row in rows
            if (row["network"], row["kernels"], row["epoch"]) == ("shortcuts", "binary", str(epoch))
        ]
        assert float(row["gain"]) == pytest.approx(np.mean(gains), rel=1e-5)
    assert all((row["r_within"] == "") == (row["kernels"] == "real") for row in rows)


def test_the_cost_is_the_accuracy_that_a_layer_of_signs_loses(folder):
    data, run = datasets.load("mnist-5k"), run_of(folder, "shortcuts", "real")
    found = {}
    for name in (None, "conv_3"):
        model = run.load_model("last")
        if name:
            slope = analyze(model, data.test.images[:50], quantizer="sign")[name].slope
            kernel = model.get_layer(name).kernel
            kernel.assign(np.where(np.asarray(kernel) < 0, -slope, slope))
        refit_batch_norm(model, data.train.images[:200])
        found[name] = accuracy(model, data.test)
    (row,) = [
        row
        for row in table(folder / "residual.csv")
        if (row["network"], row["kernels"], row["layer"]) == ("shortcuts", "real", "conv_3")
    ]
    assert float(row["accuracy lost"]) == pytest.approx(found[None] - found["conv_3"], abs=2e-3)


def made_up(gain, cost, angle, accuracy):
    """Rows of three seeds; each argument is (with shortcuts, without)."""
    rows = []
    for place, arm in enumerate(residual.ARMS):
        for kernels in residual.KERNELS:
            for seed in range(3):
                values = [value[min(place, 1)] for value in (gain, cost, angle, accuracy)]
                row = {
                    "network": arm,
                    "kernels": kernels,
                    "seed": seed,
                    "r_within": 0.9,
                    "r_two_numbers": 0.91,
                }
                row |= {"gain": values[0] + 0.01 * seed, "angle_mean_deg": values[2]}
                row |= {"accuracy lost": values[1], "test_accuracy": values[3] + 0.001 * seed}
                rows += [row | {"layer": layer} for layer in LAYERS]
    return rows


def test_verdicts(capsys):
    residual.tell(made_up(gain=(1.2, 4), cost=(0.01, 0.03), angle=(36, 37), accuracy=(0.7, 0.6)))
    first = [line for line in capsys.readouterr().out.splitlines() if "holds" in line or "refuted" in line]
    assert len(first) == 6 and all(": holds (" in line for line in first)
    assert "1.00 and 3.00 points" in first[4]
    residual.tell(made_up(gain=(4, 1.2), cost=(0.03, 0.01), angle=(33, 37), accuracy=(0.6, 0.6)))
    second = [line for line in capsys.readouterr().out.splitlines() if "holds" in line or "refuted" in line]
    assert [": refuted (" in line for line in second] == [True, True, True, False, True, True]
