"""The experiments with --quick: training, measuring, writing, and continuing after an interruption."""

import csv
import dataclasses
import importlib
import os
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from bnn import datasets, plots, runs, training
from bnn.analysis import analyze
from bnn.analysis.keras import ablation
from bnn.models import correct, in_float32, refit_batch_norm
from bnn.runs import RunError
from bnn.settings.config import ModelConfig, settings_for
from bnn.training import Journal
from experiments import (
    accumulation,
    binarynet,
    first_layer,
    fitting,
    full_precision,
    gain,
    gain_controls,
    gain_formula,
    gain_log,
    improved,
    learning_rate,
    levels,
    low_r,
    output_layer,
    permutation,
    recipe,
    runner,
    ternary,
)
from tests.support import ROOT

NAMES = sorted(path.stem for path in (ROOT / "experiments").glob("*.py") if "def main(" in path.read_text())
HELP = """
import contextlib, importlib, sys
for name in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        importlib.import_module(f"experiments.{name}").main(["--help"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def accumulated(folder):
    """(table, run directory) of the experiment on accumulation; other experiments use its network."""
    return quick(accumulation, folder), folder / "accumulation" / "binary"


def quick(module, folder, *arguments, finished=()):
    """Run the smoke test of an experiment; return its table, with numbers as floats.

    `finished` holds a run and the name that the experiment gives to a training with the same settings, which then has
    nothing left to do.
    """
    name = module.__name__.rpartition(".")[2]
    if finished:
        shutil.copytree(finished[0], folder / name / finished[1])
    line = ["--quick", "--runs", str(folder / name), "--results", str(folder), *map(str, arguments)]
    assert module.main(line) == 0
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with (folder / f"{name}.csv").open(newline="") as file:
        return [{key: number(value) for key, value in row.items()} for row in csv.DictReader(file)]


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


def test_learning_rate_and_clip(folder):
    rows = quick(learning_rate, folder)
    assert len(rows) == 2 * 4
    for clip in (0.1, 1.0):
        run = runs.open_run(folder / "learning_rate" / f"rate0.001-clip{clip:g}")
        assert (run.training.lr_start, run.training.lr_end, run.model.clip) == (1e-3, 1e-5, clip)
        model = run.load_model("last")
        for row in rows:
            if (row["clip"], row["learning_rate"]) == (clip, 1e-3):
                w = np.ravel(model.get_layer(row["layer"]).kernel)
                assert np.abs(w).max() <= clip
                assert row["latent_std"] == pytest.approx(w.std(), rel=1e-4)
                assert row["at_clip"] == pytest.approx(np.mean(np.abs(w) > 0.999 * clip), rel=1e-4)
    assert any(row["at_clip"] > 0.1 for row in rows)


def test_gain(folder, capsys):
    rows = quick(gain, folder)
    layers = ["conv_1", "conv_2", "dense_1", "dense_2"]
    assert [(row["network"], row["layer"]) for row in rows] == [
        (network, layer) for network in ("binary", "continuous") for layer in layers
    ]
    run = runs.open_run(folder / "gain" / "binary-seed0")
    log = gain_log.read(run.folder)
    assert [row["epoch"] for row in log[::4]] == [0, 1, 2]
    assert all(row["moved_gain"] != row["moved_gain"] for row in log[:4]), (
        "at the start, no kernel has changed"
    )
    for layer in run.load_model("last").layers:
        if layer.name in layers:  # the last rows of the log describe the saved network
            (logged,) = (row for row in log[-4:] if row["layer"] == layer.name)
            kernel = np.reshape(layer.kernel, (-1, layer.kernel.shape[-1]))
            cosine = np.abs(kernel).sum(axis=0) / np.linalg.norm(kernel, axis=0) / np.sqrt(len(kernel))
            assert logged["angle_mean_deg"] == pytest.approx(np.degrees(np.arccos(cosine)).mean(), abs=1e-3)
    assert "rank correlation of gain with accuracy lost, over 4 layers" in capsys.readouterr().out


def test_the_log_of_the_gain_begins_with_the_untrained_network_also_after_an_interruption(tmp_path):
    data, logs = datasets.load("mnist-5k"), {}
    data = dataclasses.replace(data, train=data.train[:500], validation=data.validation[:100])
    settings = runner.SMOKE | {"data_set": data, "epochs": 1, "debug": False, "deterministic": True}
    for name, stop in (("whole", False), ("stopped", True)):
        folder = tmp_path / name
        log = [gain_log.GainLog(folder, data.validation.images[:50])]
        if stop:
            with pytest.raises(training.Interrupted):
                training.train(folder, callbacks=[*log, StopAfterOneStep()], **settings)
            log = [gain_log.GainLog(folder, data.validation.images[:50])]
            training.resume(folder, data_set=data, callbacks=log)
        else:
            training.train(folder, callbacks=log, **settings)
        logs[name] = gain_log.read(folder)
    assert [row["epoch"] for row in logs["whole"][::4]] == [0, 1]
    np.testing.assert_equal(logs["stopped"], logs["whole"])


class StopAfterOneStep(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 1:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", ["verdict", "levels", "recurrent", "residual"])
def test_the_papers_widths_are_refused_where_they_mean_nothing(name, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(f"experiments.{name}").main(["--paper_network"])
    assert "unrecognized arguments: --paper_network" in capsys.readouterr().err


def test_slopes_of_energy_and_gain_equal_closed_forms():
    rng = np.random.default_rng(0)
    values = np.geomspace(1, 100, 40)
    random = rng.standard_normal((40, 4000))
    aligned = np.sqrt(values)[:, None] * random  # energy is proportional to the eigenvalue
    found = gain.slopes(gain.energy(np.diag(values), random, aligned))
    assert found["latent_slope"] == pytest.approx(1, abs=0.05)
    assert gain.gain(np.eye(40), aligned) == pytest.approx(1)
    expected = np.sum(values**2) / np.sum(values) * 40 / np.sum(values)
    assert gain.gain(np.diag(values), aligned) == pytest.approx(expected, rel=0.05)


def test_levels(folder):
    rows = quick(levels, folder)
    assert [(row["network"], row["levels"]) for row in rows] == [
        (network, k) for network in ("plain", "residual", "dense") for k in levels.QUICK
    ]
    for row in rows:
        assert max(row["gain_bits"], row["cost_bits"]) <= row["uniform_bits"] + 1e-6
        assert min(row[f"{choice}_divergence"] for choice in levels.CHOICES) >= 0
        chosen = [int(k) for k in str(row["gain_levels"]).split()]
        assert len(chosen) == {"plain": 8, "residual": 16, "dense": 5}[row["network"]] and min(chosen) >= 2


def test_gain_formula(folder):
    rows = quick(gain_formula, folder)
    assert {row["network"] for row in rows} == set(gain_formula.ARMS)
    for row in rows:
        assert row["ratio"] > 0 and row["gain_foretold"] > 0 and row["gain"] > 0
        expected = (1 + row["ratio"] * row["gain_change_early"]) / (1 + row["ratio"])
        assert row["gain_mixed"] == pytest.approx(expected, rel=1e-4)


def test_gain_controls(folder):
    rows = quick(gain_controls, folder)
    assert {row["network"] for row in rows} == set(gain_controls.ARMS)
    assert [row["layer"] for row in rows[:4]] == ["conv_1", "conv_2", "dense_1", "dense_2"]
    for arm in gain_controls.ARMS:  # of one hidden convolution and one seed
        (expected,) = [row["gain"] for row in rows if (row["network"], row["layer"]) == (arm, "conv_2")]
        assert gain_controls.hidden_gain(rows, arm) == pytest.approx(expected)


def test_weight_decay_without_gradients_leaves_one_part_in_e():
    weight, steps = keras.Variable(np.ones(3, "float32")), 400
    optimizer = gain_controls.optimizer(steps, decay=True)
    optimizer.build([weight])
    for _ in range(steps):
        optimizer.apply([np.zeros(3, "float32")])
    assert np.asarray(weight) == pytest.approx(np.exp(-1), rel=0.01)


def test_accumulation(accumulated):
    rows, _ = accumulated
    layers = ["conv_1", "conv_2", "dense_1", "dense_2"]
    table = {(row["replaced"], row["layer"]): row for row in rows}
    several = ("all", "but first", "but last", "hidden")
    assert list(table) == [(replaced, layer) for replaced in ("none", *layers, *several) for layer in layers]
    for i, replaced in enumerate(layers):
        for j, layer in enumerate(layers):
            r = table[replaced, layer]["r"]
            assert r == 1 if j < i else 0 < r < 1
    assert table["all", "conv_1"]["r"] == table["conv_1", "conv_1"]["r"]
    assert table["but first", "conv_1"]["r"] == 1
    assert table["hidden", "conv_2"]["r"] == table["conv_2", "conv_2"]["r"]
    assert table["but last", "dense_1"]["r"] == table["all", "dense_1"]["r"] != table["all", "dense_2"]["r"]
    assert all(row["r"] == 1 and row["sign_flips"] == 0 for row in rows if row["replaced"] == "none")


def test_permutation(folder, accumulated):
    rows = quick(permutation, folder, "--run", accumulated[1])
    assert [row["layer"] for row in rows] == ["conv_1", "conv_2", "dense_1", "dense_2"]
    for row in rows:
        assert row["across_images"] == pytest.approx(row["predicted"], abs=0.03)
    data, run = datasets.load("mnist-5k"), runs.open_run(accumulated[1])
    images = data.test.images[:50].astype(np.float32).reshape(50, -1) / 255
    kernel = np.asarray(run.load_model().get_layer("conv_1").kernel)
    binary = np.where(kernel < 0, -1, 1).astype(np.float32)
    shuffled = np.random.default_rng(1).permuted(images.ravel()).reshape(50, 28, 28, 1)
    products = (keras.ops.conv(shuffled, k, padding="same") for k in (kernel, binary))
    expected = np.corrcoef(*map(np.ravel, products))[0, 1]
    assert rows[0]["across_images"] == pytest.approx(expected, abs=0.02)


def test_low_r(folder, accumulated):
    rows = quick(low_r, folder, "--run", accumulated[1])
    r = {(row["layer"], row["change"], row["amount"]): row["r"] for row in rows}
    for layer in ("conv_1", "conv_2", "dense_1", "dense_2"):
        untouched = r[layer, "directions left out", 0]
        assert 0 < untouched < 1
        assert r[layer, "fraction of weights cut", 0] == pytest.approx(untouched)
        # Weights of one size are closer to their signs.
        assert r[layer, "fraction of weights cut", 0.5] > untouched


def test_r_rises_without_the_direction_in_which_two_kernels_differ():
    rng = np.random.default_rng(0)
    strong = np.eye(6)[0]
    patches = rng.normal(size=(300, 6)) + np.outer(rng.normal(0, 30, 300), strong)
    kernel = rng.normal(size=(6, 4))
    turned = kernel * np.array([-1, 1, 1, 1, 1, 1])[:, None]
    (whole, _), (without, cosine), *_ = low_r.without_directions(patches, kernel, turned)
    assert whole < -0.9
    assert without > 0.99
    assert cosine == pytest.approx(-1, abs=0.01)
    expected = np.corrcoef(np.ravel(patches @ kernel), np.ravel(patches @ turned))[0, 1]
    assert whole == pytest.approx(expected)


def test_latent_weights_cut_to_one_size_equal_their_signs():
    rng = np.random.default_rng(0)
    kernel = rng.choice([-1.0, 1.0], (8, 3)) * np.where(np.arange(24).reshape(8, 3) % 3, 1, 5)
    patches = rng.normal(size=(200, 8))
    *_, before, after = low_r.with_weights_cut(patches, np.sign(kernel), kernel)
    assert before < 0.95
    assert after == pytest.approx(1)


def test_output_layer(folder, accumulated):
    rows = quick(output_layer, folder, "--run", accumulated[1])
    assert not (folder / "output_layer").exists()  # nothing was trained
    assert [row["group"] for row in rows] == list(range(1, 9))
    sizes = [row["latent"] for row in rows]
    assert sizes == sorted(sizes)
    for name in ("agree", "agree_ridge_0.1", "pushed_out", "pushed_out_moments_held"):
        assert all(0 <= row[name] <= 1 for row in rows)
    data, run = datasets.load("mnist-5k"), runs.open_run(accumulated[1])
    model, train = run.load_model(), data.train[: output_layer.TRAINING_IMAGES]
    norm = model.layers[-1]
    products = keras.Model(model.inputs, norm.input).predict(train.images, verbose=0)
    norm.moving_mean.assign(products.mean(axis=0))
    norm.moving_variance.assign(products.var(axis=0))
    assert rows[0]["test_accuracy"] == pytest.approx(correct(model, data.test).mean(), abs=1e-6)
    loss = keras.losses.SquaredHinge()(np.eye(10)[train.labels], model.predict(train.images, verbose=0))
    assert rows[0]["train_loss"] == pytest.approx(float(loss), rel=1e-4)


def test_a_regression_finds_the_suppressor_that_covariance_misses():
    """The second input is the noise in the first, and almost uncorrelated with the class."""
    rng = np.random.default_rng(0)
    label, noise = rng.choice([-1.0, 1.0], 2000), rng.standard_normal(2000)
    inputs = np.stack([label + noise, noise + 0.05 * label], axis=1)
    found = output_layer.regression(output_layer.Seen(inputs, label[:, None]), 0.01)
    covariance = (inputs - inputs.mean(axis=0)).T @ label
    assert covariance[1] > 0 > found[1, 0] and found[0, 0] > 0
    centered = inputs - inputs.mean(axis=0)
    penalty = 0.01 * centered.var(axis=0).mean() * np.sqrt(2000)
    rows = np.concatenate([centered, np.sqrt(penalty * np.sqrt(2000)) * np.eye(2)])
    expected, *_ = np.linalg.lstsq(rows, np.append(label, [0, 0]), rcond=None)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)


def output_problem(n=30, d=6, classes=10):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    targets = np.where(np.arange(classes) == labels[:, None], 1.0, -1.0)
    images = output_layer.Seen(np.sign(rng.normal(size=(n, d))), targets)
    return images, rng.normal(size=(d, classes)), rng.normal(size=classes)


def test_gradients_equal_finite_differences_of_the_loss():
    images, weights, offset = output_problem()
    found, held = output_layer.gradients(images, weights, offset)
    products = images.inputs @ weights
    mean, scale = products.mean(axis=0), np.sqrt(products.var(axis=0) + 1e-3)

    def loss(moved):
        return output_layer.judged(images, images, moved, offset)[0]

    def loss_held(moved):
        scores = (images.inputs @ moved - mean) / scale + offset
        return np.square(np.maximum(0, 1 - images.targets * scores)).mean()

    for gradient, function in ((found, loss), (held, loss_held)):
        for place in ((0, 0), (3, 7), (5, 9)):
            step = np.zeros_like(weights)
            step[place] = 1e-5
            slope = (function(weights + step) - function(weights - step)) / 2e-5
            assert gradient[place] == pytest.approx(slope, rel=1e-4)


def test_only_the_signs_of_the_group_are_inverted():
    images, latent, offset = output_problem(d=40)
    groups = output_layer.by_size(latent)
    assert np.array_equal(np.bincount(groups[:, 0]), np.full(20, 2))
    rows = output_layer.measured(images, images, latent, offset)
    for group in (0, 19):
        largest = np.argsort(np.abs(latent), axis=0)[2 * group : 2 * group + 2]
        turned = np.sign(latent)
        np.put_along_axis(turned, largest, -np.take_along_axis(turned, largest, axis=0), axis=0)
        loss, accuracy = output_layer.judged(images, images, turned, offset)
        assert (rows[group]["train_loss_turned"], rows[group]["test_accuracy_turned"]) == (loss, accuracy)


def test_runs_that_cannot_replace_a_training_are_refused(folder, twins):
    for other in (folder / "nothing", folder / "full_precision" / "continuous"):
        with pytest.raises(RunError, match="expected"):
            low_r.main(["--run", str(other)])


@pytest.fixture(scope="module")
def first_layers(folder, accumulated):
    """(table, folder) of the experiment on the first layer."""
    return quick(first_layer, folder, finished=(accumulated[1], "quantized-seed0")), folder


def test_first_layer(first_layers):
    rows, folder = first_layers
    kinds = {row["first_layer"]: row for row in rows}
    assert set(kinds) == {"quantized", "real", "rotated"}
    assert (kinds["real"]["r_weights"], kinds["real"]["angle_mean_deg"]) == (1, 0)
    assert {row["d"] for row in kinds.values()} == {9}
    for kind in kinds:
        assert runs.open_run(folder / "first_layer" / f"{kind}-seed0").model.first_layer == kind


@pytest.fixture(scope="module")
def twins(folder, accumulated):
    """(table, dict of networks) of the experiment on full precision."""
    rows = quick(full_precision, folder, finished=(accumulated[1], "binary"))
    kinds = ("binary", "continuous")
    return rows, {k: runs.open_run(folder / "full_precision" / k).load_model("last") for k in kinds}


def test_full_precision(twins):
    rows, networks = twins
    layers = ["conv_1", "conv_2", "dense_1", "dense_2"]
    assert [(row["network"], row["layer"]) for row in rows] == [
        (network, layer) for network in ("binary", "continuous") for layer in layers
    ]
    for row in rows[4:]:
        w = np.reshape(networks["continuous"].get_layer(row["layer"]).kernel, (int(row["d"]), -1))
        cosines = np.abs(w).sum(axis=0) / np.sqrt(len(w) * np.square(w).sum(axis=0))
        assert row["angle_mean_deg"] == pytest.approx(np.degrees(np.arccos(cosines)).mean(), rel=1e-4)
        assert 0.3 < row["r_weights"] < 1


def test_a_binarized_copy_has_the_kernels_signs(twins):
    images = datasets.load("mnist-5k").train.images[:200]
    for kind, model in twins[1].items():
        copy, refitted = ablation.binarized(model), ablation.unbinarized(model)
        for network in (copy, refitted):
            refit_batch_norm(network, images)
        for name in ("conv_1", "dense_2"):
            latent = np.asarray(model.get_layer(name).kernel)
            np.testing.assert_array_equal(
                np.asarray(copy.get_layer(name).quantized_kernel()), np.where(latent >= 0, 1, -1)
            )
        assert np.array_equal(copy(images), refitted(images)) == (kind == "binary")


@pytest.fixture(scope="module")
def improvements(folder, accumulated):
    """(table, run directory with all changes) of the experiment on the later recipe."""
    rows = quick(improved, folder, finished=(accumulated[1], "paper-seed0"))
    return rows, folder / "improved" / "crops-seed0"


def test_improved(improvements):
    rows, folder = improvements
    assert [(row["change"], row["seed"]) for row in rows] == [("paper", 0), ("crops", 0)]
    last = runs.open_run(folder)
    data = datasets.load("mnist-5k")
    assert rows[1]["test_accuracy"] == pytest.approx(correct(last.load_model("last"), data.test).mean())
    assert (last.training.schedule, last.training.warmup, last.training.augment) == ("cosine", 1, "crops")
    assert last.model.first_layer == "real"


def test_each_change_is_added_to_those_before():
    compared = improved.together(improved.CHANGES)
    assert list(compared) == list(improved.CHANGES)
    assert compared["paper"] == {}
    assert compared["higher rate"] == {"schedule": "cosine", "warmup": 1, "lr_start": 5e-3}
    assert compared["flips, crops"] == compared["real first layer"] | {"augment": "flips-and-crops"}


def test_improvements_and_steps_are_differences_within_seeds():
    found = {"paper": (0.5, 0.6), "cosine": (0.6, 0.8), "higher rate": (0.7, 0.8)}
    rows = [
        {"change": name, "seed": seed, "test_accuracy": accuracies[seed]}
        for seed in (0, 1)
        for name, accuracies in found.items()
    ]
    paper, cosine, rate = improved.improvements(rows)
    assert (paper["improvement"], paper["improvement_std"], paper["step"]) == (0, 0, 0)
    assert (cosine["improvement"], cosine["improvement_std"]) == pytest.approx((15, np.sqrt(50)))
    assert (cosine["step"], cosine["step_std"]) == pytest.approx((15, np.sqrt(50)))
    assert (rate["n"], rate["test_accuracy"], rate["improvement"]) == pytest.approx((2, 0.75, 20))
    assert (rate["step"], rate["step_std"]) == pytest.approx((5, np.sqrt(50)))


def test_one_seed_has_no_spread():
    one, three = [0.5], [1.0, 2.0, 3.0]
    texts = [runner.with_spread(np.mean(found), runner.spread(found), 2) for found in (one, three)]
    assert texts == ["0.50", "2.00 +- 1.00"]


def test_recipe(folder, improvements):
    rows = quick(recipe, folder, finished=(improvements[1], "base-seed0"))
    assert [row["change"] for row in rows] == ["base", "bop, gamma 1e-3"]
    bop = runs.open_run(folder / "recipe" / "bop-gamma-1e-3-seed0")
    assert (bop.training.optimizer, bop.training.bop_gamma, bop.model.first_layer) == ("bop", 1e-3, "real")
    data, model = datasets.load("mnist-5k"), bop.load_model("last")
    assert rows[1]["validation_accuracy"] == pytest.approx(correct(model, data.validation).mean())
    # Without latent weights, quantization changes nothing.
    for layer in analyze(model, data.test.images[:50]):
        assert (layer.angle_mean_deg, layer.r_weights) == (0, pytest.approx(1))
        assert (layer.latent_std == pytest.approx(1, abs=0.1)) == (layer.name != "conv_1")
    refit_batch_norm(model, data.train.images[:200])
    assert rows[1]["test_refitted"] == pytest.approx(correct(model, data.test).mean())


def test_effects_are_differences_within_seeds():
    def rows(change, *accuracies):
        keys = ("validation_accuracy", "validation_refitted", "test_accuracy", "test_refitted")
        return [
            {"change": change, "seed": seed}
            | dict(zip(keys, (value, value + 0.01, value - 0.1, value), strict=True))
            for seed, value in enumerate(accuracies)
        ]

    smoothed = "softmax, smoothing 0.1"
    found = recipe.effects(rows("base", 0.5, 0.6) + rows("softmax", 0.52, 0.66) + rows(smoothed, 0.53, 0.67))
    assert [row["compared_with"] for row in found] == ["base", "softmax", "base"]
    assert {row["n"] for row in found} == {2}
    softmax, smoothing, refitted = found
    assert (softmax["test"], softmax["test_std"]) == pytest.approx((4, np.std([2, 6], ddof=1)))
    assert (smoothing["validation"], smoothing["validation_std"]) == pytest.approx((1, 0))
    assert (refitted["change"], refitted["test"]) == (recipe.REFITTED, pytest.approx(10))


def test_every_change_is_a_setting_and_digits_have_their_own_base():
    base = recipe.BASE | recipe.PHOTOGRAPHS
    made = [settings_for(base | change) for change in recipe.CHANGES.values()]
    assert all(made.count(one) == 1 for one in made)
    assert set(recipe.CHANGES) - set(recipe.compared(photographs=False)) == {
        "learning rate 2e-3",
        "learning rate 1e-2",
        "alternating flips",
        "bn_decay 0.999",
    }


def test_ternary(folder):
    rows = quick(ternary, folder)
    zeros = {(row["network"], row["layer"]): row["zeros"] for row in rows}
    assert all(zeros[network, "conv_1"] == 0 for network in ("paper", "absmean: zeros"))
    for layer, weights in {"conv_2": 144, "dense_1": 1568, "dense_2": 80}.items():
        assert zeros["absmean: zeros", layer] == pytest.approx(round(0.3101 * weights) / weights, rel=1e-5)
        assert zeros["paper", layer] < 0.2
    run = runs.open_run(folder / "ternary" / "absmean-zeros-seed0")
    assert (run.model.kernel_quantizer, run.model.bn_decay) == ("experiments>AbsmeanZeros", 0.99)
    test = datasets.load("mnist-5k").test
    assert rows[-1]["test_accuracy"] == pytest.approx(correct(run.load_model("last"), test).mean())


def test_binarynet(folder):
    rows = quick(binarynet, folder)
    assert [(row["network"], row["layer"]) for row in rows[::4]] == [("paper", "conv_1"), ("all", "conv_1")]
    run = runs.open_run(folder / "binarynet" / "all-seed0")
    assert (run.model.clip, run.training.clip_gradients) == ("glorot", None)
    test = datasets.load("mnist-5k").test
    assert rows[-1]["test_accuracy"] == pytest.approx(
        correct(in_float32(run.load_model("last")), test).mean()
    )


def test_effects_are_differences_within_a_seed():
    def row(network, seed, accuracy):
        return {"network": network, "seed": seed, "validation_accuracy": 0.0, "test_accuracy": accuracy}

    rows = [row("paper", 0, 0.5), row("all", 0, 0.6), row("paper", 1, 0.7), row("all", 1, 0.82)]
    (found,) = binarynet.effects(rows)
    assert (found["network"], found["n"]) == ("all", 2)
    assert (found["test"], found["test_std"]) == (pytest.approx(11), pytest.approx(np.sqrt(2)))


def test_all_of_binarynets_settings_are_those_of_its_preset_but_the_length_of_the_training():
    preset, paper = (
        settings_for({"data_set": "cifar-10"} | given) for given in ({"network": "binarynet"}, {})
    )
    changed = settings_for({"data_set": "cifar-10", "epochs": 500, "lr_end": 3e-7} | binarynet.CHANGES["all"])
    assert (
        [vars(part) for part in changed] == [vars(part) for part in preset] != [vars(part) for part in paper]
    )


def test_fitting(folder):
    rows = quick(fitting, folder)
    assert {(row["settings"], row["moment"]) for row in rows} >= {("paper", "end"), ("later recipe", "end")}
    run = runs.open_run(folder / "fitting" / "later-recipe-seed0")
    report = analyze(run.load_model("last"), datasets.load("mnist-5k").validation.images[:100])
    ends = [row for row in rows if (row["settings"], row["moment"]) == ("later recipe", "end")]
    assert [row["layer"] for row in ends] == [layer.name for layer in report]
    for row, layer in zip(ends, report, strict=True):
        assert row["r_weights"] == pytest.approx(layer.r_weights, abs=1e-4)
    assert fitting.output_layer(run)[-1][1] == pytest.approx(ends[-1]["r_weights"], abs=1e-5)


def test_a_moment_is_the_first_epoch_that_reaches_it():
    log = [{"epoch": i + 1, "accuracy": a} for i, a in enumerate((0.5, 0.86, 0.8, 0.9))]
    assert [fitting.reached(log, share) for share in (0.85, 0.9, 0.99)] == [2, 4, None]


def test_neighboring_ternary_networks_differ_in_one_thing():
    compared = ternary.networks()
    for rule in ternary.RULES:
        made = []
        for step in ternary.STEPS:
            config = ModelConfig(**compared[f"{rule}: {step}"])
            made.append([make() for make in config.makers()])
        (paper, _), (fixed, _), (own, _) = made
        assert {activation.threshold for _, activation in made} == {own.threshold}
        assert (paper.threshold, fixed.threshold) == (0.02, own.threshold)
        gaussian = np.random.default_rng(0).normal(size=(3, 3, 50, 60)).astype(np.float32)
        shares = [np.mean(np.asarray(quantizer(gaussian)) == 0) for quantizer in (fixed, own)]
        assert shares[0] == pytest.approx(shares[1], abs=0.01)
        # A share does not depend on the shape of the weights, a rule does.
        uneven = gaussian**3 * np.arange(1, 61, dtype=np.float32)
        assert np.mean(np.asarray(fixed(uneven)) == 0) == pytest.approx(shares[0], abs=0.01)
        assert np.mean(np.asarray(own(uneven)) == 0) > shares[1] + 0.1


def test_more_validation_images_are_taken_from_the_end_of_the_training_images():
    data = datasets.load("mnist-5k")
    more = runner.with_validation(data, len(data.validation) + 30)
    for key in ("images", "labels"):
        before, after = ([getattr(split, key) for split in (d.train, d.validation)] for d in (data, more))
        np.testing.assert_array_equal(np.concatenate(before), np.concatenate(after))
    assert (len(more.train), more.digest) == (len(data.train) - 30, data.digest)


# common code


def train_only(folder):
    """An experiment that trains one network and writes one row; its exit code."""
    line = ["--quick", "--runs", str(folder / "runs"), "--results", str(folder)]
    experiment = runner.begin("one", "Is it trained?", 2, line)

    def measure(experiment):
        return [{"epochs": len(experiment.trained("binary").log())}], lambda: plots.figure(1)[0]

    return runner.perform(experiment, measure)


def test_an_interrupted_experiment_continues(tmp_path, monkeypatch, capsys):
    epochs = []
    original = Journal.on_epoch_end

    def counted(journal, epoch, logs=None):
        epochs.append(epoch)
        if len(epochs) == 1:
            signal.raise_signal(signal.SIGINT)
        return original(journal, epoch, logs)

    monkeypatch.setattr(Journal, "on_epoch_end", counted)
    assert train_only(tmp_path) == 128 + signal.SIGINT
    assert "interrupted; repeat the command to continue" in capsys.readouterr().out
    assert not (tmp_path / "one.csv").exists()
    assert train_only(tmp_path) == 0
    assert epochs == [0, 1]
    assert (tmp_path / "one.csv").read_text().split() == ["epochs", "2"]


def test_the_table_is_there_if_the_figure_cannot_be_drawn(tmp_path):
    experiment = runner.begin("one", "Is it drawn?", 2, ["--quick", "--results", str(tmp_path)])

    def draw():
        raise ValueError("no figure")

    with pytest.raises(ValueError, match="no figure"):
        runner.perform(experiment, lambda _: ([{"r": 0.5}], draw))
    assert (tmp_path / "one.csv").read_text().split() == ["r", "0.5"]


def test_a_training_killed_before_its_last_checkpoint_continues(tmp_path, monkeypatch):
    steps = []
    original = runs.Run.save_model

    def killed(run, model, name):
        if name == "last":
            steps.append(int(model.optimizer.iterations))
            if steps.count(20) == 1 and steps[-1] == 20:
                raise KeyboardInterrupt
        return original(run, model, name)

    monkeypatch.setattr(runs.Run, "save_model", killed)
    assert train_only(tmp_path) == 128 + signal.SIGINT
    assert runs.open_run(tmp_path / "runs" / "binary").log()[-1]["epoch"] == 2
    assert train_only(tmp_path) == 0
    assert steps[-3:] == [10, 20, 20]


def test_finished_trainings_are_not_repeated_and_other_settings_are_refused(first_layers):
    _, folder = first_layers
    experiment = runner.Experiment("x", runner.SMOKE | {"seed": 0}, True, folder / "first_layer", folder, 20)
    before = (folder / "first_layer" / "real-seed0" / "last.keras").stat().st_mtime_ns
    run = experiment.trained("real-seed0", first_layer="real")
    assert run.checkpoint("last").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="expected a run with first_layer real, received one with quantized"):
        experiment.trained("quantized-seed0", first_layer="real")


def test_correct_means_that_the_class_has_the_highest_score(first_layers):
    model = runs.open_run(first_layers[1] / "first_layer" / "real-seed0").load_model("last")
    test = datasets.load("mnist-5k").test[:70]
    expected = model.predict(test.images, verbose=0).argmax(axis=1) == test.labels
    np.testing.assert_array_equal(correct(model, test, batch_size=30), expected)


def test_help_gives_the_question_and_loads_no_backend():
    """All help texts are printed in one process, in which Keras cannot be loaded."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, *NAMES],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "none such"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        question = importlib.import_module(f"experiments.{name}").__doc__.splitlines()[0]
        assert question.endswith("?") and question in " ".join(done.stdout.split()), name


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--data_set", "cifar-10"], {"conv": (32, 32, 64, 64, 128, 128), "fc": (256,), "epochs": 8}),
        (["--data_set", "cifar-10", "--paper_network", "--epochs", "3"], {"epochs": 3}),
        (["--data_set", "mnist-5k", "--seed", "4"], {"seed": 4, "epochs": 8}),
    ],
)
def test_flags_become_settings(arguments, settings):
    made = runner.begin("learning_rate", learning_rate.__doc__, 8, arguments)
    assert made.settings == {"data_set": arguments[1], "seed": 0} | settings
    assert made.runs == ROOT / "runs" / "experiments" / "learning_rate"
    assert made.results == ROOT / "results" / "experiments"


def test_networks_of_an_experiments_own_take_their_images_from_the_flags(tmp_path):
    images = {"training_images": 300, "validation": 40, "data_set": "MNIST"}
    given = ["--data_dir", str(tmp_path), "--training_images", "200"]
    for line, count in ((given, 200), (given[:2], 300)):
        made = runner.begin("one", "Is it small?", 2, line, own_networks=True, **images)
        assert made.settings == {"data_set": "mnist-5k", "epochs": 2, "seed": 0}  # MNIST is not downloaded
        whole = datasets.load("mnist-5k")
        assert len(whole.validation) > len(made.data.validation) == 40
        np.testing.assert_array_equal(made.data.train.images, whole.train.images[:count])
    (tmp_path / "MNIST").mkdir()
    made = runner.begin("one", "Is it small?", 2, given[:2], own_networks=True, **images)
    assert made.settings["data_set"] == "MNIST"
