"""Files that hold either their old content or their new content, even if the process or the machine stops."""

import contextlib
import csv
import io
import json
import os

import numpy as np

from bnn.console.errors import UserError
from bnn.files import lock


class WriteError(UserError, OSError):
    """A file cannot be written. The message is one line for the user."""


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path to write to. The temporary file then replaces `path` in one step.

    Args:
        path: Path. The temporary file is in the same directory. Its name ends with the same name and begins with a dot;
            without the directory's lock, with which only one process writes there, it has the process ID between, and a
            killed process leaves the file.

    Raises:
        WriteError: the disk is full, or the directory is not writable. An existing file does not change.
        RunError: this process holds the directory's lock, and the directory was removed or replaced.
    """
    lock.verify(path.parent)
    own = "" if lock.holds(path.parent) else f"{os.getpid()}."
    temporary = path.with_name(f".{own}{path.name}")
    try:
        yield temporary
        replace(temporary, path)
    except (Exception, KeyboardInterrupt) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        kept = "; the old file is kept" if path.exists() else ""
        raise WriteError(f"{path}: expected to write it, received {error.strerror or error}{kept}") from None


def write(path, content):
    """Replace the content of a file with the given bytes; raises the same errors as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def replace(temporary, path):
    """Rename a finished file, and make sure that its content and its name are on the disk when this returns."""
    _sync(temporary)
    temporary.replace(path)
    with contextlib.suppress(OSError):  # some file systems cannot sync a directory
        _sync(path.parent)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path, value):
    """Write JSON atomically. Non-finite numbers become null because JSON has no NaN."""
    write(path, (json.dumps(_without_nan(value), indent=1, allow_nan=False) + "\n").encode())


def write_csv(path, columns, rows):
    r"""Write a header and rows, dicts from column to value, atomically; bytes that are not UTF-8 become \udcXX."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue().encode(errors="backslashreplace"))


def _without_nan(value):
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
