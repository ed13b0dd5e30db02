#!/usr/bin/env python3
"""Execute the notebooks in new kernels, and fail on any error or warning; or convert them to static pages.

    python tools/notebooks.py check --run runs/demo   # keeps nothing
    python tools/notebooks.py write --run runs/demo   # keeps the outputs
    python tools/notebooks.py html --output report    # pages, with an index

With `check`, a notebook without a run must print what it stores. The pages open offline. Those of docs/ and results/
become pages of the report, too, so that the links of the notebooks lead there.

All actions apply to the notebooks of this repository, or to the given notebooks.
"""

import base64
import html
import itertools
import os
import re
import sys
from pathlib import Path
from urllib.parse import quote, unquote

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn.console.arguments import Parser

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = (ROOT / "hd_figures.ipynb", ROOT / "gen_plots.ipynb")
TEXTS = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "results").glob("*.md")),
    ROOT / "results" / "experiments" / "README.md",
    ROOT / "data" / "README.md",
)
# As in Python's default filters, deprecation warnings count only in our own code. All other warnings are errors.
STRICT = """import warnings
warnings.simplefilter("error")
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", PendingDeprecationWarning)
warnings.filterwarnings("error", category=DeprecationWarning, module="bnn|__main__")"""
NO_ALT = 'alt="No description has been provided for this image"'
STYLE = Path(__file__).with_name("page.css")
FONT = Path(__file__).with_name("math.woff")
# Works without a script; the code of a cell is hidden as long as the box is checked.
SWITCH = '<label class="switch"><input type="checkbox" id="hide-code"> hide code</label>'


class NotebookFailure(RuntimeError):
    """A notebook fails or warns. The message names the cell and the cause."""


def parse(argv=None):
    """Parse the command line."""
    parser = Parser(description=__doc__)
    flag = parser.add_argument
    flag("action", choices=("check", "write", "html"), help="what to do, see above")
    flag(
        "notebooks",
        nargs="*",
        type=Path,
        default=NOTEBOOKS,
        metavar="NOTEBOOK",
        help="default: hd_figures.ipynb and gen_plots.ipynb",
    )
    flag("--run", metavar="RUN", help="run directory for a notebook that shows a run")
    flag("--figures", metavar="DIR", help="also save every figure in DIR/NOTEBOOK, as PDF, SVG and PNG")
    output_help = "folder of the pages (default: report/)"
    flag("--output", type=Path, default=ROOT / "report", metavar="DIR", help=output_help)
    return parser.parse_args(argv)


def main():
    """Run the action of the command line. A failure prints one line and returns exit code 1."""
    args = parse()
    for path in args.notebooks:
        try:
            notebook = read(path)
            if args.action == "html":
                page = write_page(notebook, args.output / f"{path.stem}.html")
                print(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB)")
                continue
            stored = outputs(notebook)
            execute(
                notebook,
                args.run,
                **({"FIGURES": str(Path(args.figures) / path.stem)} if args.figures else {}),
            )
            if args.action == "check" and not takes_run(notebook):
                expect_outputs(notebook, stored)
        except (NotebookFailure, OSError) as failure:
            reason = f"{failure.strerror}: {failure.filename}" if isinstance(failure, OSError) else failure
            print(" ".join(f"{path.name}: {reason}".split()), file=sys.stderr)
            return 1
        print(
            f"{path.name}: {sum(c.cell_type == 'code' for c in notebook.cells)} cells ran without a warning",
            flush=True,
        )
        if args.action == "write":
            nbformat.write(notebook, path)
    if args.action == "html":
        pages = [write_text(path, args.output) for path in TEXTS]
        print(f"wrote {write_index(args.output)} and {len(pages)} pages of docs/ and results/")
    return 0


def read(path):
    """Read a notebook and check its format.

    Raises:
        NotebookFailure: the file is not a notebook.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError:
        raise
    except Exception as error:  # json, jsonschema or nbformat, whichever finds the damage first
        raise NotebookFailure(f"expected a notebook, received {str(error).splitlines()[0][:200]}") from None
    return notebook


def outputs(notebook):
    """List what each code cell shows: (number of images, printed text)."""
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [
        (
            sum("image/png" in output.get("data", {}) for output in cell),
            "".join(o.get("text", "") for o in cell),
        )
        for cell in cells
    ]


def expect_outputs(notebook, stored):
    """Raise a `NotebookFailure` if a cell of an executed notebook shows other text or other images than before."""
    for number, ((images, text), (drawn, said)) in enumerate(zip(stored, outputs(notebook), strict=True), 1):
        if drawn != images:
            raise NotebookFailure(f"cell {number}: expected {images} images as stored, received {drawn}")
        for before, now in itertools.zip_longest(text.splitlines(), said.splitlines()):
            if before != now:
                raise NotebookFailure(f"cell {number}: expected the stored line {before!r}, received {now!r}")


def takes_run(notebook):
    """Whether the notebook shows a run: its `parameters` cell has RUN."""
    at = parameters_at(notebook)
    return at is not None and "RUN" in notebook.cells[at].source


def parameters_at(notebook):
    """Return the index of the `parameters` cell, or None."""
    tagged = [i for i, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])]
    return tagged[0] if tagged else None


def execute(notebook, run=None, timeout=1800, **parameters):
    """Execute a notebook in place, in a clean kernel that starts in the folder of the repository.

    Args:
        notebook: notebook from nbformat.
        run: run directory, for a notebook whose `parameters` cell has RUN.
        timeout: int, the time limit of a cell in seconds.
        **parameters: other variables to set after the `parameters` cell.

    Raises:
        NotebookFailure: a cell raised an error, warned or wrote to standard error.
    """
    at = parameters_at(notebook)
    if run is not None and takes_run(notebook):
        parameters["RUN"] = str(run)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    added = [nbformat.v4.new_code_cell(STRICT)]
    notebook.cells.insert(0, added[0])
    if parameters and at is None:
        raise NotebookFailure(f"expected a cell tagged parameters for {', '.join(parameters)}, received none")
    if parameters:
        source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        added.append(nbformat.v4.new_code_cell(source))
        notebook.cells.insert(at + 2, added[1])
    try:
        NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(ROOT)}}).execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise NotebookFailure(_last_line(error)) from None
    for cell in added:
        notebook.cells.remove(cell)
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise NotebookFailure(f"cell {number} wrote to standard error: {output.text.strip()}")
            if "execution_count" in output:
                output.execution_count = number


def _last_line(error):
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return lines[-1]


def write_page(notebook, path, source=ROOT, switch=SWITCH):
    """Write an executed notebook as one HTML file that includes its images and formulas.

    Args:
        notebook: notebook from nbformat.
        path: Path; its folder is created if needed.
        source: Path of the folder of the notebook, to which its links are relative.
        switch: HTML at the top of the page.

    Returns:
        path.
    """
    from nbconvert import HTMLExporter

    notebook = nbformat.from_dict(notebook)
    formulas = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _formulas_out(cell.source, formulas)
    exporter = HTMLExporter(
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        mathjax_url="",
        require_js_url="",
        embed_images=True,
    )
    page, _ = exporter.from_notebook_node(
        notebook, {"metadata": {"name": _title(notebook), "path": str(source)}}
    )
    page = re.sub(r"@@(\d+)@@", lambda match: formulas[int(match[1])], page)
    page = re.sub(r'<script[^>]*src="[^"]*"[^>]*>\s*</script>', "", page)
    page = re.sub(r'<script type="text/x-mathjax-config">.*?</script>', "", page, flags=re.DOTALL)
    for alt in _alternative_texts(notebook):
        page = page.replace(NO_ALT, f'alt="{html.escape(alt)}"', 1)
    page = re.sub(r'href="(?![a-z]+:|#)([^"]+)"', lambda match: _link(match[1], source, path), page)
    page = page.replace("</head>", f"<style>\n{_style()}</style></head>", 1)
    page = re.sub(r"(<body[^>]*>)", lambda match: match[1] + switch, page, count=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _style():
    font = base64.b64encode(FONT.read_bytes()).decode()
    face = f'@font-face {{ font-family: "Page Math"; src: url(data:font/woff;base64,{font}); }}\n'
    return face + STYLE.read_text(encoding="utf-8")


def _link(target, source, path):
    """Return the href of a page of the report in place of its source, and of every other file where it is."""
    file, _, anchor = unquote(target).partition("#")
    found = (source / file).resolve()
    if found in (*TEXTS, *NOTEBOOKS):
        report = path.parents[len(source.relative_to(ROOT).parts)]
        found = (report / found.relative_to(ROOT)).with_suffix(".html").resolve()
    relative = os.path.relpath(found, path.parent.resolve())
    return f'href="{quote(relative)}{f"#{anchor}" if anchor else ""}"'


def write_text(source, output):
    """Write a Markdown page of the repository as a page of the report; headings have the anchors of GitHub.

    Args:
        source: Path.
        output: Path of the folder of the report.

    Returns:
        Path of the page.
    """
    text = re.sub(r"<!--.*?-->\n?", "", source.read_text(encoding="utf-8"))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    path = (output / source.relative_to(ROOT)).with_suffix(".html")
    home = f'<a class="switch" href="{os.path.relpath(output / "index.html", path.parent)}">all pages</a>'
    write_page(book, path, source.parent, home)
    page = path.read_text(encoding="utf-8")
    own = r'(<h\d id="|class="anchor-link" href="#)([^"]*)"'
    page = re.sub(own, lambda match: f'{match[1]}{_anchor(match[2])}"', page)
    path.write_text(page, encoding="utf-8")
    return path


def _anchor(heading):
    """The anchor that GitHub gives a heading, from the one that nbconvert gives it."""
    return re.sub(r"[^\w-]", "", html.unescape(heading).lower())


def write_index(output):
    """Write index.html, which lists the pages of the report, and return its Path."""
    lines = ["# Report\n", "The notebooks, as last executed:\n"]
    lines += [f"- [{_title(read(path))}]({path.name})" for path in NOTEBOOKS]
    lines += ["\nThe documentation and the results:\n"]
    lines += [f"- [{path.relative_to(ROOT)}]({path.relative_to(ROOT)})" for path in TEXTS]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("\n".join(lines))])
    return write_page(book, output / "index.html", switch="")


def _alternative_texts(notebook):
    """List the alternative texts of the images in order, because the template of the page ignores them."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    images = [output for output in outputs if "image/png" in output.get("data", {})]
    return [image.metadata.get("image/png", {}).get("alt", "") for image in images]


def _formulas_out(source, formulas):
    """Replace $...$ and $$...$$ by placeholders, and append their MathML, which browsers can draw."""
    from latex2mathml.converter import convert

    def placeholder(match):
        display = "block" if match[1] is not None else "inline"
        latex = (match[1] or match[2]).replace(r"\,", r"\thinspace ").replace(r"\!", "")
        try:
            formula = convert(latex, display=display)
        except Exception as error:  # every kind of invalid formula raises another class
            raise NotebookFailure(f"expected a formula in LaTeX, received {latex!r}: {error!r}") from None
        formulas.append(f'<span class="formula">{formula}</span>' if display == "block" else formula)
        return f"@@{len(formulas) - 1}@@"

    def outside_code(match):
        return match[0] if match[0].startswith("`") else placeholder(match)

    return re.sub(r"```.*?```|`[^`]+`|\$\$(.+?)\$\$|\$([^$]+?)\$", outside_code, source, flags=re.DOTALL)


def _title(notebook):
    lines = "".join(cell.source for cell in notebook.cells[:1]).splitlines()
    return html.escape(lines[0].lstrip("# ")) if lines else "Notebook"


if __name__ == "__main__":
    sys.exit(main())
