#!/usr/bin/env python3
"""Execute the notebooks in new kernels, and fail on any error or warning.

    python tools/notebooks.py check --run runs/demo   # keeps nothing
    python tools/notebooks.py write --run runs/demo   # keeps the outputs

With `check`, a notebook without a run must print what it stores.

Both actions apply to the notebooks of this repository, or to the given notebooks.
"""

import itertools
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn.console.arguments import Parser

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = (ROOT / "hd_figures.ipynb", ROOT / "gen_plots.ipynb", ROOT / "docs" / "ideas.ipynb")
# As in Python's default filters, deprecation warnings count only in our own code. All other warnings are errors.
STRICT = """import warnings
warnings.simplefilter("error")
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", PendingDeprecationWarning)
warnings.filterwarnings("error", category=DeprecationWarning, module="bnn|__main__")"""


class NotebookFailure(RuntimeError):
    """A notebook fails or warns. The message names the cell and the cause."""


def parse(argv=None):
    """Parse the command line."""
    parser = Parser(description=__doc__)
    flag = parser.add_argument
    flag("action", choices=("check", "write"), help="what to do, see above")
    flag(
        "notebooks",
        nargs="*",
        type=Path,
        default=NOTEBOOKS,
        metavar="NOTEBOOK",
        help="default: hd_figures.ipynb, gen_plots.ipynb and docs/ideas.ipynb",
    )
    flag("--run", metavar="RUN", help="run directory for a notebook that shows a run")
    flag("--figures", metavar="DIR", help="also save the figures in DIR/NOTEBOOK, as PDF, SVG and PNG")
    return parser.parse_args(argv)


def main():
    """Run the action of the command line. A failure prints one line and returns exit code 1."""
    args = parse()
    for path in args.notebooks:
        try:
            notebook = read(path)
            stored = outputs(notebook)
            saves = args.figures and parameters_at(notebook) is not None
            execute(notebook, args.run, **({"FIGURES": str(Path(args.figures) / path.stem)} if saves else {}))
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


if __name__ == "__main__":
    sys.exit(main())
