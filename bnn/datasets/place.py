"""Where data sets lie: in the folder that was named, in $BNN_DATA, in the clone's data/, or in ./data."""

import os
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


def data_folder(given=None):
    """The folder that holds a folder for each downloaded data set.

    Args:
        given: str or Path, what `--data_dir` or a caller named; None: `$BNN_DATA`, if it is set and not empty; else
            `data/` of the clone that this package is imported from; else `data/` of the current folder. Never a folder
            beside site-packages.

    Returns:
        Path
    """
    if given is not None:
        return Path(given)
    if os.environ.get("BNN_DATA"):
        return Path(os.environ["BNN_DATA"])
    return CLONE / "data" if is_clone() else Path("data")


def is_clone():
    """Whether this package is imported from a clone of the repository, which brings its programs along."""
    return (CLONE / "data" / "download.py").is_file()
