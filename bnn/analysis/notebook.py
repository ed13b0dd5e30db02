"""What a notebook needs around its figures: the run it is about, and tables."""

from pathlib import Path

from bnn import datasets, runs
from bnn.analysis import statistics
from bnn.config import ConfigError
from bnn.tables import aligned, html_table


class NotebookError(runs.RunError):
    """Something that the reader can mend; a notebook shows its one sentence and no traceback."""

    def _render_traceback_(self):  # IPython's hook
        return [f"error: {self}"]


def open_run(folder=None):
    """A run with its data and its best network.

    Args:
        folder: a run directory, or None for `best_run()`.

    Returns:
        (Run, DataSet, keras.Model)

    Raises:
        NotebookError: there is no such run, it has no network yet, it is a continuous one, or its data are missing.
    """
    try:
        run = runs.open_run(folder) if folder is not None else best_run()
        if run.model.continuous:
            raise NotebookError(
                f"{run.folder}: expected a binary or ternary network, received a continuous one"
            )
        data_set = datasets.load(run.training.data_set)
        run.expect_fit(data_set)
        return run, data_set, run.load_model("best")
    except (runs.RunError, datasets.DataError, ConfigError) as error:
        raise NotebookError(str(error)) from None


def best_run(folder="runs"):
    """Of the binary and ternary runs in a folder the one of best validation accuracy, of equals the newest.

    Raises:
        NotebookError: there is none.
    """
    found = []
    for path in Path(folder).glob("*/best.keras"):
        try:
            run = runs.open_run(path.parent)
            best = max(row["val_accuracy"] for row in run.log())
        except (runs.RunError, ValueError):
            continue  # damaged or just begun: not what a default should pick
        if not run.model.continuous and not run.training.debug:
            found.append((best, path.stat().st_mtime, run))
    if not found:
        raise NotebookError(f"{folder}/: expected a run of a binary or ternary network, received none; "
                            f"make one with make demo, or name another with RUN")  # fmt: skip
    return max(found, key=lambda entry: entry[:2])[2]


def table(rows, columns, caption):
    """Show rows of statistics as a table; a wide one scrolls by itself and leaves the page alone.

    Args:
        rows: list of dicts, such as `LayerReport.statistics` and `paper.beside` give.
        columns: list of their keys.
        caption: str, what the table is about.
    """
    from IPython.display import display

    heads, lines = [statistics.title(key) for key in columns], statistics.cells(rows, columns)
    page, text = html_table([heads, *lines], caption), f"{caption}\n{aligned([heads, *lines])}"
    display({"text/html": page, "text/plain": text}, raw=True)
