"""Random arrays, and a function that runs a layer and returns its output and gradients."""

import numpy as np
import tensorflow as tf


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def run(layer, x, upstream=None, **kwargs):
    """Return the output y, and the gradients of sum(y * upstream) for the input and each trainable weight."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **kwargs)
        upstream = tf.ones_like(y) if upstream is None else tf.cast(upstream, y.dtype)
    return y, tape.gradient(y, [x, *(w.value for w in layer.trainable_weights)], output_gradients=upstream)
