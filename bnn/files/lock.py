"""The right to write into a run directory: one process at a time has it, and loses it no sooner than its life."""

import os
import socket
import sys

from bnn.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"
_held = {}  # resolved folder -> descriptor of its lock file; the system closes them when the process ends


class LockError(UserError, RuntimeError):
    """A directory that another process writes into, or that is no longer there; the message is one line."""


def hold(folder):
    """Keep every other process from writing into a folder, until this process ends, however it does.

    Where the file system has no locks, a line on stderr says so, and nothing keeps other processes away.

    Args:
        folder: Path of a directory. Its file `.lock` holds the process's number and host, and stays behind.

    Raises:
        LockError: another process holds the folder, or nothing can be written there.
    """
    if _holds(folder):
        return
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        _lock(descriptor, folder)
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError as error:
        raise LockError(
            f"{folder}: expected a directory that can be written, received {error.strerror}"
        ) from None
    _held[folder.resolve()] = descriptor


def verify(folder):
    """Raise `LockError` if this process holds a folder that is not there any more, or is another by now."""
    if folder.resolve() in _held and not _holds(folder):
        received = "another in its place" if folder.is_dir() else "none"
        raise LockError(
            f"{folder}: expected the run directory that this training began with, received {received}"
        )


def _holds(folder):
    descriptor = _held.get(folder.resolve())
    try:
        return descriptor is not None and os.path.samestat(os.fstat(descriptor), (folder / NAME).stat())
    except FileNotFoundError:
        return False


def _lock(descriptor, folder):
    # flock, not lockf: a lock of the latter is lost as soon as any descriptor of the file is closed.
    try:
        if fcntl is None:
            raise OSError(None, "a system without them")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace").strip()
        os.close(descriptor)
        raise LockError(f"{folder}: expected a run directory that no other process writes into, "
                        f"received one in use by process {holder or 'unknown'}") from None  # fmt: skip
    except OSError as error:
        print(f"{folder}: expected file locks, which keep a second training out, received "
              f"{error.strerror}; start no other training into it", file=sys.stderr)  # fmt: skip
