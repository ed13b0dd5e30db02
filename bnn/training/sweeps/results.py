"""The results of a sweep: the complete runs, pooled over their seeds, one row per setting."""

from dataclasses import dataclass

from bnn import console
from bnn.analysis.side_by_side import compare as compare_runs
from bnn.console.errors import RunError
from bnn.console.spelling import words
from bnn.console.tables import aligned, html_table
from bnn.files import atomic

ACCURACIES = ("test_accuracy", "val_accuracy")


@dataclass(frozen=True)
class Row:
    """The runs of one setting.

    Attributes:
        label: str, the varied settings but the seed, such as "levels 3, threshold 0.02".
        settings: dict of these.
        group: `bnn.analysis.side_by_side.Group`, with what is pooled over the seeds.
        seeds: int, how many seeds the sweep has for this setting; the group may have fewer.
    """

    label: str
    settings: dict
    group: object
    seeds: int


def compare(sweep, data_dir=None):
    """Return the Comparison of the complete runs of a Sweep; those that were not analyzed yet are.

    Raises:
        RunError: no run is complete.
    """
    found = sweep.runs
    if not found:
        raise RunError(f"{sweep.folder}: expected a sweep with complete trainings, received one without any")
    return compare_runs(found, save=True, data_dir=data_dir or sweep.data_dir, progress=console.progress)


def rows(sweep, comparison):
    """Return a Row for each setting of a Sweep with a complete run, in the order of the points."""
    groups = {run.folder.resolve(): group for group in comparison.groups for run in group.runs}
    found = {}
    for point in sweep.points:
        group = groups.get(sweep.run_dir(point).resolve())
        seeds = sum(other.label == point.label for other in sweep.points)
        if group is not None:
            settings = {name: value for name, value in point.settings.items() if name != "seed"}
            found.setdefault(point.label, Row(point.label or "all", settings, group, seeds))
    return [*found.values()]


def texts(found):
    """Return the table of Rows as rows of texts, the first one the headings."""
    names = list(dict.fromkeys(name for row in found for name in row.settings))
    lines = [[*names, "seeds", "test accuracy", "best val_accuracy"]]
    for row in found:
        settings = [words(row.settings[name]) if name in row.settings else "-" for name in names]
        done = len(row.group.runs)
        seeds = str(done) if done == row.seeds else f"{done} of {row.seeds}"
        pooled = [getattr(row.group, name) for name in ACCURACIES]
        lines.append([*settings, seeds, *("-" if one is None else one.text(4) for one in pooled)])
    return lines


def text(found):
    """Return the table of Rows as text."""
    return aligned(texts(found), left=True)


def html(found):
    """Return the table of Rows as HTML."""
    return html_table(texts(found))


def save(sweep, found, comparison):
    """Write table.csv, a row per setting, and the comparison of all statistics into the folder; the list of Paths."""
    names = list(dict.fromkeys(name for row in found for name in row.settings))
    path = sweep.folder / "table.csv"
    atomic.write_csv(path, [*names, "seeds", *_columns()], [_values(row) for row in found])
    return [path, *comparison.save(sweep.folder)]


def _columns():
    return [f"{name}{end}" for name in ACCURACIES for end in ("", "_std")]


def _values(row):
    found = {name: words(value) for name, value in row.settings.items()} | {"seeds": len(row.group.runs)}
    for name in ACCURACIES:
        pooled = getattr(row.group, name)
        if pooled is not None:
            found |= {name: pooled.mean, f"{name}_std": pooled.std}
    return found
