"""Networks: build, load, traverse, evaluate and size them.

The paper's networks from their settings, saved ones, the layers of any model, scores and accuracy, batch norm measured
anew, parameters and multiply-accumulates by bit width, and small files to share.
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    batch_norm=["refit_batch_norm"],
    compact=["save_compact"],
    evaluation=["accuracy", "correct", "scores"],
    loading=["ModelFileError", "load_images", "load_model"],
    networks=["build", "build_model"],
    size=["Summary", "SummaryError", "summary"],
    traversal=["walk"],
)
