"""Write files that stay complete when the process is killed.

The package contains files that are replaced in one step, the lock of a run directory, and records in JSON and CSV.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    atomic=["WriteError", "write_csv", "write_json"],
    lock=["LockError"],
)
