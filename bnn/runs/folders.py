"""Folders for run directories: whether one can be made and written, and which one a mistyped path means."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from bnn.console.suggestions import did_you_mean
from bnn.files import lock

USUAL = Path("runs")  # where runs are kept unless another folder is named


def why_unwritable(folder):
    """Try whether a folder can be made and written, and leave nothing behind.

    Args:
        folder: Path.

    Returns:
        str, the reason why not, in the words of the system; None: it can.
    """
    made = []
    try:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except FileExistsError:
        return _why_no_folder(folder)
    except OSError as error:
        return error.strerror
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def _why_no_folder(path):
    """Why a path that exists is no folder: it is a file, or a symbolic link that leads nowhere."""
    try:
        path.stat()
    except OSError as error:
        return f"a symbolic link: {error.strerror}"
    return "a file"


def within(folder, depth=1):
    """The run directories in a folder; with depth 2 those in its sub-folders, the seeds of one training. Sorted."""
    return sorted(path.parent for path in folder.glob("*/" * depth + "config.json"))


def nearby(folder):
    """The end of an error message for a run that is not there: "; did you mean runs/demo?", or nothing."""
    inner = within(folder) or within(folder, 2)
    for path in (*inner[:1], USUAL / folder, *([folder.parent] if folder.is_file() else [])):
        if (path / "config.json").is_file():
            return f"; did you mean {path}?"
    if folder.exists():
        return ""
    places = {str(path) for place in (folder.parent, USUAL) for path in within(place)}
    return did_you_mean(str(folder), places) or did_you_mean(str(USUAL / folder), places)


def is_unused(folder):
    """Whether a folder is empty, or holds only what a kill left of a run that was not finished being made."""
    names = {path.name for path in folder.iterdir()}
    # Files that remain if the process was killed within `create` do not count.
    return not names or (
        lock.NAME in names and names <= {lock.NAME, "last.keras", ".last.keras", ".config.json"}
    )


def clear(folder):
    """Empty a locked folder. config.json is removed last: a killed process leaves a run or an unused folder."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "config.json"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != lock.NAME:
            path.unlink()
