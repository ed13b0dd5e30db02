"""The one base class of errors that a user can mend."""


class UserError(Exception):
    """An error that a user can mend; the message is one line that says what was expected and what was received.

    Programs print the line; anything else is a bug and keeps its traceback.
    """
