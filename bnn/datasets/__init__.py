"""The data sets: their sources and their images as arrays.

`load("mnist-5k")` returns a `DataSet` with the splits train, validation and test. `catalog` is the table of the data
sets to download, `sources` fetches files in child processes, whose program is `transfer`, `convert` converts archives
and sheets to the official files, `storing` and `fetching` put them on the disk, `place` finds the folder, `reading`
reads the files, `own` makes data sets of the user's arrays, files and folders, `layout` finds the images in a folder,
`splits` sets images aside, `picture_files` reads a PNG or JPEG file, and `pictures` reads images for a trained network.
"""

import importlib

HOMES = {
    "DataSet": "data_set",
    "Split": "data_set",
    "load": "reading",
    "DataError": "storing",
    "data_folder": "place",
    "from_arrays": "own",
    "register": "own",
}
__all__ = ["DataError", "DataSet", "Split", "data_folder", "from_arrays", "load", "register"]


def __getattr__(name):
    """Load a public name when it is first used, because the table of data sets does not need NumPy."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
