"""The one base class of errors that a user can correct."""


class UserError(Exception):
    """An error that a user can correct; the message is one line that says what was expected and what was received.

    Programs print the line and exit with `exit_code`. Any other error is a bug and keeps its traceback.

    Attributes:
        exit_code: int, 1; 2 in subclasses for a wrong call, such as a wrong flag.
    """

    exit_code = 1
