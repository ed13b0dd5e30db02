"""What cannot be packed, or is no packed network."""

from bnn.errors import UserError


class PackError(UserError, ValueError):
    """A network that cannot be packed, or a file that holds no packed one; the message is one line for the user."""
