"""The experiment on recurrent kernels: stepping, replaced kernels, r by time step, and a smoke test."""

import csv

import keras
import numpy as np
import pytest

from bnn.layers import QuantGRU, QuantLSTM
from experiments import recurrent

LAYERS = {"lstm": QuantLSTM, "gru": QuantGRU}
SIGNS = ("sign", "sign", "sign")
KINDS = {"binary": (SIGNS, {"scaled": True}), "real": ((None, None, None), {})}
UNITS = 6
each_cell = pytest.mark.parametrize("cell", LAYERS)


def network(cell, kind, units=UNITS):
    """A network that reads 8 rows of 5 pixels, with biases that are not 0."""
    keras.utils.set_random_seed(0)
    quantizers, options = KINDS[kind]
    inputs = keras.Input((8, 5))
    layer = LAYERS[cell](units, *quantizers, **options, name="layer")
    model = keras.Model(inputs, keras.layers.Dense(3, name="scores")(layer(inputs)))
    layer.cell.bias.assign(np.random.default_rng(1).normal(0, 0.3, layer.cell.bias.shape))
    return model


def rows_of_pixels(n=40):
    return np.random.default_rng(2).normal(size=(n, 8, 5)).astype(np.float32)


@each_cell
@pytest.mark.parametrize("kind", KINDS)
def test_states_and_products_of_every_step_are_those_of_the_layer(cell, kind):
    model, x = network(cell, kind), rows_of_pixels()
    layer = recurrent.recurrent(model)
    states, products = recurrent.stepped(layer.cell, x)
    outputs = LAYERS[cell].from_config(layer.get_config() | {"return_sequences": True})
    outputs.build(x.shape)
    outputs.set_weights(layer.get_weights())
    np.testing.assert_allclose(states[:, 1:], outputs(x)[:, :-1], atol=1e-6)
    assert not states[:, 0].any()
    kernel = np.asarray(layer.cell.recurrent_kernel)
    if kind == "real":
        expected = states @ kernel
    else:
        signs = [np.where(values < 0, -1, 1) for values in (states, kernel)]
        expected = signs[0] @ signs[1] / np.sqrt(UNITS)
    np.testing.assert_allclose(products, expected, atol=1e-5)


@each_cell
def test_replaced_kernels_of_one_size_change_nothing(cell):
    """Signs, times the factor that fits them, are then the kernel itself."""
    model, x = network(cell, "real"), rows_of_pixels()
    layer = recurrent.recurrent(model)
    for kernel in (layer.cell.kernel, layer.cell.recurrent_kernel):
        kernel.assign(0.2 * np.sign(kernel))
    copy = recurrent.replaced(model, x)
    np.testing.assert_allclose(copy(x), model(x), atol=1e-5)
    for row in recurrent.along_time(layer.cell, recurrent.recurrent(copy).cell, x):
        assert row["r_forced"] == pytest.approx(1, abs=1e-6) and row["r_free"] == pytest.approx(1, abs=1e-6)


@each_cell
@pytest.mark.parametrize("kind", KINDS)
def test_replaced_products_are_fitted_to_those_of_the_states_of_the_trained_network(cell, kind):
    model, x = network(cell, kind), rows_of_pixels()
    copy = recurrent.replaced(model, x)
    old, new = (recurrent.recurrent(m).cell for m in (model, copy))
    assert old.kernel_quantizer is None if kind == "real" else old.kernel_quantizer is not None
    states, products = recurrent.stepped(old, x)
    latent = np.asarray(old.recurrent_kernel)
    other = np.sign(latent) if kind == "real" else latent
    multiplied = states if kind == "real" else np.where(states < 0, -1, 1)
    scale = 1 if kind == "real" else 1 / np.sqrt(UNITS)
    forced = np.asarray(new.of_state(states, new.recurrent_kernel))
    for unit in range(0, latent.shape[1], 5):
        before = (multiplied @ other[:, unit] * scale).ravel()
        slope, _ = np.polyfit(before, products[..., unit].ravel(), 1)
        np.testing.assert_allclose(forced[..., unit].ravel(), slope * before, atol=1e-4)
    (last,) = [row for row in recurrent.along_time(old, new, x) if row["step"] == 8]
    r = [np.corrcoef(forced[:, 7, u], products[:, 7, u])[0, 1] for u in range(latent.shape[1])]
    assert last["r_forced"] == pytest.approx(np.nanmean(r), abs=1e-5)
    assert last["r_free"] < 0.9999
    biases = np.asarray(new.bias) - np.asarray(old.bias)
    shifts = np.mean(products - forced, axis=(0, 1))
    assert cell == "lstm" or biases[1] == pytest.approx(shifts, abs=1e-4)


def test_steps_at_which_nothing_varies_are_left_out():
    """The state of all sequences is the same until the first row that differs."""
    model, x = network("gru", "binary"), rows_of_pixels()
    x[:, :3] = 0
    copy = recurrent.replaced(model, x)
    cells = [recurrent.recurrent(m).cell for m in (model, copy)]
    assert min(row["step"] for row in recurrent.along_time(*cells, x)) > 4


def test_correlation_of_the_state_is_that_of_its_signs():
    model, x = network("lstm", "binary"), rows_of_pixels()
    cell = recurrent.recurrent(model).cell
    states, _ = recurrent.stepped(cell, x)
    signs, states = (values.reshape(-1, UNITS) for values in (np.where(states < 0, -1, 1), states))
    kernel = np.where(np.asarray(cell.recurrent_kernel) < 0, -1, 1)
    r = [np.corrcoef(signs @ column, states @ column)[0, 1] for column in kernel.T]
    assert recurrent.correlation_of_state(cell, x) == pytest.approx(np.mean(r), abs=1e-6)
    assert recurrent.correlation_of_state(recurrent.recurrent(network("lstm", "real")).cell, x) is None


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_smoke(tmp_path, capsys):
    line = ["--quick", "--runs", str(tmp_path / "runs"), "--results", str(tmp_path)]
    assert recurrent.main(line) == 0
    networks = [(cell, arm) for cell in recurrent.CELLS for arm in recurrent.ARMS]
    rows = table(tmp_path / "recurrent.csv")
    kernels = ("kernel", "recurrent_kernel")
    assert [(row["cell"], row["network"], row["kernel"]) for row in rows] == [
        (*of, kernel) for of in networks for kernel in kernels
    ]
    for row in rows:
        assert 0 < float(row["angle_mean_deg"]) < 60 and float(row["gain"]) > 0
        assert (row["r_state"] == "") == (row["network"] in ("real", recurrent.STATE))
    history = table(tmp_path / "recurrent_history.csv")
    assert [row["epoch"] for row in history[::2]] == ["0", "1", "2"] * len(networks)
    assert all((row["r_within"] == "") == (row["network"] == "real") for row in history)
    steps = table(tmp_path / "recurrent_steps.csv")
    assert {(row["cell"], row["network"]) for row in steps} == set(networks)
    assert {row["step"] for row in steps} <= {str(step) for step in range(2, 29)}
    assert len(table(tmp_path / "recurrent_rates.csv")) == len(networks)
    assert "errors accumulate little: " in capsys.readouterr().out
