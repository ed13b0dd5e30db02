"""Tables as text and as HTML."""

import html

WIDTH = 80  # columns of a terminal


def cell(value, decimals=3):
    """A value of a table as text; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)


def aligned(lines, left=False):
    """Rows of equally many texts as one text, one line per row, with the columns aligned on the right, or the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    justify = str.ljust if left else str.rjust
    return "\n".join("  ".join(map(justify, line, widths)).rstrip() for line in lines)


def blocks(rows, width=WIDTH):
    """Rows as `aligned` texts, each with the first column and as many of the others as fit a width.

    Args:
        rows: list of lists of equally many texts.
        width: int. A single column next to the first one may be wider.

    Returns:
        List of str.
    """
    first, *columns = zip(*rows, strict=True)
    found, block = [], [first]
    for column in columns:
        wider = aligned([*zip(*block, column, strict=True)])
        if len(block) > 1 and max(map(len, wider.splitlines())) > width:
            found.append(block)
            block = [first]
        block = [*block, column]
    return [aligned([*zip(*block, strict=True)]) for block in [*found, block]]


def filled(*parts, width=WIDTH):
    """Join parts of a text with spaces, with a new line, indented by 2, where the next one would exceed a width.

    A part, such as a path or a command, stays in one line.
    """
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]} {part}"
        lines = [*lines[:-1], longer] if len(longer) <= width else [*lines, f"  {part}"]
    return "\n".join(lines)


def html_table(lines, caption=""):
    """Rows of texts, the first one the headings, as HTML; a wide table scrolls within the page."""
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    body = "".join(_html_row(line, "td" if i else "th") for i, line in enumerate(lines))
    return f'<div style="overflow-x: auto; max-width: 100%"><table>{title}{body}</table></div>'


def _html_row(texts, tag):
    style = 'style="white-space: nowrap"'
    return f"<tr>{''.join(f'<{tag} {style}>{html.escape(text)}</{tag}>' for text in texts)}</tr>"
