"""Figures in the programs: what was measured is written before, and stays if they cannot be drawn."""

from contextlib import contextmanager

from bnn.errors import UserError


@contextmanager
def expected(names, kept):
    """Context manager that draws figures: any failure becomes one line, which says what was kept.

    Args:
        names: str, the names of the figures, for the line.
        kept: Path or str, what is already written.

    Raises:
        UserError: the figures could not be drawn.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}; wrote {kept}") from error
    except Exception as error:
        text = " ".join(str(error).split())
        line = f"figures that could not be drawn: {names} ({type(error).__name__}: {text}); wrote {kept}"
        raise UserError(line) from error
