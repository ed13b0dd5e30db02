"""Trained real networks with binary, ternary or k-level weights, without training.

`layerwise` fits one kernel after the other on arrays; `keras_network` and `torch_network` find and replace the kernels
of a model of that framework.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    layerwise=["Binarized", "BinarizedLayer", "binarize"],
)
