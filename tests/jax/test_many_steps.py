"""Training on JAX, many steps per call, compared with Keras's own `fit`."""

import math
import signal

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from bnn import models, runs, training
from bnn.layers import fast_ops
from bnn.settings.config import ConfigError
from bnn.training import Batches, Interrupted, RateSchedule, jax_epoch, one_hot
from tests.support import small_data, small_settings, start
from tests.training.callbacks import Halving
from tests.training.test_loop import BOP, STEPS, assert_same_weights, at_step, go_on, spy

CALL = 4  # steps per call: an epoch of 10 steps has calls of 4, 4 and 2
DATA = small_data()
OPTIONS = {
    "loss_mode": "softmax",
    "label_smoothing": 0.2,
    "schedule": "cosine",
    "warmup": 1,
    "augment": "alternating-flips-and-crops",
}


@pytest.fixture(autouse=True)
def several_steps_a_call(monkeypatch):
    monkeypatch.setattr(jax_epoch, "worthwhile", lambda: True)
    monkeypatch.setattr(jax_epoch, "STEPS_PER_CALL", CALL)


@pytest.mark.parametrize("first_step", [0, 3])
@pytest.mark.parametrize("augmentation", ["none", "crops"])
def test_chunks_are_the_batches_in_their_order(augmentation, first_step):
    batches = Batches(DATA.train, 20, 5, 2, first_step, augmentation)
    chunks = jax_epoch.Chunks(batches, CALL)
    assert len(chunks) == math.ceil((STEPS - first_step) / CALL)
    arrays = [places for (places,) in map(chunks.__getitem__, range(len(chunks)))]
    assert all(len(array) == CALL for places in arrays for array in places)
    flat = [np.concatenate(parts) for parts in zip(*arrays, strict=True)]
    for step in range(len(batches)):
        images, targets = batches[step]
        np.testing.assert_array_equal(DATA.train.images[tuple(part[step] for part in flat)], images)
        np.testing.assert_array_equal(one_hot(DATA.train.labels)[flat[0][step].ravel()], targets)
    assert all((part[len(batches) :] == -1).all() for part in flat)


@pytest.mark.parametrize(("steps", "most", "length"), [(10, 4, 4), (10, 3, 3), (200, 60, 50), (5, 250, 5)])
def test_chunks_divide_an_epoch_evenly(steps, most, length):
    assert jax_epoch.Chunks(Batches(DATA.train[:steps], 1, 0), most).steps == length


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(5, 8, 8, 16), (3, 5, 7, 4), (20, 12)])
@pytest.mark.parametrize("scaled", [False, True])
def test_lean_batch_norm_equals_the_portable_one(scaled, shape, dtype):
    rng = np.random.default_rng(0)
    x, upstream = (jnp.asarray(3 * rng.standard_normal(shape) + 2, dtype) for _ in range(2))
    weights = [jnp.asarray(rng.standard_normal(shape[-1]), "float32") for _ in range(1 + scaled)]
    results = []
    for form in (fast_ops.lean_batch_norm, fast_ops.portable_batch_norm):
        compiled = jax.jit(lambda x, offset, *scale, form=form: form(x, offset, 1e-3, *scale))
        outputs, pull_back = jax.vjp(compiled, x, *weights)
        results.append((*outputs, *pull_back((upstream, *map(jnp.zeros_like, outputs[1:])))))
    for i, (lean, portable) in enumerate(zip(*results, strict=True)):
        assert lean.dtype == portable.dtype
        tolerance = {"float32": 1e-6, "bfloat16": 2.0**-7}[str(lean.dtype)]
        # The gradient of the scale, the sixth result, sums hundreds of products, whose order differs.
        absolute = 1e-3 if i == 5 else 1e-5
        np.testing.assert_allclose(
            lean.astype("float32"), portable.astype("float32"), rtol=tolerance, atol=absolute
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(5, 8, 8, 16), (3, 5, 7, 4)])
def test_lean_max_pool_equals_the_portable_one_also_for_equal_values(shape, dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-2, 3, shape), dtype)
    results = []
    for form in (fast_ops.lean_max_pool2d, fast_ops.portable_max_pool2d):
        y, pull_back = jax.vjp(jax.jit(form), x)
        results.append((y, *pull_back(jnp.arange(1, y.size + 1, dtype=dtype).reshape(y.shape))))
    for lean, portable in zip(*results, strict=True):
        assert lean.dtype == portable.dtype
        np.testing.assert_array_equal(lean, portable)


def test_a_network_that_multiplies_signs_is_compiled():
    model = models.build(input_shape=(8, 8, 1), conv=(4, 4), max_pool=(0, 0), fc=())
    assert model.get_layer("conv_2").multiplies_signs
    training.compile_model(model, small_settings()[1])
    assert model.jit_compile


@pytest.mark.parametrize(("kind", "options"), [("ternary", OPTIONS), ("stochastic", BOP)])
def test_training_equals_plain_fit(tmp_path, kind, options):
    """Compare weights, averages of batch norm, optimizer, and the means of every epoch."""
    _, config = small_settings(kind, **options)
    schedule = RateSchedule(config, STEPS)
    results = []
    for installed in (False, True):
        model, _ = start(tmp_path / str(installed), DATA, kind, **options)
        batches = Batches(DATA.train, 20, 0, augmentation=config.augment, smoothing=config.label_smoothing)
        if installed:
            batches = jax_epoch.install(model, DATA.train, batches.targets, schedule.rate)(batches)
        history = model.fit(batches, epochs=3, callbacks=[schedule], shuffle=False, verbose=0).history
        results.append([*model.get_weights(), *map(np.asarray, model.optimizer.variables), *history.values()])
    # XLA sums in another order when it compiles a loop.
    for ours, plain in zip(*results, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-5)


def test_a_signal_takes_effect_after_the_call_and_the_rest_follows_exactly(tmp_path, monkeypatch):
    model, whole = start(tmp_path / "whole", DATA, log_geometry=1)
    training.fit(model, whole, DATA)
    model, run = start(tmp_path / "run", DATA, log_geometry=1)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        spy(patch, "on_train_batch_end", at_step(STEPS + CALL, lambda: signal.raise_signal(signal.SIGINT)))
        training.fit(model, run, DATA)
    assert (run.folder / f"partial-{STEPS + CALL}.npz").is_file()
    go_on(run, DATA)
    assert_same_weights(run, whole)
    for row, other in zip(run.log(), whole.log(), strict=True):
        # On some processors the loss of the interrupted epoch is summed in another order, in float32.
        assert row.pop("loss") == pytest.approx(other.pop("loss"), rel=2.0**-22)
        assert row | {"seconds": 0} == other | {"seconds": 0}
    assert (run.folder / "geometry.csv").read_text() == (whole.folder / "geometry.csv").read_text()


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
def test_a_callback_that_sets_the_rate_is_refused(tmp_path, hook):
    model, run = start(tmp_path / "run", DATA, conv=())
    with pytest.raises(ConfigError, match="received Halving, which sets it"):
        training.fit(model, run, DATA, callbacks=[Halving(hook)])


def test_a_callback_that_leaves_the_rate_alone_changes_nothing(tmp_path):
    runs_of = []
    for name, callbacks in (
        ("without", ()),
        ("with", [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)]),
    ):
        model, run = start(tmp_path / name, DATA, conv=())
        training.fit(model, run, DATA, callbacks=callbacks)
        runs_of.append(run)
    assert_same_weights(*runs_of)


def test_a_loss_that_is_not_finite_is_found_at_its_step(tmp_path, monkeypatch):
    """The second step of a call has an infinite learning rate, so the loss of the third is not finite."""
    rate = RateSchedule.rate
    monkeypatch.setattr(
        RateSchedule, "rate", lambda self, step: math.inf if step == STEPS + 1 else rate(self, step)
    )
    model, run = start(tmp_path / "run", DATA)
    with pytest.raises(runs.RunError, match=rf"at step {STEPS + 3}, epoch 2, learning rate 0\.01"):
        training.fit(model, run, DATA)
    assert int(run.load_model("last", compiled=True).optimizer.iterations) == STEPS
