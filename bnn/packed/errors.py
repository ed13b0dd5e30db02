"""The error for networks that cannot be packed and files that are not packed networks."""

from bnn.console.errors import UserError


class PackError(UserError, ValueError):
    """A network cannot be packed, or a file is not a packed network. The message is one line."""
