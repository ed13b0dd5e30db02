"""The lock of a run directory: only one thread of one process can write into it, and holds the lock while it does."""

import contextlib
import os
import socket
import threading
from typing import NamedTuple

from bnn.console import note
from bnn.console.errors import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"


class _Holder(NamedTuple):
    descriptor: int  # of the lock file; the system closes it when the process ends
    thread: threading.Thread


_held = {}  # resolved folder -> _Holder
_guard = threading.Lock()


LockError = RunError  # its name in earlier versions


class InUseError(RunError):
    """Another process or thread holds the lock.

    Attributes:
        holder: str, who it is.
    """

    def __init__(self, expected, holder):
        super().__init__(f"{expected}, received one in use by {holder}")
        self.holder = holder


def hold(folder):
    """Lock a folder against others until `release`, or until this process or thread ends for any reason.

    The thread that holds a folder may lock it again.

    If the file system does not support locks, a line on stderr says so, and nothing stops other processes.

    Args:
        folder: Path of a directory. Its file `.lock` holds the process ID and the host name. The file is not removed.

    Raises:
        InUseError: another process or thread holds the lock.
        RunError: the folder is not writable.
    """
    with _guard:
        _hold(folder)


def _hold(folder):
    thread = threading.current_thread()
    if holds(folder):
        descriptor, holder = _held[folder.resolve()]
        if holder is not thread and holder.is_alive():
            raise InUseError(
                f"{folder}: expected a run directory that no other training writes into",
                f"another thread of this process, {holder.name}",
            )
        _held[folder.resolve()] = _Holder(descriptor, thread)
        return
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        _lock(descriptor, folder)
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError as error:
        raise RunError(f"{folder}: expected a writable directory, received {error.strerror}") from None
    _held[folder.resolve()] = _Holder(descriptor, thread)


def release(folder):
    """Unlock a folder that this process holds; nothing happens if it holds none."""
    holder = _held.pop(folder.resolve(), None)
    if holder is not None:
        descriptor = holder.descriptor
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for processes that inherited the descriptor
        os.close(descriptor)


@contextlib.contextmanager
def released_on_error(folder):
    """Context manager that releases the lock of a folder, if this thread holds it, when an error leaves it."""
    try:
        yield
    except BaseException:
        holder = _held.get(folder.resolve())
        if holder is not None and holder.thread is threading.current_thread():
            release(folder)
        raise


def exclude_others(descriptor, path, what, where, say=note):
    """Lock an open file or folder against other processes; if the system or file system cannot, say so in one line.

    Args:
        descriptor: int.
        path: Path, for the line.
        what: str, what another process must not begin, such as "training".
        where: str, such as "in this directory".
        say: function that is called with the line.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        # flock instead of lockf: a lockf lock is lost as soon as any descriptor of the file is closed.
        return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except AttributeError:
        why = "a system without file locks"
    except OSError as error:
        why = error.strerror
    say(
        f"{path}: expected file locks, which prevent a second {what} {where}, received {why}; "
        f"do not start another {what} there"
    )


def is_held(folder):
    """Return whether a process, this one or another, holds the lock of a folder; False if that cannot be known."""
    return is_locked(folder / NAME)


def is_locked(path):
    """Return whether a process holds the lock of a file, see `exclude_others`; False if that cannot be known."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):  # no lock file, or no locks in this file system or system
        return False
    return False


def verify(folder):
    """Raise `RunError` if this process locked a folder that was removed or replaced since then."""
    if folder.resolve() in _held and not holds(folder):
        received = "another in its place" if folder.is_dir() else "none"
        raise RunError(
            f"{folder}: expected the run directory that this training began with, received {received}"
        )


def holds(folder):
    """Return whether this process holds the lock of a folder."""
    holder = _held.get(folder.resolve())
    try:
        return holder is not None and os.path.samestat(os.fstat(holder.descriptor), (folder / NAME).stat())
    except FileNotFoundError:
        return False


def _lock(descriptor, folder):
    try:
        exclude_others(descriptor, folder, "training", "in this directory")
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace").strip()
        os.close(descriptor)
        raise InUseError(
            f"{folder}: expected a run directory that no other process writes into",
            f"process {holder or 'unknown'}",
        ) from None
