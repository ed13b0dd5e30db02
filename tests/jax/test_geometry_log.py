"""The geometry log on JAX: what a log costs after the first one."""

import jax.monitoring
import keras
import numpy as np
import pytest

from bnn import models, training
from bnn.analysis import GeometryLogger, report
from bnn.analysis.keras import geometry_log, kernels
from tests.support import small_data, start

COMPILATION = "/jax/core/compile/backend_compile_duration"
IMAGES = 60  # more than a batch of the log


@pytest.fixture
def compilations():
    """A list of the compilations so far."""
    found = []

    def listen(event, duration, **_):
        if event == COMPILATION:
            found.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def convolutional():
    keras.utils.set_random_seed(0)
    return models.build(input_shape=(16, 16, 1), conv=(16, 16), max_pool=(0, 1), fc=(12,))


def images():
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 16, 16, 1)).astype(np.uint8)


def test_later_logs_of_a_training_compile_nothing(tmp_path, monkeypatch, compilations):
    log, counts = GeometryLogger._log, []

    def counted(logger, *args):
        before = len(compilations)
        log(logger, *args)
        counts.append(len(compilations) - before)

    monkeypatch.setattr(GeometryLogger, "_log", counted)
    data = small_data()
    model, run = start(tmp_path / "run", data, epochs=3, log_geometry=1)
    training.fit(model, run, data)
    assert counts[1:] == [0, 0, 0]
    assert compilations  # those of the training


def test_neither_inputs_nor_products_are_copied_to_the_host(monkeypatch):
    model, sizes = convolutional(), []
    convert = keras.ops.convert_to_numpy

    def counted(tensor):
        array = convert(tensor)
        sizes.append(array.size)
        return array

    monkeypatch.setattr(keras.ops, "convert_to_numpy", counted)
    assert len(geometry_log.measure(model, images())) == 4
    latent = [product.kernels.latent for product in kernels.find(model)]
    moments = max(geometry_log.BATCH * 3 * kernel[0].size for kernel in latent)
    assert max(sizes) <= max(moments, *(kernel.size for kernel in latent)) < geometry_log.BATCH * 16 * 16 * 16


def test_the_values_are_those_of_the_report_and_of_the_current_weights():
    model = convolutional()
    for _ in range(2):
        for ours, layer in zip(
            geometry_log.measure(model, images()),
            report.analyze(model, images(), score_images=0),
            strict=True,
        ):
            theirs = layer.statistics()
            assert ours["zeros"] == theirs["zeros"]
            for name in ("angle_mean_deg", "r_weights", "r_within"):
                assert ours[name] == pytest.approx(theirs[name], abs=1e-6)
            assert ours["gain"] == pytest.approx(theirs["gain"], rel=1e-6)
        for variable in model.trainable_variables:
            variable.assign(keras.random.normal(variable.shape))
