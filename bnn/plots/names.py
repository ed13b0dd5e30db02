"""Names that users gave, as text that matplotlib draws as it is."""

import functools
import unicodedata
from collections import Counter

from bnn.console import note
from bnn.plots import fonts

LEFT_TO_RIGHT = "\u200e"  # an invisible mark: Arabic in an English line does not turn the line around
INVISIBLE = ("Cf", "Cc")  # categories of characters without a form, such as joiners


def plain(name):
    """Return a name so that matplotlib neither parses it as mathematics nor leaves it out of a legend.

    Args:
        name: object, whose `str` is the name. Spaces of any kind become one space, invisible characters are dropped,
            and other characters that cannot be printed are replaced.

    Returns:
        str: dollar signs are escaped; a leading underscore, with which labels are hidden, has a space before it.
    """
    text = printable(name).replace("$", r"\$")
    if any(unicodedata.bidirectional(c) in ("R", "AL") for c in text):
        return f"{LEFT_TO_RIGHT}{text}{LEFT_TO_RIGHT}"
    return f" {text}" if text.startswith("_") else text


def printable(name):
    """Return the `str` of a name with a form for each of its characters, in one line."""
    text = "".join(" " if c.isspace() else c for c in str(name))
    text = "".join(c for c in text if unicodedata.category(c) not in INVISIBLE)
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def shortened(names, letters=None):
    """Return plain names, all different where the names are; a name that no installed font can show is its index, #0.

    It adds fonts to the current style where the names need them.

    Args:
        names: sequence of objects, whose `str` are the names.
        letters: int, >= 8, the length to which names are cut, or None. Wide letters count twice.
    """
    names, full = [str(name) for name in names], [printable(name) for name in names]
    fonts.use_for(full)
    numbers = _numbers(full)
    if numbers:
        _tell(tuple(numbers.values()))
    short = [numbers.get(i, _cut(text, letters)) for i, text in enumerate(full)]
    alike = Counter(short)
    for i, name in enumerate(names):
        if alike[short[i]] > 1 and short[i] != name and i not in numbers:
            alike[short[i]] -= 1
            number = f"…{i}"
            short[i] = _head(full[i], letters and letters - len(number)) + number
    return [plain(name) for name in short]


def key(names):
    """Return what the indices in the figures mean, such as "#0 = name, #1 = name", or "" if all names are shown."""
    full = [printable(name) for name in names]
    return ", ".join(f"{number} = {full[i]}" for i, number in _numbers(full).items())


def width(text):
    """The number of letters that a text takes the space of: wide letters count twice."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _numbers(texts):
    """Dict from the place to the number of each text with characters that no font has."""
    lacking = fonts.lacking(texts)
    return {i: f"#{i}" for i, text in enumerate(texts) if lacking.intersection(text)}


@functools.cache
def _tell(numbers):
    shown = ", ".join(numbers[:3]) + (" and so on" if len(numbers) > 3 else "")
    note(f"figures: no installed font has all characters of some names, which are shown as {shown}")


def _cut(text, letters):
    return text if letters is None or width(text) <= letters else f"{_head(text, letters - 1)}…"


def _head(text, letters):
    """The start of a text that takes the space of some letters at most, or all of it for None."""
    while letters is not None and width(text) > letters:
        text = text[:-1]
    return text
