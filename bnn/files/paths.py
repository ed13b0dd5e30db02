"""Paths as people write them."""

from pathlib import Path


def expanded(path):
    """Return a str or Path as a Path with `~` replaced by the home folder; unchanged if there is no such user."""
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        return path
