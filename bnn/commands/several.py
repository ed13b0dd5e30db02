"""What several programs print: the accuracy of a run, runs side by side, the list of runs."""

from pathlib import Path

from bnn.commands import figures
from bnn.console import progress

USUAL = Path("runs")  # the default folder of runs


def print_accuracy(run, origin, accuracy):
    """Print which network a run holds, its test accuracy and, if it was trained in another one, its arithmetic.

    Args:
        run: Run.
        origin: str, the data that it was trained on.
        accuracy: str.
    """
    print(f"{run.folder}: {run.kind} network, {origin}")
    print(f"test accuracy {accuracy}")
    if run.arithmetic:
        print(run.arithmetic)


def compare(networks, output, data_dir, wide=False, page=None):
    """Print runs side by side, and write files if an output folder is given.

    Args:
        networks: list of Path, run directories or folders of seeds.
        output: Path of a folder for comparison.csv, .json, .png and .pdf, or None.
        data_dir: Path or None.
        wide: whether to print every statistic.
        page: Path of a file for the comparison as one page, or None.
    """
    from bnn import plots
    from bnn.analysis import compare

    compared = compare(networks, data_dir=data_dir, save=True, progress=progress)
    print(f"{compared.text(wide)}\n")
    if page:
        from bnn import pages

        print(f"wrote {pages.write(compared, page)}")
    if output is None and page is None:
        print("each run's statistics are in its metrics.json; --output DIR writes the comparison")
    if output is None:
        return
    paths = compared.save(output)
    with figures.expected("comparison", kept=", ".join(map(str, paths))):
        figures.print_key(runs=[group.name for group in compared.groups], layers=compared.layers)
        paths += plots.save(plots.side_by_side(compared), output / "comparison", ("png", "pdf"))
    print(f"wrote {', '.join(map(str, paths))}")


def list_runs():
    """Print the runs in the usual folder."""
    from bnn.runs import listing

    print(listing.text(USUAL))
