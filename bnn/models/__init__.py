"""Load, traverse and evaluate networks, and compute their size.

The package loads saved networks, lists the layers of any model,
computes scores, accuracy and errors, refits batch norm, counts parameters and multiply-accumulates by bit
width, and saves small files to share.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    batch_norm=["refit_batch_norm"],
    compact=["save_compact"],
    decisions=["confusion_matrix", "margins", "worst_errors"],
    evaluation=["accuracy", "correct", "cross_entropy", "scores"],
    loading=["ModelError", "ModelFileError", "load_images", "load_model"],
    size=["Summary", "SummaryError", "summary"],
    surgery=["altered_copy", "in_float32", "whiten", "without_emulation"],
    traversal=["walk"],
)
