"""Kernels of PyTorch models: find them, record their inputs, and exchange them."""

import sys


def accepts(model):
    """Whether it is a module of PyTorch, which is loaded."""
    return isinstance(model, sys.modules["torch"].nn.Module)


def adapted(model, images, quantizer, kernel, batch_size):
    """A context with the TorchAdapter of a model; see `core.adapter.Wing`."""
    from bnn.analysis.torch.adapter import evaluated

    return evaluated(model, images, quantizer, kernel, batch_size)
