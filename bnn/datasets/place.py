"""Find the folder of the data sets: the given folder, $BNN_DATA, data/ of the clone, or ./data."""

import os
from pathlib import Path

from bnn.console.arguments import expanded

CLONE = Path(__file__).resolve().parents[2]


def data_folder(given=None):
    """Return the folder that contains one folder per downloaded data set. It is never beside site-packages.

    Args:
        given: str or Path from `--data_dir` or from a caller. None means `$BNN_DATA` if it is set and not empty, else
            `data/` of the clone that this package is imported from, else `data/` in the current folder.

    Returns:
        Path
    """
    if given is not None:
        return expanded(given)
    if os.environ.get("BNN_DATA"):
        return expanded(os.environ["BNN_DATA"])
    return CLONE / "data" if is_clone() else Path("data")


def is_clone():
    """Return whether this package is imported from a clone of the repository, which also contains the programs."""
    return (CLONE / "data" / "download.py").is_file()
