"""Derivatives as the Keras backend computes them: what a straight-through estimator really sends back."""

import keras
import numpy as np


def pointwise_gradient(function, x):
    """Values and derivatives of a function that maps each element by itself.

    Args:
        function: from a float32 tensor to one of the same shape, on `keras.ops`.
        x: (...) array_like.

    Returns:
        values: float32 array of x's shape.
        derivatives: float32 array of x's shape, with the function's own gradient where it defines one.

    Raises:
        RuntimeError: the backend is neither TensorFlow nor JAX.
    """
    x = keras.ops.convert_to_tensor(np.asarray(x, np.float32))
    backend = keras.backend.backend()
    if backend == "tensorflow":
        values, derivatives = _tensorflow(function, x)
    elif backend == "jax":
        values, derivatives = _jax(function, x)
    else:
        raise RuntimeError(f"backend: expected tensorflow or jax, received {backend}")
    return keras.ops.convert_to_numpy(values), keras.ops.convert_to_numpy(derivatives)


def _tensorflow(function, x):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        values = function(x)
    return values, tape.gradient(values, x)


def _jax(function, x):
    import jax

    values, pull_back = jax.vjp(function, x)
    return values, pull_back(keras.ops.ones_like(values))[0]
