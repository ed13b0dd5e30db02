"""Adam computes the same numbers as Keras's, Bop those of its paper, and saved trainings continue with both."""

import keras
import numpy as np
import pytest

from bnn.layers import QuantDense, Sign, Ternary, WeightClip
from bnn.layers.optimizers import Adam, Bop, binarize


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


def test_weight_decay_is_that_of_adamw_and_of_kernels_alone(tmp_path):
    """Against the update of Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2, also after saving."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), QuantDense(2, clip=np.inf)])
    model.compile(Adam(0.01, weight_decay=0.5, epsilon=1e-8), "mse")
    x, y = normal(10, 4), normal(10, 2, seed=1)
    kernel, bias, last = (w.astype(np.float64) for w in model.get_weights())
    moments = [np.zeros((2, *w.shape)) for w in (kernel, bias, last)]
    for step in range(1, 4):
        hidden = x @ kernel + bias
        slope = 2 * (hidden @ last - y) / y.size
        gradients = (x.T @ (slope @ last.T), (slope @ last.T).sum(axis=0), hidden.T @ slope)
        updates = []
        for (mean, square), gradient in zip(moments, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            corrected = mean / (1 - 0.9**step), square / (1 - 0.999**step)
            updates.append(0.01 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8))
        kernel = kernel - 0.01 * 0.5 * kernel - updates[0]
        bias = bias - updates[1]
        last = last - 0.01 * 0.5 * last - updates[2]
        model.train_on_batch(x, y)
        if step == 2:
            model.save(tmp_path / "model.keras")
            model = keras.saving.load_model(tmp_path / "model.keras")
    for value, reference in zip(model.get_weights(), (kernel, bias, last), strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-4, atol=2e-6)


def test_saved_models_find_adam_by_its_registered_name():
    """The module that defined it when the model was saved does not matter."""
    assert keras.saving.get_registered_name(Adam) == "bnn>Adam"
    saved = keras.saving.serialize_keras_object(Adam(0.01)) | {"module": "bnn.layers.fast_ops"}
    assert type(keras.saving.deserialize_keras_object(saved)) is Adam


def bop_steps(steps):
    """Gradients of a binary, a ternary and a real kernel, and the kernels before the first step and after each."""
    keras.utils.set_random_seed(0)
    quantizers = (Sign(), Ternary(0.1), None)
    layers = [QuantDense(6, q, name=f"layer_{i}") for i, q in enumerate(quantizers)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    optimizer = Bop(0.02, gamma=0.3, threshold=0.02, epsilon=1e-8, clipvalue=1.0)
    optimizer.build(model.trainable_variables)
    binarize(model.trainable_variables)
    kernels, gradients = [model.get_weights()], normal(steps, 3, 6, 6)
    for step, values in enumerate(gradients):
        optimizer.learning_rate = 0.02 / (1 + step / 8)
        optimizer.apply([*values])
        kernels.append(model.get_weights())
    return gradients, kernels


def test_bop_is_the_update_of_its_paper_and_other_kernels_take_adam():
    gradients, kernels = bop_steps(12)
    w, m = kernels[0][0], np.zeros((6, 6))
    assert set(np.unique(w)) == {-1, 1} and len(np.unique(kernels[0][1])) > 3
    for step, values in enumerate(gradients):
        gamma = 0.3 / (1 + step / 8)  # falls with the learning rate
        m = (1 - gamma) * m + gamma * np.clip(values[0], -1, 1)
        flips = (np.abs(m) > 0.02) & (np.sign(m) == w)
        w = np.where(flips, -w, w)
        np.testing.assert_array_equal(kernels[step + 1][0], w)
        assert 0 < flips.sum() < 36
    adam = Adam(0.02, epsilon=1e-8, clipvalue=1.0)
    others = [keras.Variable(kernel, constraint=WeightClip(1.0)) for kernel in kernels[0][1:]]
    adam.build(others)
    for step, values in enumerate(gradients):
        adam.learning_rate = 0.02 / (1 + step / 8)
        adam.apply([*values[1:]])
    for found, expected in zip(kernels[-1][1:], others, strict=True):
        np.testing.assert_array_equal(found, np.asarray(expected))


def test_a_weight_flips_only_above_the_threshold():
    """With gamma 1 the mean is the last gradient. The threshold itself is not above the threshold."""
    kernel = keras.Variable(np.float32([1, 1, 1, -1, -1, -1, 0.3, -0.3]))
    kernel.binary = True
    optimizer = Bop(0.1, gamma=1.0, threshold=0.5)
    optimizer.build([kernel])
    optimizer.apply([np.float32([0.5, 0.6, -0.6, -0.5, -0.6, 0.6, 0.6, 0])])
    np.testing.assert_array_equal(np.asarray(kernel), [1, -1, 1, -1, 1, -1, -1, -1])


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_both_update_variables_of_any_precision(dtype):
    """Real variables as Keras's Adam does, exactly; of a binary one, the sign of the last gradient counts (gamma 1)."""
    steps, kernels = 10 * normal(3, 2, 5), []
    for cls in (Bop, Adam, keras.optimizers.Adam):
        options = {"gamma": 1.0} if cls is Bop else {}
        binary, real = (keras.Variable(values, dtype=dtype) for values in normal(2, 5, seed=1))
        binary.binary = True
        optimizer = cls(0.01, **options)
        optimizer.build([binary, real])
        for gradients in steps:
            optimizer.apply([keras.ops.cast(gradient, dtype) for gradient in gradients])
        kernels.append([np.asarray(keras.ops.cast(v, "float64")) for v in (binary, real)])
        assert keras.backend.standardize_dtype(binary.dtype) == dtype
    bop, ours, theirs = kernels
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(bop[1], theirs[1])
    np.testing.assert_array_equal(bop[0], -np.sign(steps[-1][0]))
