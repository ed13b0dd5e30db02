"""What the programs share: exit codes, errors as one line, and progress."""

import contextlib
import functools
import os
import shlex
import signal
import sys
from contextvars import ContextVar
from pathlib import Path

from bnn.console.errors import UserError

_shown = ContextVar("shown", default=True)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a program in the same way as Ctrl-C."""


def run_program(name, main):
    """Call `main()` and exit with 0, with its return value, or with the code of the error that ended it.

    An error that a user can correct is one line on standard error, with exit code 1, or 2 for a wrong call. So is an
    output that cannot be written. Ctrl-C exits with 130 and SIGTERM with 143, each with one line. If the reader of the
    output ends early, such as `head -1`, the program exits with 141 and without a line.

    Args:
        name: str, the program's name, for the line.
        main: function without arguments that returns an exit code or None.
    """
    _open_stderr()
    if sys.stdout is None:
        note(f"{name}: error: {OutputError('a closed one')}")
        sys.exit(1)
    sys.stdout.reconfigure(errors="backslashreplace")  # The name of a folder may not be text.
    signal.signal(signal.SIGTERM, functools.partial(_raise, Terminated))
    sys.unraisablehook = _raise_again
    with contextlib.redirect_stdout(Output(sys.stdout)):
        code = _exit_code(name, main)
    sys.exit(code)


class OutputError(UserError):
    """Standard output cannot be written; not an `OSError`, which libraries such as argparse ignore there."""

    def __init__(self, received):
        super().__init__(f"expected to write to standard output, received {received}")


class ReaderGone(OutputError):
    """Nobody reads standard output any more, as after `| head -1`."""


class Output:
    """A stream that raises `OutputError` where it cannot be written, so that the error says what failed.

    Args:
        stream: text file.
    """

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        """Write a text."""
        return self._try(self.stream.write, text)

    def flush(self):
        """Write what is in the buffer."""
        return self._try(self.stream.flush)

    def _try(self, action, *args):
        try:
            return action(*args)
        except OSError as error:
            # Python would try to write again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            kind = ReaderGone if isinstance(error, BrokenPipeError) else OutputError
            raise kind(error.strerror) from None

    def __getattr__(self, name):
        return getattr(self.stream, name)


def _exit_code(name, main):
    """The exit code of `main()`, after one line for the error that ended it."""
    try:
        code = _returned(main)
        sys.stdout.flush()
        return code
    except ReaderGone:
        return 128 + signal.SIGPIPE
    except (Exception, KeyboardInterrupt) as error:
        if stop := _interruption(error):
            terminated = isinstance(stop, Terminated)
            note(f"{name}: {'terminated' if terminated else 'interrupted'}")
            return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
        if isinstance(error, UserError | OSError | MemoryError):
            note(f"{name}: error: {_one_line(error)}")
            return getattr(error, "exit_code", 1)
        raise


def _returned(main):
    """What `main()` returns, or the code with which argparse exits after --help or a wrong flag."""
    try:
        return main()
    except SystemExit as stop:
        return stop.code


def _open_stderr():
    """Give a closed standard error a place, so that no other file takes its number."""
    if sys.stderr is None:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        if descriptor != 2:
            os.dup2(descriptor, 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115, it stays open to the end


def note(line):
    """Print a line on standard error, if it can be written: an error, or what a user should know about the data."""
    try:
        sys.stderr.write(f"{line}\n")  # in one piece, because other processes may write there too
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextlib.contextmanager
def shown(verbose):
    """Context manager: within it, `say` prints and `progress` shows only if `verbose` is true."""
    token = _shown.set(bool(verbose))
    try:
        yield
    finally:
        _shown.reset(token)


def say(text):
    """Print a text at once, unless `shown(False)` is in force."""
    if _shown.get():
        print(text, flush=True)


def progress(iterable=None, total=None, unit="it", description=None, initial=0, details=None):
    """Progress on standard error: a bar on a terminal, which leaves no trace; elsewhere at most one line a minute.

    Nothing is shown within `shown(False)`.

    Args:
        iterable: what is counted as it is iterated over; None: the bar is moved by hand, with `update(n)`.
        total: int, how many there are; None: `len(iterable)`, if it has one.
        unit: str, what is counted; "B" is shown as kB, MB and so on.
        description: str before the bar.
        initial: int, how many are done already.
        details: function from the state of the bar, tqdm's `format_dict`, to the text after the bar in place of the
            usual one. It is called only when the bar is drawn.

    Returns:
        tqdm.tqdm, an iterable over the same elements and a context manager.
    """
    from bnn.console.progress_bars import Bar, Lines

    kind = Bar if sys.stderr.isatty() else Lines
    return kind(
        iterable,
        total=total,
        unit=unit,
        desc=description,
        initial=initial,
        unit_scale=unit == "B",
        details=details,
        disable=not _shown.get(),
    )


def silent(iterable, total=None, unit="it", description=None):
    """The same call as `progress`, which shows nothing: the default of library functions."""
    return iterable


def typed(command, *words):
    """How to call another program in the way that this one was called: "bnn analyze" or "python analyze.py".

    Args:
        command: str, "train", "analyze", "test" or "download".
        *words: its arguments, which are quoted for a shell where they need it.

    Returns:
        str. From Python, where no program runs: the program of the clone, if the package lies in one, else `bnn`.
    """
    return shlex.join([*_program(command), *map(str, words)])


def _program(command):
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("bnn", "__main__.py"):
        return "python", "-m", "bnn", command
    clone = Path(__file__).resolve().parents[2]
    if called.name == "bnn" or not (clone / "train.py").is_file():
        return "bnn", command
    script = f"{'data/' if command == 'download' else ''}{command}.py"
    return ("python", script) if (clone / script).is_file() else ("python", "-m", "bnn", command)


def _interruption(error):
    """The interruption that an error is or follows from: libraries fail as they clean up half-made objects."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def _raise(error, *_):
    raise error


def _raise_again(unraisable):
    """Raise an interruption that Python dropped a little later: it drops those in destructors and C callbacks."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        return sys.__unraisablehook__(unraisable)
    signal.signal(signal.SIGALRM, functools.partial(_raise, unraisable.exc_type))
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def _one_line(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
