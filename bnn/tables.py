"""Tables as text and as HTML."""

import html


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


def html_table(lines, caption=""):
    """Rows of texts, the first one the headings, as HTML; a wide table scrolls within the page."""
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    body = "".join(_html_row(line, "td" if i else "th") for i, line in enumerate(lines))
    return f'<div style="overflow-x: auto; max-width: 100%"><table>{title}{body}</table></div>'


def _html_row(texts, tag):
    style = 'style="white-space: nowrap"'
    return f"<tr>{''.join(f'<{tag} {style}>{html.escape(text)}</{tag}>' for text in texts)}</tr>"
