"""How a message names an argument: as a flag if a command line was typed, as an argument if Python called."""

import contextlib
import shlex
from contextvars import ContextVar

_on_command_line = ContextVar("on_command_line", default=False)


@contextlib.contextmanager
def command_line():
    """Context manager and decorator: within it, messages name flags. The `main` of every program has it."""
    token = _on_command_line.set(True)
    try:
        yield
    finally:
        _on_command_line.reset(token)


def either(typed, called):
    """Return the first text on a command line, the second in Python."""
    return typed if _on_command_line.get() else called


def argument(name):
    """Return the name of an argument: "--run_dir" or "run_dir"."""
    return either(f"--{name}", name)


def option(name, value=True):
    """Return an argument with its value: "--max_pool 0 1" or "max_pool=(0, 1)", "--overwrite" or "overwrite=True".

    Args:
        name: str.
        value: True for a flag without a value, else a number, a str or Path, or a tuple of these.
    """
    values = () if value is True else value if isinstance(value, tuple) else (value,)
    plain = value if isinstance(value, bool | int | float | tuple) else str(value)
    return either(shlex.join([f"--{name}", *map(str, values)]), f"{name}={plain!r}")


def words(value):
    """Return a setting as it is typed: the entries of a list or tuple, or "none" for an empty one."""
    return " ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
