"""Compile the loops of this package in parallel, and cache the code on disk."""

import os
from pathlib import Path

from numba import njit

# GNU's OpenMP reads it when its threads start. By default they spin while they wait for each other: on a busy machine,
# for up to 50 times as long as the layers of one image take.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def compiled(function):
    """Compile a parallel function that releases the GIL, and cache its code on disk if a folder is writable.

    numba recompiles if the file of the function itself has changed. But the function also calls code in other files of
    this package, such as `lanes`. Therefore this function deletes cached code that is older than any of these files.
    """
    try:
        dispatcher = njit(parallel=True, nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(parallel=True, nogil=True)(function)
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}-*.nbi"
    for index in Path(dispatcher.stats.cache_path).glob(name):
        if index.stat().st_mtime < newest:
            index.unlink(missing_ok=True)
    return dispatcher
