"""Kernels of Keras models: find them, record their inputs, exchange them, and log them during a training."""

import sys
from contextlib import contextmanager

from bnn import backend


def accepts(model):
    """Whether it is a Keras model or layer; Keras is loaded."""
    return isinstance(model, sys.modules["keras"].Layer)


@contextmanager
def adapted(model, images, quantizer, kernel, batch_size):
    """The KerasAdapter of a model; see `core.adapter.Wing`."""
    backend.load()
    from bnn.analysis.keras.adapter import KerasAdapter

    yield KerasAdapter(model, images, quantizer, kernel, batch_size)
