"""What the programs share: exit codes, errors as one line, and progress."""

import functools
import signal
import sys

from bnn.errors import UserError


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a program in the way that Ctrl-C does."""


def run_program(name, main):
    """Call `main()` and exit: 0, or its return value; 1 and one line for an error that a user can mend.

    Ctrl-C exits with 130, SIGTERM with 143, each with a line.

    Args:
        name: the program's, for the line.
        main: function without arguments that returns an exit code or None.
    """
    sys.stdout.reconfigure(errors="backslashreplace")  # A folder's name need not be text.
    signal.signal(signal.SIGTERM, functools.partial(_raise, Terminated))
    sys.unraisablehook = _raise_again
    try:
        code = main()
    except (Exception, KeyboardInterrupt) as error:
        if stop := _interruption(error):
            terminated = isinstance(stop, Terminated)
            print(f"{name}: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
            code = 128 + (signal.SIGTERM if terminated else signal.SIGINT)
        elif isinstance(error, UserError | OSError | MemoryError):
            print(f"{name}: error: {_one_line(error)}", file=sys.stderr)
            code = 1
        else:
            raise
    sys.exit(code)


def progress(iterable=None, total=None, unit="it", description=None, initial=0):
    """A progress bar on standard error, which a terminal alone shows and which leaves no trace.

    Args:
        iterable: what is counted as it is iterated over; None: the bar is moved by hand, with `update(n)`.
        total: int, how many there are; None: `len(iterable)`, if it has one.
        unit: str, what is counted; "B" is shown as kB, MB and so on.
        description: str before the bar.
        initial: int, how many are done already.

    Returns:
        tqdm.tqdm, an iterable over the same elements and a context manager.
    """
    from tqdm import tqdm

    return tqdm(iterable, total=total, unit=unit, desc=description, initial=initial, unit_scale=unit == "B",
                leave=False, disable=None)  # fmt: skip


def silent(iterable, total=None, unit="it", description=None):
    """The same call as `progress`, which shows nothing: what library functions do unless they are given another."""
    return iterable


def _interruption(error):
    """The interruption that an error is or follows from: libraries fail in turn as they clean up half-made objects."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def _raise(error, *_):
    raise error


def _raise_again(unraisable):
    """Raise an interruption a little later that Python dropped, as it does in destructors and callbacks from C."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        return sys.__unraisablehook__(unraisable)
    signal.signal(signal.SIGALRM, functools.partial(_raise, unraisable.exc_type))
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def _one_line(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
