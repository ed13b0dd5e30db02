"""tools/notebooks.py: a notebook that no longer prints what it stores is found."""

import nbformat

from tests.support import call


def test_check_compares_the_printed_text_with_the_stored_one(tmp_path):
    path = tmp_path / "sum.ipynb"
    cell = nbformat.v4.new_code_cell("print('one')\nprint(1 + 1)")
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="one\n3\n")]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    done = call("tools/notebooks.py", "check", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "sum.ipynb: cell 1: expected the stored line '3', received '2'"
