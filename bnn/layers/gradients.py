"""Gradients: replace the gradient of a function, and compute the gradient that the Keras backend really uses."""

import functools

import keras
import numpy as np
from keras import ops


def with_gradient(quantize, backward):
    """Replace the gradient of a function.

    Args:
        quantize: function from a float tensor to a tensor of the same shape and dtype, on `keras.ops`.
        backward: function from (x, upstream) to the gradient with respect to x, where `upstream` is the gradient with
            respect to quantize(x); all three have x's shape and dtype.

    Returns:
        A function of a tensor or a `keras.Variable`: `quantize` with the gradient that `backward` computes.
    """

    @ops.custom_gradient
    def estimator(x):
        def gradient(*args, upstream=None):
            return backward(x, args[0] if upstream is None else upstream)

        return quantize(x), gradient

    @functools.wraps(quantize)
    def quantized(x):
        # The cast turns a variable into a tensor: TensorFlow's custom gradients accept tensors only.
        return estimator(ops.cast(x, x.dtype))

    return quantized


def straight_through(quantize):
    """Give a quantizer the straight-through gradient: 1 where |x| <= 1, else 0 (paper, section 2).

    Args:
        quantize: function from a float tensor to a tensor of the same shape and dtype.

    Returns:
        The same function with that gradient.
    """

    def backward(x, upstream):
        return ops.where(ops.abs(x) <= 1, upstream, ops.zeros_like(upstream))

    return with_gradient(quantize, backward)


def pointwise_gradient(function, x):
    """Compute values and derivatives of a function that maps each element independently of the others.

    Args:
        function: function from a float32 tensor to a float32 tensor of the same shape, on `keras.ops`.
        x: (...) array_like.

    Returns:
        values: float32 array of x's shape.
        derivatives: float32 array of x's shape. If the function defines its own gradient, this is that gradient.

    Raises:
        RuntimeError: the backend is neither TensorFlow nor JAX.
    """
    x = ops.convert_to_tensor(np.asarray(x, np.float32))
    backend = keras.backend.backend()
    if backend == "tensorflow":
        values, derivatives = _tensorflow(function, x)
    elif backend == "jax":
        values, derivatives = _jax(function, x)
    else:
        raise RuntimeError(f"backend: expected tensorflow or jax, received {backend}")
    return ops.convert_to_numpy(values), ops.convert_to_numpy(derivatives)


def _tensorflow(function, x):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        values = function(x)
    return values, tape.gradient(values, x)


def _jax(function, x):
    import jax

    values, pull_back = jax.vjp(function, x)
    return values, pull_back(ops.ones_like(values))[0]
