"""The run directory: everything about one training run, written so that a kill at any time loses nothing."""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    directory=["CLASSES", "Run", "RunError", "create", "expect_free", "open_run", "reopen"],
    listing=["expand", "find"],
    naming=["default_name"],
)
