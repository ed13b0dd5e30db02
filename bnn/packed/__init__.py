"""Networks of bits: fold a trained network, run it without Keras, write and read it, export it to other formats.

`fold` makes a `PackedNetwork` of a Keras model, `save` and `load` keep it in one file, `compare` counts where it and
the float32 network differ. `chain` reads the model, `thresholds` folds batch norm and quantizer into integers.
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    agreement=["Agreement", "compare", "reference"],
    errors=["PackError"],
    files=["load", "save"],
    folding=["fold"],
    network=["PackedNetwork"],
    onnx_graph=["onnx_model"],
)
