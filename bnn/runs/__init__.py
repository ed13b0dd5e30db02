"""The run directory: everything about one training, written so that a kill at any moment loses nothing."""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    directory=["CLASSES", "Run", "RunError", "create", "default_name", "expect_free", "open_run", "reopen"],
)
