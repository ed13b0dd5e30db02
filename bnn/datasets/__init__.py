"""Data sets: which there are, where they come from, and their images as arrays.

`load("mnist-5k")` gives a `DataSet` with the splits train, validation and test. `catalog` is the table of those that
are downloaded, `sources` fetches files, `convert` turns archives and sheets into the official files, `storing` and
`fetching` put them on the disk, `place` says where, and `reading` reads them.
"""

import importlib

HOMES = {
    "DataSet": "reading",
    "Split": "reading",
    "load": "reading",
    "DataError": "storing",
    "data_folder": "place",
}
__all__ = ["DataError", "DataSet", "Split", "data_folder", "load"]


def __getattr__(name):
    """A public name, loaded when it is first asked for: the table of data sets needs no NumPy."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
