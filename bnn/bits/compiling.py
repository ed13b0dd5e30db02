"""How this package's loops are compiled: parallel, and kept on disk."""

from pathlib import Path

from numba import njit


def compiled(function):
    """Compile to a parallel function that frees the GIL, and keep its code on disk if a folder can be written.

    Numba recompiles where the file of the function itself has changed. What it calls, `lanes` above all, lies in
    other files of this package: code older than any of them is forgotten here.
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
