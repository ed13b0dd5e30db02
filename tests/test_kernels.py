"""The fast operations agree with their portable definitions."""

import keras
import numpy as np
import pytest

from bnn import kernels

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="fast forms are TensorFlow's")

ULP = {"float32": 2.0**-23, "bfloat16": 2.0**-7}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


def normal(*shape, dtype="float32", seed=0):
    """Standard normal values in the dtype."""
    return tf.cast(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32), dtype)


def differentiate(function, upstream, *arguments):
    """(outputs, gradients of the first output's product with `upstream`), as float32 arrays, compiled."""

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            outputs = tf.nest.flatten(function(*arguments))
        return outputs, tape.gradient(outputs[0], arguments, upstream)

    return tf.nest.map_structure(lambda t: tf.cast(t, tf.float32).numpy(), run())


@DTYPES
@pytest.mark.parametrize("shape", [(50, 8, 8, 16), (3, 5, 7, 4), (1, 1, 2, 3)])
def test_fused_batch_norm_is_the_portable_one(shape, dtype):
    x = normal(*shape, dtype=dtype) * 3 + 2
    offset = normal(shape[-1], seed=1)
    upstream = normal(*shape, dtype=dtype, seed=2)
    results = [
        differentiate(lambda x, offset, f=f: f(x, offset, 1e-3), upstream, x, offset)
        for f in (kernels.fused_batch_norm, kernels.portable_batch_norm)
    ]
    (y, mean, variance), (dx, d_offset) = results[0]
    (y_ref, mean_ref, variance_ref), (dx_ref, d_offset_ref) = results[1]
    np.testing.assert_allclose(mean, mean_ref, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, variance_ref, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(y, y_ref, rtol=2 * ULP[dtype], atol=1e-4)
    np.testing.assert_allclose(dx, dx_ref, rtol=2 * ULP[dtype], atol=1e-4)
    np.testing.assert_allclose(d_offset, d_offset_ref, rtol=1e-4, atol=1e-3)
