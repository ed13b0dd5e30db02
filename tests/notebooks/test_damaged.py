"""Corrupted notebooks give one line that names the file, or are read."""

import nbformat

from tests.guarantees.test_fuzz_files import campaign, fuzz
from tools import notebooks


@campaign(100, 3000)
def test_corrupted_notebooks(tmp_path, cases):
    cells = [
        nbformat.v4.new_markdown_cell("# A title\nand $x^2$", id="first"),
        nbformat.v4.new_code_cell(
            "1 + 1", outputs=[nbformat.v4.new_output("stream", text="2")], execution_count=1, id="second"
        ),
    ]
    path = tmp_path / "book.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)

    def read():
        return notebooks.outputs(notebooks.read(path))

    fuzz(path, cases, read, lambda found: found is not None, notebooks.NotebookFailure, "expected a notebook")
