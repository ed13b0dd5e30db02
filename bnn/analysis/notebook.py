"""Helpers of the notebooks: open the run that a notebook shows, and display tables."""

from bnn import datasets, runs
from bnn.analysis.core import statistics
from bnn.console.tables import aligned, html_table
from bnn.settings.config import ConfigError


class NotebookError(runs.RunError):
    """An error that the reader can fix. A notebook shows its message in one line, without a traceback."""

    def _render_traceback_(self):  # IPython's hook
        return [f"error: {self}"]


def open_run(folder=None):
    """Open a run with its data and its best network.

    Args:
        folder: run directory, or None for `best_run()`.

    Returns:
        (Run, DataSet, keras.Model)

    Raises:
        NotebookError: the run does not exist, has no network yet or is continuous, or its data are missing.
    """
    try:
        run = runs.open_run(folder) if folder is not None else best_run()
        if run.config.quantization.continuous:
            raise NotebookError(
                f"{run.folder}: expected a binary or ternary network, received a continuous one"
            )
        data_set = run.load_data()
        run.expect_fit(data_set)
        return run, data_set, run.load_in_float32()
    except (runs.RunError, datasets.DataError, ConfigError) as error:
        raise NotebookError(str(error)) from None


def best_run(folder="runs"):
    """Find the binary or ternary run with the best validation accuracy in a folder; of equal runs, the newest.

    Raises:
        NotebookError: the folder contains no such run.
    """
    found = []
    for path in (place / "best.keras" for place in runs.find(folder)):
        if not path.is_file():
            continue
        try:
            run = runs.open_run(path.parent)
            best = max(row["val_accuracy"] for row in run.log())
        except (runs.RunError, ValueError):
            continue  # the run is damaged or has just started
        if not run.config.quantization.continuous and not run.training.debug:
            found.append((best, path.stat().st_mtime, run))
    if not found:
        raise NotebookError(
            f"{folder}/: expected a run of a binary or ternary network, received none; "
            f"create one with make demo, or set RUN to another run directory"
        )
    return max(found, key=lambda entry: entry[:2])[2]


def table(rows, columns, caption):
    """Show rows of statistics as a table. A wide table scrolls by itself, so the page does not scroll sideways.

    Args:
        rows: list of dicts, such as from `LayerReport.statistics` or `paper.beside`.
        columns: list of the keys to show.
        caption: str, the caption of the table.
    """
    from IPython.display import display

    heads, lines = [statistics.title(key) for key in columns], statistics.cells(rows, columns)
    page, text = html_table([heads, *lines], caption), f"{caption}\n{aligned([heads, *lines])}"
    display({"text/html": page, "text/plain": text}, raw=True)
