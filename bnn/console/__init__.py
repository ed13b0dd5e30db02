"""What programs print and read: exit codes, errors as one line, progress, tables, and words of the command line."""

from bnn.console.program import (
    Output,
    OutputError,
    Terminated,
    note,
    progress,
    run_program,
    say,
    shown,
    silent,
    typed,
)

__all__ = [
    "Output",
    "OutputError",
    "Terminated",
    "note",
    "progress",
    "run_program",
    "say",
    "shown",
    "silent",
    "typed",
]
