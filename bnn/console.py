"""What the programs share: exit codes, and errors as one line."""

import sys


def run_program(name, main):
    """Call `main()` and exit: 0, or its return value; 1 and one line for an error that a user can mend; 130 for Ctrl-C.

    Args:
        name: the program's, for the line.
        main: function without arguments that returns an exit code or None.
    """  # fmt: skip
    sys.stdout.reconfigure(errors="backslashreplace")  # A folder's name need not be text.
    try:
        code = main()
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        code = 130
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        if not _is_for_users(error):
            raise
        print(f"{name}: error: {_one_line(error)}", file=sys.stderr)
        code = 1
    sys.exit(code)


def _is_for_users(error):
    """Our own errors and the operating system's; anything else is a bug and keeps its traceback."""
    return isinstance(error, OSError | MemoryError) or type(error).__module__.startswith("bnn.")


def _one_line(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
