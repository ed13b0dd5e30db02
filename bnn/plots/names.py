"""Names that users gave, as text that matplotlib draws as it is."""


def plain(name):
    """Return a name so that matplotlib neither parses it as mathematics nor leaves it out of a legend.

    Args:
        name: object, whose `str` is the name. Characters that cannot be printed are replaced.

    Returns:
        str: dollar signs are escaped; a leading underscore, with which labels are hidden, has a space before it.
    """
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(name)).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def shortened(names, letters):
    """Return plain names of at most some letters; those that the cut makes equal are told apart by a number.

    Args:
        names: sequence of str.
        letters: int, >= 8.
    """
    short = [name if len(name) <= letters else f"{name[: letters - 1]}…" for name in map(str, names)]
    for i, name in enumerate(names):
        if short[i] != str(name) and short.count(f"{str(name)[: letters - 1]}…") > 1:
            number = f"…{i}"
            short[i] = str(name)[: letters - len(number)] + number
    return [plain(name) for name in short]
