"""The fast operations give the results of their portable definitions."""

import keras
import numpy as np
import pytest

from bnn import backend
from bnn.layers import Sign, Ternary, fast_ops

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the fast forms need TensorFlow"
)

ULP = {"float32": 2.0**-23, "bfloat16": 2.0**-7}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


def normal(*shape, dtype="float32", seed=0):
    """Standard normal values of the given dtype."""
    return tf.cast(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32), dtype)


def differentiate(function, upstream, *arguments):
    """Return (outputs, gradients of sum(outputs[0] * upstream)) as float32 arrays; the function is compiled."""

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            outputs = tf.nest.flatten(function(*arguments))
        return outputs, tape.gradient(outputs[0], arguments, upstream)

    return tf.nest.map_structure(lambda t: tf.cast(t, tf.float32).numpy(), run())


@DTYPES
@pytest.mark.parametrize("shape", [(50, 8, 8, 16), (3, 5, 7, 4), (1, 1, 2, 3)])
@pytest.mark.parametrize("scaled", [False, True])
def test_fused_batch_norm_equals_the_portable_one(scaled, shape, dtype):
    x = normal(*shape, dtype=dtype) * 3 + 2
    offset, scale = normal(shape[-1], seed=1), normal(shape[-1], seed=3)
    upstream = normal(*shape, dtype=dtype, seed=2)
    weights = (offset, scale) if scaled else (offset,)
    results = [
        differentiate(lambda x, offset, *scale, f=f: f(x, offset, 1e-3, *scale), upstream, x, *weights)
        for f in (fast_ops.fused_batch_norm, fast_ops.portable_batch_norm)
    ]
    (y, mean, variance), (dx, *d_weights) = results[0]
    (y_ref, mean_ref, variance_ref), (dx_ref, *d_weights_ref) = results[1]
    np.testing.assert_allclose(mean, mean_ref, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, variance_ref, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(y, y_ref, rtol=2 * ULP[dtype], atol=1e-4)
    np.testing.assert_allclose(dx, dx_ref, rtol=2 * ULP[dtype], atol=1e-4)
    np.testing.assert_allclose(d_weights, d_weights_ref, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param(
            "bfloat16",
            marks=pytest.mark.skipif(
                backend.resolve_precision("auto") != "bfloat16",
                reason="this processor sums bfloat16 numbers in bfloat16, in any order",
            ),
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_tap_convolution_equals_the_portable_one(size, dtype):
    x = tf.sign(normal(4, 6, 5, 8, dtype=dtype))
    kernel = tf.sign(normal(size, size, 8, 3, dtype=dtype, seed=1))
    upstream = normal(4, 6, 5, 3, dtype=dtype, seed=2)
    (y,), gradients = differentiate(fast_ops.tap_conv2d, upstream, x, kernel)
    (y_ref,), gradients_ref = differentiate(fast_ops.portable_conv2d, upstream, x, kernel)
    np.testing.assert_array_equal(y, y_ref)
    for gradient, reference in zip(gradients, gradients_ref, strict=True):
        np.testing.assert_allclose(gradient, reference, rtol=2 * ULP[dtype], atol=1e-4)


def test_convolution_of_small_bfloat16_maps_uses_taps(monkeypatch):
    used = []
    for name in ("tap_conv2d", "portable_conv2d"):
        monkeypatch.setattr(fast_ops, name, lambda x, kernel, name=name: used.append(name))
    for shape, dtype in (((1, 8, 8, 4), "bfloat16"), ((1, 8, 8, 4), "float32"), ((1, 16, 16, 4), "bfloat16")):
        fast_ops.conv2d(normal(*shape, dtype=dtype), normal(3, 3, 4, 4, dtype=dtype))
    gpu = bool(tf.config.list_physical_devices("GPU"))
    assert used == ["portable_conv2d" if gpu else "tap_conv2d", "portable_conv2d", "portable_conv2d"]


@pytest.mark.parametrize(("size", "units", "positions"), [(3, 128, (5, 4)), (1, 64, (1, 1)), (2, 70, (3, 2))])
def test_bits_give_the_portable_sums_and_gradients(size, units, positions):
    pytest.importorskip("numba")
    x = fast_ops.quantize(Sign(), normal(2, *positions, 128), "float32")
    kernel = fast_ops.quantize(Sign(), normal(size, size, 128, units, seed=1), "float32")
    upstream = normal(2, *positions, units, seed=2)
    found, expected = (
        differentiate(f, upstream, x, kernel) for f in (fast_ops.sign_conv2d, fast_ops.portable_conv2d)
    )
    tf.nest.map_structure(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    ("channels", "dtype", "numba", "on_bits"),
    [
        (128, "float32", True, True),
        (64, "float32", True, False),
        (128, "bfloat16", True, False),
        (128, "float32", False, False),
    ],
)
def test_signs_are_multiplied_on_bits_where_that_is_faster(channels, dtype, numba, on_bits, monkeypatch):
    monkeypatch.setattr(fast_ops, "bits_conv2d", lambda x, kernel: "bits")
    monkeypatch.setattr(fast_ops, "conv2d", lambda x, kernel: "tensorflow")
    monkeypatch.setattr(fast_ops, "find_spec", lambda name: numba or None)
    found = fast_ops.sign_conv2d(normal(1, 2, 2, channels, dtype=dtype), None)
    gpu = bool(tf.config.list_physical_devices("GPU"))
    assert found == ("bits" if on_bits and not gpu else "tensorflow")


@pytest.mark.parametrize(
    ("dtype", "to"), [("float32", "float32"), ("float32", "bfloat16"), ("bfloat16", "bfloat16")]
)
def test_direct_sign_equals_the_portable_one(dtype, to):
    edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1.0078125,
        -1.0078125,
        1e-30,
        -1e-30,
        np.nextafter(np.float32(1), 2),
        np.inf,
    ]
    x = tf.cast(tf.concat([normal(1000), tf.constant(edges, "float32")], 0), dtype)
    upstream = normal(len(x), dtype=to, seed=1)
    results = [
        differentiate(f, upstream, x)
        for f in (lambda x: fast_ops.direct_sign(x, to), lambda x: fast_ops.portable_quantize(Sign(), x, to))
    ]
    tf.nest.map_structure(np.testing.assert_array_equal, *results)


def test_only_sign_uses_the_direct_form():
    x = tf.constant([-0.5, 0.25, 0.75])
    np.testing.assert_array_equal(fast_ops.quantize(Ternary(0.5), x, "float32"), [0, 0, 1])
    np.testing.assert_array_equal(fast_ops.quantize(Sign(), x, "bfloat16").numpy().astype(float), [-1, 1, 1])
