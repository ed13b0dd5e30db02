"""Our Adam computes the same numbers as Keras's, and saved trainings continue with it."""

import keras
import numpy as np

from bnn.layers import WeightClip
from bnn.optimizers import Adam


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def fitted(optimizer):
    """A model after some steps of the optimizer, with gradients beyond the clip."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(3, kernel_constraint=WeightClip(0.5))
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(optimizer, "mse")
    model.fit(
        10 * normal(60, 4), 10 * normal(60, 3, seed=1), batch_size=10, epochs=2, shuffle=False, verbose=0
    )
    return model


def test_adam_equals_keras_adam():
    models = [fitted(cls(0.01, epsilon=1e-8, clipvalue=1.0)) for cls in (Adam, keras.optimizers.Adam)]
    ours, theirs = ([*m.get_weights(), *(np.asarray(v) for v in m.optimizer.variables)] for m in models)
    for value, reference in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-4, atol=1e-6)


def test_training_with_adam_continues_after_saving(tmp_path):
    model = fitted(Adam(0.01, clipvalue=1.0))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x, y = normal(10, 4), normal(10, 3)
    for m in (model, loaded):
        m.train_on_batch(x, y)
    assert type(loaded.optimizer) is Adam
    for value, reference in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, reference)


def test_saved_models_find_adam_by_its_registered_name():
    """The module that defined it when the model was saved does not matter."""
    assert keras.saving.get_registered_name(Adam) == "bnn>Adam"
    saved = keras.saving.serialize_keras_object(Adam(0.01)) | {"module": "bnn.layers.fast_ops"}
    assert type(keras.saving.deserialize_keras_object(saved)) is Adam
