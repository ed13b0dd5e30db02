"""Figures in the programs: what was measured is written before, and stays if they cannot be drawn."""

from contextlib import contextmanager

from bnn.console import OutputError
from bnn.console.errors import UserError


@contextmanager
def expected(names, kept=None):
    """Context manager that draws figures: any failure becomes one line, which says what was kept.

    Args:
        names: str, the names of the figures, for the line.
        kept: Path or str, what is already written; None if what was measured is only printed.

    Raises:
        UserError: the figures could not be drawn.
        OutputError: standard output could not be written.
    """
    wrote = f"; wrote {kept}" if kept else ""
    try:
        yield
    except OutputError:
        raise
    except UserError as error:
        raise UserError(f"{error}{wrote}") from error
    except Exception as error:
        text = " ".join(str(error).split())
        line = f"figures that could not be drawn: {names} ({type(error).__name__}: {text}){wrote}"
        raise UserError(line) from error


def print_key(**names):
    """Print what the indices mean that stand for names in figures, if no installed font can show the names.

    Args:
        **names: lists of str, by what they name, such as "layers".
    """
    from bnn.plots.names import key

    for what, given in names.items():
        if shown := key(given):
            print(f"{what} in the figures: {shown}")
