"""The notebook gen_plots.ipynb: its committed content, and its execution on other runs."""

import ast
import re

import nbformat
import numpy as np
import pytest

from bnn.analysis import notebook, paper
from bnn.console import tables
from bnn.runs import directory
from tests.support import ROOT, call, code, images, small_data, start
from tools import notebooks

PATHS = [ROOT / "gen_plots.ipynb", ROOT / "hd_figures.ipynb"]
TINY = {"IMAGES": 20, "REFIT_IMAGES": 100, "TEST_IMAGES": 50}
RUNS = {
    "binary": ("--conv", "4", "4", "--max_pool", "1", "1", "--fc", "8", "--log_geometry", "1"),
    "ternary": ("--conv", "--fc", "12", "8", "--levels", "3", "--threshold", "0.02"),
}


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: path.stem)
def committed(request):
    return nbformat.read(request.param, as_version=4)


def texts(book):
    return "".join(output.get("text", "") for cell in code(book) for output in cell.outputs)


def test_cells_are_short_and_define_nothing(committed):
    for cell in code(committed):
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
        assert len(cell.source.splitlines()) <= 25


def test_every_cell_is_executed_and_has_its_output(committed):
    cells = code(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        shows = re.search(r"\b(print|plots\.show|notebook\.table)\(", cell.source)
        assert bool(cell.outputs) == bool(shows), cell.source
        for output in cell.outputs:
            assert output.output_type in ("display_data", "stream")
            assert output.get("name") != "stderr"
            assert all(map(str.strip, output.get("data", {}).values())) or output.text.strip()


def test_every_figure_has_an_alternative_text(committed):
    assert images(committed)
    assert all(len(image.metadata["image/png"]["alt"]) > 60 for image in images(committed))


def test_the_notebook_of_the_theory_is_small_and_has_all_figures():
    book = nbformat.read(PATHS[1], as_version=4)
    assert len(images(book)) == 13
    assert texts(book) != ""
    assert PATHS[1].stat().st_size < 2_000_000
    assert book.metadata.kernelspec.name == "python3"
    assert [cell.metadata.get("tags") for cell in code(book)].count(["parameters"]) == 1


def test_no_statistic_is_typed_by_hand():
    cells = code(nbformat.read(PATHS[0], as_version=4))
    numbers = [
        n.value for cell in cells for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Constant)
    ]
    assert not [n for n in numbers if isinstance(n, float)]


def test_the_run_is_a_parameter():
    (cell,) = [
        c for c in code(nbformat.read(PATHS[0], as_version=4)) if "parameters" in c.metadata.get("tags", ())
    ]
    assert ast.parse(cell.source).body[0].targets[0].id == "RUN"
    assert cell.source.startswith('RUN = "results/cifar-10-binary/seed0"')


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_the_notebook_executes_on_a_run(kind, tmp_path):
    training = ("--data_set", "mnist-5k", *RUNS[kind], "--epochs", "2", "--run_dir", tmp_path / "run")
    assert call("train.py", *training).returncode == 0
    book = nbformat.read(PATHS[0], as_version=4)
    notebooks.execute(book, tmp_path / "run", FIGURES=str(tmp_path / "figures"), **TINY)
    assert len(images(book)) == {"binary": 14, "ternary": 13}[kind]
    assert len(list((tmp_path / "figures").iterdir())) == 3 * len(images(book))
    assert f"a {kind} network" in texts(book)
    assert ("logged no geometry" in texts(book)) == (kind == "ternary")


@pytest.mark.slow
def test_a_missing_run_is_one_line():
    book = nbformat.read(PATHS[0], as_version=4)
    with pytest.raises(notebooks.NotebookFailure) as failure:
        notebooks.execute(book, "runs/none")
    assert str(failure.value) == (
        "error: runs/none: expected a run directory with config.json, received no such folder"
    )


def test_errors_that_a_reader_can_correct_have_no_traceback(tmp_path):
    with pytest.raises(notebook.NotebookError, match="received no such folder") as error:
        notebook.open_run(tmp_path / "none")
    assert error.value._render_traceback_() == [f"error: {error.value}"]


@pytest.fixture
def several(tmp_path):
    """A folder of runs of several kinds and accuracies; one is damaged and one has only begun."""
    data = small_data()
    made = {
        "poor": ("binary", 0.5),
        "best": ("ternary", 0.8),
        "real": ("continuous", 0.9),
        "damaged": ("binary", 0.95),
    }
    for name, (kind, accuracy) in made.items():
        model, run = start(tmp_path / name, data, kind)
        row = dict.fromkeys(directory.LOG_COLUMNS, 0.5) | {"epoch": 1, "val_accuracy": accuracy}
        run.write_log([row])
        run.save_model(model, "best")
    (tmp_path / "damaged" / "config.json").write_text("{")
    (tmp_path / "begun").mkdir()
    return tmp_path


def test_the_best_quantized_run_is_picked(several):
    assert notebook.best_run(several).folder == several / "best"


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(
        notebook.NotebookError, match="expected a run of a binary or ternary network, received none"
    ):
        notebook.best_run(tmp_path)


def test_a_continuous_run_is_refused(several):
    with pytest.raises(
        notebook.NotebookError, match="expected a binary or ternary network, received a continuous"
    ):
        notebook.open_run(several / "real")


def test_missing_data_are_reported(tmp_path, monkeypatch):
    data = small_data()
    _, run = start(tmp_path / "run", data)
    monkeypatch.setattr("bnn.datasets.load", _no_data)
    with pytest.raises(notebook.NotebookError, match="no files; download them"):
        notebook.open_run(run.folder)


def _no_data(*_):
    raise notebook.datasets.DataError("no files; download them")


def test_values_of_the_paper_are_shown_for_layers_of_the_same_name():
    keys = dict.fromkeys(("r_weights", "r_permuted", "r_activations"), 0.5)
    rows = paper.beside([{"layer": "conv_1", **keys}, {"layer": "dense_1", **keys}])
    assert (rows[0]["paper_r_weights"], rows[0]["paper_r_permuted"], rows[0]["paper_r_activations"]) == (
        0.56,
        0.81,
        None,
    )
    assert rows[1]["paper_r_weights"] is None


def test_tables_show_every_row(capsys):
    pytest.importorskip("IPython")
    notebook.table(
        [{"layer": "conv_<1>", "d": 9, "zeros": 0.25, "r_activations": None}], ["layer", "d", "zeros"], "One"
    )
    assert tables.cell(None) == "-"
    assert tables.cell(np.pi) == "3.142"
    assert tables.cell(27) == "27"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import warnings; warnings.warn('odd', stacklevel=1)", "UserWarning: odd"),
        ("import sys; print('odd', file=sys.stderr)", "cell 2 wrote to standard error: odd"),
        ("1 / RUN", "ZeroDivisionError: division by zero"),
    ],
)
def test_warnings_and_errors_fail_a_notebook(source, said):
    first = nbformat.v4.new_code_cell("RUN = 1", metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(cells=[first, nbformat.v4.new_code_cell(source)])
    with pytest.raises(notebooks.NotebookFailure, match=said):
        notebooks.execute(book, RUN=0)


def test_a_notebook_without_parameters_is_refused_where_one_is_to_be_set():
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    with pytest.raises(notebooks.NotebookFailure, match="expected a cell tagged parameters for FIGURES"):
        notebooks.execute(book, FIGURES="x")


def test_execution_leaves_only_the_notebooks_own_cells():
    first = nbformat.v4.new_code_cell("RUN = 1", metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(cells=[first, nbformat.v4.new_code_cell("print(RUN)")])
    notebooks.execute(book, "runs/x")
    assert [cell.source for cell in book.cells] == ["RUN = 1", "print(RUN)"]
    assert [cell.execution_count for cell in book.cells] == [1, 2]
    assert texts(book) == "runs/x\n"
