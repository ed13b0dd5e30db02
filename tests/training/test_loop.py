"""Training in this process: order, schedule, log, checkpoints, and continuing after interruptions and kills."""

import dataclasses
import functools
import itertools
import math
import shutil
import signal

import keras
import numpy as np
import pytest

from bnn import runs, training
from bnn.files import atomic, lock
from bnn.layers.optimizers import is_binary
from bnn.settings.config import TrainConfig
from bnn.training import Interrupted, Journal, StopRequests, one_hot
from tests import support
from tests.support import same_but_for_seconds, small_data

STEPS = 10  # per epoch: 200 images in batches of 20
OPTIONS = {"schedule": "cosine", "warmup": 1, "augment": "alternating-flips-and-crops"}
SMOOTHED = {"loss_mode": "softmax", "label_smoothing": 0.5}
BOP = {"optimizer": "bop", "bop_gamma": 0.1, "bop_threshold": 1e-3}

# A dense network, which TensorFlow traces faster; test_kills.py has networks with convolutions.
start = functools.partial(support.start, conv=())


@pytest.fixture(scope="module")
def data():
    return small_data()


class Killed(BaseException):
    """Replaces SIGKILL: no code catches it, and nothing is saved."""


def beginning(folder, data, **options):
    """(network, its values, folder of its run) before the first step; for the options see `small_settings`."""
    model, run = start(folder, data, **options)
    return model, [variable.numpy() for variable in state(model)], run.folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, data):
    return beginning(tmp_path_factory.mktemp("untrained") / "run", data)


def state(model):
    return [*model.variables, *model.optimizer.variables]


def begin_again(before, folder):
    """Return (network, Run) as at the start of a training, which TensorFlow does not trace a second time."""
    model, values, original = before
    for variable, value in zip(state(model), values, strict=True):
        variable.assign(value)
    return model, runs.open_run(shutil.copytree(original, folder))


@pytest.fixture
def begun(untrained, tmp_path):
    return begin_again(untrained, tmp_path / "run")


@pytest.fixture(scope="module")
def whole(untrained, tmp_path_factory, data):
    """An uninterrupted run, with the learning rate of every step and the weights after every epoch."""
    seen = {"rates": [], "weights": []}
    with pytest.MonkeyPatch.context() as patch:
        spy(
            patch,
            "on_train_batch_end",
            lambda j: seen["rates"].append(float(j.model.optimizer.learning_rate)),
        )
        spy(patch, "on_epoch_end", lambda j: seen["weights"].append(j.model.get_weights()))
        model, run = begin_again(untrained, tmp_path_factory.mktemp("whole") / "run")
        seen["weights"].append(model.get_weights())
        training.fit(model, run, data)
    return run, seen


def spy(patch, method, action):
    """Call `action(journal)` before a method of `Journal`."""
    original = getattr(Journal, method)

    def spied(self, *args, **kwargs):
        action(self)
        return original(self, *args, **kwargs)

    patch.setattr(Journal, method, spied)


def at_step(step, action):
    """An action for `spy` that runs once, after the given step of the optimizer."""

    def once(journal):
        if int(journal.model.optimizer.iterations) == step and step not in done:
            done.append(step)
            action()

    done = []
    return once


def go_on(run, data):
    """Continue a run, given only its directory."""
    run = runs.open_run(run.folder)
    training.fit(run.load_model("last", compiled=True), run, data)


def assert_same_run(run, other):
    assert same_but_for_seconds(run.log(), other.log())
    assert_same_weights(run, other)


def assert_same_weights(run, other):
    """Check that weights, optimizer and random generators are equal to the last bit."""
    best = [r.load_model("best").get_weights() for r in (run, other)]
    assert all(np.array_equal(a, b) for a, b in zip(*best, strict=True))
    last = [[v.numpy() for v in state(r.load_model("last", compiled=True))] for r in (run, other)]
    assert all(np.array_equal(a, b) for a, b in zip(*last, strict=True))
    assert {p.name for p in run.folder.glob("*")} == {p.name for p in other.folder.glob("*")}


# the files of a training


def test_learning_rate_is_exponential_and_constant_within_an_epoch(whole):
    run, seen = whole
    expected = [0.03 * (0.003 / 0.03) ** (epoch / 3) for epoch in range(3)]
    np.testing.assert_allclose(seen["rates"], np.repeat(expected, STEPS), rtol=1e-6)
    np.testing.assert_allclose([row["learning_rate"] for row in run.log()], expected, rtol=1e-12)


def test_warmup_and_cosine_set_the_rate_of_every_step(tmp_path, data, monkeypatch):
    rates = []
    model, run = start(tmp_path / "run", data, epochs=2, schedule="cosine", warmup=1)
    spy(monkeypatch, "on_train_batch_end", lambda j: rates.append(float(j.model.optimizer.learning_rate)))
    training.fit(model, run, data)
    steps = np.arange(1, STEPS + 1) / STEPS
    fall = 0.003 + (0.03 - 0.003) * (1 + np.cos(np.pi * steps)) / 2
    np.testing.assert_allclose(rates, [*(0.03 * steps), *fall], rtol=1e-5)
    np.testing.assert_allclose([row["learning_rate"] for row in run.log()], [0.03, 0.003], rtol=1e-12)


def test_the_log_has_one_row_per_epoch(whole):
    run, _ = whole
    header, *rows = (run.folder / "log.csv").read_text().splitlines()
    assert header == "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,flip_ratio,seconds"
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3"]
    assert all(row["seconds"] > 0 and 0 <= row["accuracy"] <= 1 for row in run.log())


def test_flip_ratio_counts_signs_that_changed_in_the_epoch(whole):
    run, seen = whole
    kernels = [[w for w in weights if w.ndim > 1] for weights in seen["weights"]]
    for before, after, row in zip(kernels[:-1], kernels[1:], run.log(), strict=True):
        changed = sum(np.sum((a >= 0) != (b >= 0)) for a, b in zip(before, after, strict=True))
        assert row["flip_ratio"] == changed / sum(k.size for k in after) > 0


def test_validation_is_squared_hinge_and_accuracy(whole, data):
    run, _ = whole
    scores = run.load_model("last").predict(data.validation.images, verbose=0)
    row = run.log()[-1]
    assert row["val_loss"] == pytest.approx(np.mean(squared_hinge(data.validation.labels, scores)), rel=1e-5)
    assert row["val_accuracy"] == pytest.approx(np.mean(scores.argmax(1) == data.validation.labels))


def test_softmax_loss_is_cross_entropy():
    model = keras.Sequential([keras.Input((10,)), keras.layers.Rescaling(1.0)])
    training.compile_model(model, TrainConfig(loss_mode="softmax"))
    scores = np.random.default_rng(0).standard_normal((7, 10)).astype(np.float32)
    labels = np.arange(7)
    direct = np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(7), labels])
    assert model.evaluate(scores, one_hot(labels), verbose=0)[0] == pytest.approx(direct, rel=1e-5)


def test_best_is_the_network_of_the_epoch_with_the_best_accuracy(whole):
    run, seen = whole
    ranks = [(row["val_accuracy"], -row["val_loss"]) for row in run.log()]
    best = run.load_model("best")
    expected = seen["weights"][1 + ranks.index(max(ranks))]
    assert all(np.array_equal(a, b) for a, b in zip(best.get_weights(), expected, strict=True))
    assert not best.compiled


def test_of_epochs_with_equal_accuracy_the_one_with_the_lowest_loss_is_the_best(begun, whole, data):
    """With one validation image most epochs have the same accuracy; the weights do not depend on the image."""
    model, run = begun
    losses, correct = ranks_of_images(whole, data.validation)
    equal = np.where(correct == correct.max(0), losses, np.inf)
    (told_apart,) = np.nonzero(
        equal.argmin(0) != (correct == correct.max(0)).argmax(0)
    )  # else the first would do
    image = int(told_apart[0])
    one = dataclasses.replace(data, validation=data.validation[image : image + 1])
    training.fit(model, run, one)
    most = [row for row in run.log() if row["val_accuracy"] == max(r["val_accuracy"] for r in run.log())]
    lowest = min(most, key=lambda row: row["val_loss"])
    assert lowest is not most[0] and run.best_epoch() == lowest
    scores = run.load_model("best").predict(one.validation.images, verbose=0)
    assert squared_hinge(one.validation.labels, scores)[0] == pytest.approx(lowest["val_loss"], rel=1e-5)


def ranks_of_images(whole, images):
    """(losses, correctness) of each image after each epoch, two (epochs, images) arrays."""
    run, seen = whole
    model = run.load_model("last")
    losses, correct = [], []
    for weights in seen["weights"][1:]:
        model.set_weights(weights)
        scores = model.predict(images.images, verbose=0)
        losses.append(squared_hinge(images.labels, scores))
        correct.append(scores.argmax(1) == images.labels)
    return np.array(losses), np.array(correct)


def squared_hinge(labels, scores):
    """The loss of each image."""
    return np.mean(np.maximum(1 - (2 * one_hot(labels) - 1) * scores, 0) ** 2, axis=1)


def test_last_contains_the_optimizer(whole):
    run, seen = whole
    last = run.load_model("last", compiled=True)
    assert int(last.optimizer.iterations) == 3 * STEPS
    assert all(np.array_equal(a, b) for a, b in zip(last.get_weights(), seen["weights"][-1], strict=True))


def test_ckpt_n_skips_checkpoints_that_are_not_the_best(tmp_path, data, monkeypatch):
    saved = []
    model, run = start(tmp_path / "run", data, epochs=5, ckpt_n=3)
    epoch = lambda: int(model.optimizer.iterations) // STEPS  # noqa: E731
    monkeypatch.setattr(runs.Run, "save_model", lambda self, _, name: saved.append((name, epoch())))
    training.fit(model, run, data)
    ranks = [(row["val_accuracy"], -row["val_loss"]) for row in run.log()]
    improved = [i + 1 for i, rank in enumerate(ranks) if all(rank > other for other in ranks[:i])]
    assert [e for name, e in saved if name == "best"] == improved
    assert [e for name, e in saved if name == "last"] == sorted({*improved, 3, 5})


def test_a_finished_run_is_not_trained_further(whole, data):
    run, _ = whole
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    go_on(run, data)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


# interruptions


def test_signals_and_kills_within_an_epoch_save_and_the_rest_follows_exactly(begun, data, whole, monkeypatch):
    """Interrupt twice in one epoch and once in the next; the log still holds values of whole epochs.

    Between the first two, two trainings are killed while they save an interruption.
    """
    model, run = begun
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for step, number in ((14, signal.SIGINT), (17, signal.SIGTERM), (29, signal.SIGINT)):
        interrupt(monkeypatch, step, number, lambda m=model: training.fit(m, run, data))
        assert [path.name for path in run.folder.glob("partial*")] == [f"partial-{step}.npz"]
        assert [row["epoch"] for row in run.log()] == list(range(1, step // STEPS + 1))
        if step == 14:
            kill_while_an_interruption_is_saved(monkeypatch, run, data)
        model = run.load_model("last", compiled=True)
        assert int(model.optimizer.iterations) == step
    go_on(run, data)
    remove_leftovers(run)
    assert_same_run(run, whole[0])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def kill_while_an_interruption_is_saved(monkeypatch, run, data):
    """Continue from step 14, interrupt at step 16, and kill before either file of it is renamed: step 14 is kept."""
    for name in ("partial-16.npz", "last.keras"):
        with monkeypatch.context() as patch:
            spy(patch, "on_train_batch_end", at_step(16, lambda: signal.raise_signal(signal.SIGINT)))
            kill_before(patch, name, 1, lambda: go_on(run, data))
        assert int(run.load_model("last", compiled=True).optimizer.iterations) == 14


def test_other_options_continue_exactly_too(tmp_path, data, monkeypatch):
    """A ternary network is interrupted in test_kills.py."""
    options = {"kind": "stochastic", "epochs": 2} | OPTIONS | SMOOTHED | BOP
    before = beginning(tmp_path / "untrained", data, **options)
    model, undisturbed = begin_again(before, tmp_path / "whole")
    fed = []
    batches = lambda *args: fed.append(training.Batches(*args)) or fed[-1]  # noqa: E731
    monkeypatch.setattr("bnn.training.loop.Batches", batches)
    kernels = [binary_kernels(model)]
    with monkeypatch.context() as patch:
        spy(patch, "on_epoch_end", lambda j: kernels.append(binary_kernels(j.model)))
        training.fit(model, undisturbed, data)
    model, run = begin_again(before, tmp_path / "run")
    interrupt(monkeypatch, 13, signal.SIGINT, lambda: training.fit(model, run, data))
    go_on(run, data)
    assert_same_run(run, undisturbed)
    # The labels of the training images alone are smoothed.
    assert {batches.targets.max() for batches in fed} == {np.float32(0.55)}
    scores = run.load_model("last").predict(data.validation.images, verbose=0)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)(one_hot(data.validation.labels), scores)
    assert run.log()[-1]["val_loss"] == pytest.approx(float(loss), rel=1e-5)
    # Bop leaves no latent weights.
    assert set(np.unique(kernels)) == {-1, 1}
    flips = [np.mean(before != after) for before, after in itertools.pairwise(kernels)]
    assert [row["flip_ratio"] for row in run.log()] == flips


def binary_kernels(model):
    return np.concatenate([np.ravel(w) for w in model.trainable_variables if is_binary(w)] or [[]])


@pytest.mark.parametrize("moment", ["last step", "end"])
def test_a_signal_at_the_end_of_an_epoch_saves_the_whole_epoch(begun, data, whole, monkeypatch, moment):
    method = {"last step": "on_train_batch_end", "end": "on_epoch_end"}[moment]
    model, run = begun
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        spy(patch, method, at_step(STEPS, lambda: signal.raise_signal(signal.SIGTERM)))
        training.fit(model, run, data)
    assert not list(run.folder.glob("partial*"))
    assert same_but_for_seconds(run.log(), whole[0].log()[:1])
    assert int(run.load_model("last", compiled=True).optimizer.iterations) == STEPS


def test_a_signal_in_the_last_step_of_all_leaves_a_complete_run(begun, data, monkeypatch):
    model, run = begun
    interrupt(monkeypatch, 3 * STEPS, signal.SIGINT, lambda: training.fit(model, run, data))
    assert len(run.log()) == 3
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    go_on(run, data)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_after_kills_before_writes_training_continues_exactly(begun, data, whole, monkeypatch):
    """Kill just before a file is renamed for the second time. test_start.py has a run without a checkpoint."""
    model, run = begun
    kill_before(monkeypatch, "log.csv", 2, lambda: training.fit(model, run, data))
    kill_before(
        monkeypatch, "last.keras", 1, lambda: go_on(run, data)
    )  # the first was written before the kill
    go_on(run, data)
    remove_leftovers(run)
    assert_same_run(run, whole[0])


def interrupt(patch, step, number, action):
    """Run a training and raise a signal after the given step."""
    with patch.context() as inner, pytest.raises(Interrupted):
        spy(inner, "on_train_batch_end", at_step(step, lambda: signal.raise_signal(number)))
        action()


def kill_before(patch, name, time, action):
    """Run an action that is killed just before a file is renamed for the given time."""
    written = []

    def replace(temporary, path, original=atomic.replace):
        written.append(path.name)
        if written.count(name) == time:
            raise Killed
        original(temporary, path)

    with patch.context() as inner, pytest.raises(Killed):
        inner.setattr(atomic, "replace", replace)
        action()


def remove_leftovers(run):
    """Remove the unfinished files of a kill: they are hidden, and the next write of the same file replaces them."""
    for path in run.folder.glob(".*"):
        if path.name != lock.NAME:
            path.unlink()


# failures


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(begun, data, monkeypatch):
    model, run = begun
    weights = model.get_weights()
    poison = lambda: model.layers[-1].offset.assign(np.full(10, np.nan, np.float32))  # noqa: E731
    spy(monkeypatch, "on_train_batch_end", at_step(STEPS + 2, poison))
    with pytest.raises(runs.RunError, match=rf"nan at step {STEPS + 3}, epoch 2, learning rate 0\.01"):
        training.fit(model, run, data)
    last = run.load_model("last", compiled=True)
    assert int(last.optimizer.iterations) == STEPS
    assert all(np.isfinite(w).all() for w in last.get_weights())
    assert len(last.get_weights()) == len(weights)
    assert math.isfinite(run.log()[-1]["loss"])


@pytest.mark.parametrize("signalled", [False, True])
def test_weights_that_are_not_finite_are_never_saved(begun, data, monkeypatch, signalled):
    """The sign of NaN is -1, so the loss of a binary network can remain finite."""
    model, run = begun
    layer = model.get_layer("dense_1")
    step = STEPS + 2 if signalled else 2 * STEPS

    def poison():
        layer.kernel.assign(np.full(layer.kernel.shape, np.nan, np.float32))
        if signalled:
            signal.raise_signal(signal.SIGINT)

    spy(monkeypatch, "on_train_batch_end", at_step(step, poison))
    message = (
        rf"finite weights in .*dense_1/kernel, received nan at step {step}, epoch 2, learning rate 0\.01"
    )
    with pytest.raises(runs.RunError, match=message):
        training.fit(model, run, data)
    last = run.load_model("last", compiled=True)
    assert int(last.optimizer.iterations) == STEPS
    assert len(run.log()) == 1


def test_a_validation_loss_that_is_not_finite_stops(begun, data, monkeypatch):
    model, run = begun
    poison = lambda: model.layers[-1].moving_mean.assign(np.full(10, np.inf, np.float32))  # noqa: E731
    spy(monkeypatch, "on_train_batch_end", at_step(2 * STEPS, poison))
    with pytest.raises(
        runs.RunError, match=rf"finite validation loss, received .* at step {2 * STEPS}, epoch 2"
    ):
        training.fit(model, run, data)
    assert [row["epoch"] for row in run.log()] == [1]
    assert int(run.load_model("last", compiled=True).optimizer.iterations) == STEPS


def test_a_damaged_record_of_an_interruption_is_refused(whole, tmp_path):
    run = runs.open_run(shutil.copytree(whole[0].folder, tmp_path / "copy"))
    (run.folder / f"partial-{3 * STEPS}.npz").write_bytes(b"PK\x03\x04 half")
    journal = Journal(run, STEPS, 3, 0, StopRequests())
    journal.set_model(run.load_model("last", compiled=True))
    with pytest.raises(
        runs.RunError, match=rf"partial-{3 * STEPS}\.npz: expected .*, received a damaged file"
    ):
        journal.on_train_begin()


def test_on_a_full_disk_the_checkpoint_before_is_kept(begun, data, monkeypatch):
    model, run = begun

    def full(self, path, *args, original=keras.Model.save, **kwargs):
        if int(model.optimizer.iterations) > STEPS:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        original(self, path, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(atomic.WriteError, match="No space left"):
        training.fit(model, run, data)
    assert int(run.load_model("last", compiled=True).optimizer.iterations) == STEPS
