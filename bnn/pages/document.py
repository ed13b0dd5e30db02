"""A report or a comparison as one page: what it consists of, and its file."""

import base64
import hashlib
from pathlib import Path
from string import Template

from bnn import __version__
from bnn.analysis.core.checks import ReportError
from bnn.analysis.core.report import Report
from bnn.analysis.side_by_side import Comparison
from bnn.console.arguments import expanded
from bnn.files import atomic
from bnn.pages import comparisons, networks, parts

HERE = Path(__file__).parent


def write(found, path):
    """Write a page into a file, completely or not at all.

    The page loads nothing from a network and runs no script but the one that sorts its tables. Names of layers, paths
    and settings are shown as text.

    Args:
        found: Report of `bnn.analyze`, of a Keras or PyTorch model or a run; or Comparison of `bnn.compare`.
        path: str or Path of the .html file; its folder is created if needed.

    Returns:
        Path

    Raises:
        ReportError: it is neither.
        WriteError: the file cannot be written.
    """
    path, text = expanded(path), html(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, text.encode(errors="backslashreplace"))
    return path


def html(found):
    """Return the page of a report or a comparison as text; arguments and errors as for `write`."""
    if isinstance(found, Report):
        title, body = networks.page(found)
    elif isinstance(found, Comparison):
        title, body = comparisons.page(found)
    else:
        raise ReportError(f"found: expected a Report or a Comparison, received a {type(found).__name__}")
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=parts.text(title),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        body=f"{body}\n<footer><p>Made by bnn-geometry {__version__}; one file, which works offline.</p></footer>",
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
