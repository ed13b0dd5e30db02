"""Packed networks: convert a trained network to bits, run it without Keras, save and load it, export other formats.

`pack` converts a Keras model to a `PackedNetwork`, which has the methods `save` and `load`. `compare` counts the
differences to the float32 network. `chain` reads the model, `thresholds` folds batch norm and quantizer into integers.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    agreement=["Agreement", "compare", "reference", "wrong_in_graph", "wrong_in_openvino"],
    errors=["PackError"],
    folding=["fold", "pack"],
    network=["PackedNetwork", "load", "save"],
    onnx_graph=["onnx_model"],
    openvino_graph=["openvino_model"],
)
