"""The inputs of kernels in recurrent layers at every time step: the inputs, and the states, which are computed here."""

from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from bnn.layers.recurrent import QuantCell, QuantGRUCell, QuantLSTMCell, QuantRecurrent

LAYERS = (keras.layers.RNN, keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)
GATES = {  # in the order of the columns of both kernels
    keras.layers.SimpleRNNCell: (),
    keras.layers.LSTMCell: ("input", "forget", "candidate", "output"),
    keras.layers.GRUCell: ("update", "reset", "candidate"),
    QuantLSTMCell: ("input", "forget", "candidate", "output"),
    QuantGRUCell: ("update", "reset", "candidate"),
}


def reason(layer):
    """The reason if a recurrent layer cannot be analyzed, else None."""
    cell = layer.cell
    base = next((cls for cls in GATES if isinstance(cell, cls)), None)
    if base is None or type(cell).call is not base.call:
        return f"its cell, a {type(cell).__name__}, is none of Keras's SimpleRNNCell, LSTMCell and GRUCell"
    if isinstance(cell, QuantCell) and not isinstance(layer, QuantRecurrent):
        return f"a {type(cell).__name__} is analyzed only within bnn.layers.QuantLSTM and QuantGRU"
    if all(type(layer).call is not cls.call for cls in LAYERS):
        return f"{type(layer).__name__} has a call of its own, which may not step through its cell"
    if not cell.built:
        return "it has no weights yet: call the model once"
    return "it is stateful: its states depend on the batches before" if layer.stateful else None


def cells(layers):
    """The ids of the cells of recurrent layers."""
    found = [layer.cell for layer in layers if isinstance(layer, keras.layers.RNN)]
    return {id(cell) for outer in found for cell in (outer, *getattr(outer, "cells", ()))}


def gates(layer):
    """The names of the gates, a tuple of str; empty for a layer without gates."""
    return next(names for cls, names in GATES.items() if isinstance(layer.cell, cls))


def separate_candidate(layer):
    """Whether the recurrent kernel of the candidate multiplies the reset state, unlike those of the other gates."""
    return isinstance(layer.cell, keras.layers.GRUCell) and not layer.cell.reset_after


def states(layer, given):
    """The inputs of the recurrent kernel at each time step.

    Args:
        layer: keras.layers.RNN whose `reason` is None.
        given: capture.Given of one call.

    Returns:
        (n, steps, units) float32 array; (n, steps, 3 units), one state per gate, if `separate_candidate`.
    """
    cell = layer.cell
    sequences = ops.cast(given.inputs, cell.compute_dtype)
    state = layer.get_initial_state(batch_size=len(sequences)) if given.state is None else given.state
    state = [ops.cast(part, cell.compute_dtype) for part in keras.tree.flatten(state)]
    seen = [None] * sequences.shape[1]
    for step in reversed(range(len(seen))) if layer.go_backwards else range(len(seen)):
        inputs = sequences[:, step]
        seen[step] = ops.convert_to_numpy(ops.cast(_multiplied(layer, inputs, state[0]), "float32"))
        after = keras.tree.flatten(cell(inputs, state, training=False)[1])
        state = after if given.mask is None else _kept(given.mask[:, step], after, state)
    _forget_dropout(cell)
    return np.stack(seen, axis=1)


def _multiplied(layer, inputs, state):
    if isinstance(layer, QuantRecurrent):
        return layer.cell.multiplied(state)
    if not separate_candidate(layer):
        return state
    cell, gate = layer.cell, slice(layer.cell.units, 2 * layer.cell.units)
    total = ops.matmul(inputs, cell.kernel[:, gate]) + ops.matmul(state, cell.recurrent_kernel[:, gate])
    if cell.use_bias:
        total = total + cell.bias[gate]
    return ops.concatenate([state, state, cell.recurrent_activation(total) * state], axis=-1)


def _kept(mask, after, before):
    """The states after a step; samples that a mask skips keep their state."""
    mask = ops.cast(mask, "bool")[:, None]
    return [ops.where(mask, new, old) for new, old in zip(after, before, strict=True)]


def _forget_dropout(cell):
    """Reset the dropout masks of a cell of Keras, which otherwise keeps them."""
    if not isinstance(cell, QuantCell):
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()


@contextmanager
def unfused(layers):
    """Within this context, `Bidirectional` calls its layers, even where it would use one fused operation on a GPU."""
    fused = [layer for layer in layers if hasattr(layer, "use_cudnn")]
    before = [layer.use_cudnn for layer in fused]
    for layer in fused:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, value in zip(fused, before, strict=True):
            layer.use_cudnn = value
