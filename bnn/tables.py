"""Tables as text."""


def cell(value, decimals=3):
    """A value of a table as text; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)


def aligned(lines):
    """Rows of equally many texts as one text, a line each, the columns aligned on the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.rjust, line, widths)).rstrip() for line in lines)
