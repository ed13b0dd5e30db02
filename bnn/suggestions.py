"""What a mistyped word may mean: the one place where names are compared."""

import difflib


def did_you_mean(word, known):
    """A question that ends an error message: "; did you mean --data_set?", or nothing where no name is close.

    Args:
        word: str, what was typed. Case, and hyphens or underscores, do not count.
        known: iterable of str, the names that are allowed.
    """
    names = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(str(word)), names, n=1)
    return f"; did you mean {names[close[0]]}?" if close else ""


def _plain(name):
    return name.lower().replace("-", "").replace("_", "")
