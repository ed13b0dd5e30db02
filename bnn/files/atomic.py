"""Files that hold either their old content or their new one, whenever a process or its machine dies."""

import contextlib
import os

from bnn.errors import UserError
from bnn.files import lock


class WriteError(UserError, OSError):
    """A file that cannot be written; the message is one line for the user."""


@contextlib.contextmanager
def replacing(path):
    """Yield a path to write to; that file then takes the place of `path` in one step.

    Args:
        path: Path. What is written meanwhile has its name with a dot before it, in the same directory.

    Raises:
        WriteError: the disk is full, or the directory cannot be written; a file that was there stays as it was.
        LockError: this process holds the directory's lock, and the directory was removed or replaced.
    """
    temporary = path.with_name(f".{path.name}")
    lock.verify(path.parent)
    try:
        yield temporary
        replace(temporary, path)
    except (Exception, KeyboardInterrupt) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        kept = "; what was there before is kept" if path.exists() else ""
        raise WriteError(f"{path}: expected to write it, received {error.strerror or error}{kept}") from None


def write(path, content):
    """Replace a file's content by the given bytes; raises as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def replace(temporary, path):
    """Have a finished file on the disk, and then give it its name, which is on the disk, too, on return."""
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
