"""The inputs of kernels in PyTorch's recurrent modules: the inputs, and the states, which are the previous outputs."""

from functools import partial

import numpy as np

from bnn.analysis.core.product import Call
from bnn.analysis.torch.forms import array


def reason(module):
    """The reason if a recurrent module cannot be analyzed, else None."""
    from torch import nn

    if not isinstance(module, nn.LSTM | nn.GRU | nn.RNN):
        return f"a {type(module).__name__} is none of LSTM, GRU and RNN"
    if module.num_layers > 1:
        return f"hooks do not see between its {module.num_layers} layers: use {module.num_layers} modules of one layer"
    return "hooks do not see its states before their projection" if module.proj_size else None


def gates(module):
    """The names of the gates in the order of the rows of both weights, a tuple of str."""
    return {
        "LSTM": ("input", "forget", "candidate", "output"),
        "GRU": ("reset", "update", "candidate"),
    }.get(module.mode, ())


def kernels(module):
    """Yield (name, weight, function from capture.Seen to a Call) for every kernel."""
    for place, suffix in enumerate(("", "_reverse") if module.bidirectional else ("",)):
        for name, arrange in (("weight_ih", _inputs), ("weight_hh", _states)):
            key = f"{name}_l0{suffix}"
            yield key, getattr(module, key), partial(arrange, module, place)


def _inputs(module, _, seen):
    values, kept = _padded(module, seen.inputs)
    return Call(values) if kept is None else Call(values[kept], None, kept)


def _states(module, place, seen):
    """The state before each step: the output of the previous step, or the initial state."""
    outputs, kept = _padded(module, seen.output[0])
    n, steps, _ = outputs.shape
    outputs = outputs[..., place * module.hidden_size : (place + 1) * module.hidden_size]
    start = np.broadcast_to(_initial(module, place, seen)[:, None], (n, 1, module.hidden_size))
    if place == 0:
        states = np.concatenate([start, outputs[:, :-1]], axis=1)
    else:
        states = np.concatenate([outputs[:, 1:], start], axis=1)
        if kept is not None:
            ends = np.arange(steps) == kept.sum(axis=1, keepdims=True) - 1
            states = np.where(ends[..., None], start, states)
    return Call(states) if kept is None else Call(states[kept], None, kept)


def _initial(module, place, seen):
    given = seen.arguments.get("hx")
    if given is None:
        return np.zeros((1, module.hidden_size), np.float32)
    state = given[0] if isinstance(given, tuple) else given
    return array(state[place])


def _padded(module, values):
    """An (n, steps, channels) array, and for a packed sequence an (n, steps) bool array of the existing steps."""
    from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

    if isinstance(values, PackedSequence):
        padded, lengths = pad_packed_sequence(values, batch_first=True)
        return array(padded), np.arange(padded.shape[1]) < lengths.numpy()[:, None]
    values = array(values)
    if values.ndim == 2:
        return values[None], None
    return (values if module.batch_first else values.swapaxes(0, 1)), None
