"""The notebook of the theory runs in a new kernel without errors or warnings, and is committed with its output."""

import ast

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import ROOT, code, images

PATH = ROOT / "hd_figures.ipynb"
# TensorFlow's own imports use deprecated functions; all other warnings are errors.
STRICT = (
    "import warnings\nwarnings.simplefilter('error')\nwarnings.simplefilter('default', DeprecationWarning)"
)


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(PATH, as_version=4)


@pytest.fixture(scope="module")
def executed(committed):
    notebook = nbformat.from_dict(committed)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    return notebook


def test_the_notebook_writes_nothing_to_stderr(executed):
    outputs = [output for cell in code(executed) for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_the_committed_output_equals_that_of_the_execution(committed, executed):
    cells = code(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    texts = [
        "".join(o.text for cell in code(n) for o in cell.outputs if "text" in o)
        for n in (committed, executed)
    ]
    assert texts[0] == texts[1] != ""
    assert len(images(committed)) == len(images(executed)) == 13
    assert PATH.stat().st_size < 2_000_000


def test_every_figure_has_an_alternative_text(committed):
    for output in images(committed):
        assert len(output.metadata["image/png"]["alt"]) > 60


def test_cells_are_short_and_define_nothing(committed):
    for cell in code(committed):
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
        assert len(cell.source.splitlines()) <= 25


def test_kernel_and_parameters(committed):
    assert committed.metadata.kernelspec.name == "python3"
    assert [cell.metadata.get("tags") for cell in code(committed)].count(["parameters"]) == 1
