"""Layers that share one kernel, and kernels that are not real."""

import keras
import numpy as np
from keras import layers

from bnn.analysis import analyze

ROWS = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)


def network():
    """Two dense layers of one size, which can be given one kernel."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = layers.Dense(6, activation="relu", name="first")(inputs)
    hidden = layers.Dense(6, activation="relu", name="second")(hidden)
    return keras.Model(inputs, layers.Dense(3, name="head")(hidden))


def test_r_scores_of_layers_that_share_a_kernel_are_those_of_an_untied_twin():
    twin, tied = network(), network()
    twin.get_layer("second").kernel.assign(twin.get_layer("first").kernel)
    second = tied.get_layer("second")
    second._tracker.unlock()
    second._kernel = tied.get_layer("first")._kernel
    second._tracker.lock()
    expected, found = analyze(twin, ROWS), analyze(tied, ROWS)
    before = np.array(tied.get_layer("first").kernel)
    for name in ("first", "second", "head"):
        np.testing.assert_allclose(found[name].r_scores, expected[name].r_scores, rtol=1e-5)
    assert abs(found["first"].r_scores - found["second"].r_scores) > 1e-3
    np.testing.assert_array_equal(tied.get_layer("first").kernel, before)


class Rotating(layers.Layer):
    """Multiplies by a complex kernel and returns real parts."""

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1], 6), dtype="complex64", initializer="ones", name="kernel"
        )

    def call(self, inputs):
        return keras.ops.real(keras.ops.matmul(keras.ops.cast(inputs, "complex64"), self.kernel))


def test_a_complex_kernel_has_a_reason_and_no_row():
    model = keras.Sequential([keras.Input((6,)), Rotating(name="rotating"), layers.Dense(3)])
    report = analyze(model, ROWS)
    assert report.unanalyzed == {"rotating": "its weights are complex numbers"}
    assert len(report) == 1
