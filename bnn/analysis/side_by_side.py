"""Runs side by side: pooled over their seeds, with the settings in which they differ."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from bnn import runs
from bnn.analysis.core import statistics
from bnn.analysis.core.comparison import Pooled, pool, pool_rows
from bnn.console import silent
from bnn.console.arguments import expanded
from bnn.console.spelling import words
from bnn.console.tables import aligned, html_table
from bnn.files import atomic
from bnn.runs import listing, summary
from bnn.runs.log import is_measured

SHOWN = ("angle_mean_deg", "gain", "r_weights")  # statistics in the table; the files hold all
# Of metrics.json, equal for seeds that are pooled, with the title of their row in the table.
CONDITIONS = {
    "precision": "computed in",
    "images": "images for statistics",
    "quantizer": "quantizer given",
    "activations": "activations given",
}
COLUMNS = ("group", "runs", "layer", "statistic", "mean", "std", "n")


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed.

    Attributes:
        name: str, a heading: the name of the run, or of the folder of the seeds.
        runs: tuple of Run, in the order of their seeds.
        test_accuracy: Pooled, in [0, 1]; None if it is not known of all runs.
        val_accuracy: Pooled, the best of each run, in [0, 1]; None if a run has no log.
        layers: dict from each layer to a dict from a statistic to Pooled or None.
        conditions: dict from "precision", the arithmetic in which test accuracy and statistics were computed, and from
            "images", "quantizer" and "activations", see `Report.about`, to their values; None if they are not known.
    """

    name: str
    runs: tuple[runs.Run, ...]
    test_accuracy: Pooled | None
    val_accuracy: Pooled | None
    layers: dict[str, dict[str, Pooled | None]]
    conditions: dict

    @property
    def description(self):
        """The name, the number of runs and their seeds, a str."""
        seeds = ", ".join(str(run.training.seed) for run in self.runs)
        folder = self.runs[0].folder.parent if len(self.runs) > 1 else self.runs[0].folder
        noun = f"{len(self.runs)} seeds" if len(self.runs) > 1 else "seed"
        return f"{self.name}: {folder}, {noun} {seeds}"


class Comparison:
    """Groups of runs side by side. Printed, and as the last line of a notebook's cell, it is a table.

    Attributes:
        groups: tuple of Group, in the order in which their first runs were given.
        differences: dict from each setting in which the groups differ to the list of its values, one per group.
    """

    def __init__(self, groups):
        self.groups = tuple(groups)
        self.differences = _differences([group.runs[0] for group in groups])

    @property
    def layers(self):
        """The names of all layers, in the order of the network with the most, a list of str."""
        networks = sorted((group.layers for group in self.groups), key=len, reverse=True)
        return list(dict.fromkeys(layer for layers in networks for layer in layers))

    def __repr__(self):
        return self.text()

    def text(self, wide=False):
        """Return what differs, the accuracies and one row per layer, as text; with `wide`, every statistic.

        The statistics are in blocks of columns, each at most 80 columns wide if a single statistic is not wider.
        """
        parts = ["\n".join(group.description for group in self.groups)]
        if len(self.groups) > 1:
            parts.append(self._differing())
        blocks = self._blocks([s.key for s in statistics.STATISTICS if s.key != "layer"] if wide else SHOWN)
        return "\n\n".join([*parts, aligned(self.accuracies()), *blocks])

    def _differing(self):
        if not self.differences:
            return "the settings do not differ"
        rows = [[name, *map(words, values)] for name, values in self.differences.items()]
        return aligned([["settings that differ", *self._names()], *rows])

    def _names(self):
        return [group.name for group in self.groups]

    def accuracies(self):
        """Return the accuracies and conditions, lists of texts: a heading, then one row for each."""
        tests, bests = (
            [_text(getattr(group, name), 4) for group in self.groups]
            for name in ("test_accuracy", "val_accuracy")
        )
        rows = [["test accuracy", *tests], *self._conditions(), ["best val_accuracy", *bests]]
        return [["", *self._names()], *rows]

    def _conditions(self):
        """Return the row of the arithmetic, and those of other conditions in which the groups differ."""
        rows = {name: [group.conditions[name] for group in self.groups] for name in CONDITIONS}
        return [
            [CONDITIONS[name], *("-" if value is None else str(value) for value in values)]
            for name, values in rows.items()
            if name == "precision" or len(set(values)) > 1
        ]

    def _blocks(self, keys):
        """Return the table of the layers as texts, with as many statistics in each as fit."""
        blocks, block = [], []
        for key in keys:
            if block and len(aligned(self._lines([*block, key])).partition("\n")[0]) > statistics.WIDTH:
                blocks.append(block)
                block = []
            block = [*block, key]
        return [aligned(self._lines(block)) for block in [*blocks, block]]

    def _lines(self, keys):
        """Return the table of the layers, lists of texts; the first two are headings."""
        found, names = [statistics.find(key) for key in keys], self._names()
        above = [text for one in found for text in (one.heading, *[""] * (len(names) - 1))]
        rows = [[layer, *self._cells(layer, found)] for layer in self.layers]
        return [["", *above], ["layer", *names * len(found)], *rows]

    def _cells(self, layer, found):
        held = [group.layers.get(layer, {}) for group in self.groups]
        return [_text(values.get(one.key), one.decimals) for one in found for values in held]

    def _repr_html_(self):  # IPython's hook
        differences = [[name, *map(words, values)] for name, values in self.differences.items()]
        rows = [["", *self._names()], *differences, *self.accuracies()[1:]]
        return html_table(rows, "runs") + html_table(self._lines(SHOWN), "layers (angles in degrees)")

    def rows(self):
        """Return all statistics in long form, a list of dicts with the keys `COLUMNS`; an accuracy has no layer."""
        return [
            {
                "group": group.name,
                "runs": " ".join(str(run.folder) for run in group.runs),
                "layer": layer,
                "statistic": key,
                "mean": pooled.mean,
                "std": pooled.std,
                "n": pooled.n,
            }
            for group in self.groups
            for layer, values in {"": _accuracies(group), **group.layers}.items()
            for key, pooled in values.items()
            if pooled is not None
        ]

    def save(self, folder):
        """Write comparison.csv and comparison.json into a folder, which is created if needed.

        Returns:
            List of the two Paths.
        """
        folder = expanded(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "comparison.csv", folder / "comparison.json"]
        atomic.write_csv(paths[0], COLUMNS, self.rows())
        groups = [
            {
                "name": group.name,
                "runs": [str(run.folder) for run in group.runs],
                "seeds": [run.training.seed for run in group.runs],
                **group.conditions,
                **_json(_accuracies(group)),
                "layers": {layer: _json(values) for layer, values in group.layers.items()},
            }
            for group in self.groups
        ]
        atomic.write_json(paths[1], {"differences": self.differences, "groups": groups})
        return paths


def compare(networks, *, save=False, data_dir=None, progress=silent):
    """Compare runs; those that differ only in their seed are pooled.

    A run's metrics.json counts if no later checkpoint exists. Otherwise the run is analyzed.

    Args:
        networks: iterable of Run, or str or Path of run directories or of folders of seeds; or one of these. A run that
            is named twice counts once.
        save: bool, whether to write metrics.json and summary.txt into the runs that are analyzed.
        data_dir: folder of the data sets, or None for the default folder.
        progress: function that shows progress over the runs, such as `console.progress`.

    Returns:
        Comparison

    Raises:
        RunError, DataError: a run or its data cannot be read, or seeds were measured under different conditions.
        ValueError: there is no run.
    """
    networks = [networks] if isinstance(networks, str | Path | runs.Run) else networks
    found = []
    for network in networks:
        found += [network] if isinstance(network, runs.Run) else map(runs.open_run, listing.expand(network))
    found = list({run.folder.resolve(): run for run in found}.values())
    if not found:
        raise ValueError("networks: expected at least one run, received none")
    shown = progress(found, total=len(found), unit="run")
    measured = [(run, _metrics(run, save, data_dir)) for run in shown]
    grouped = {}
    for run, metrics in measured:
        grouped.setdefault(json.dumps(_settings(run), sort_keys=True), []).append((run, metrics))
    grouped = [sorted(members, key=lambda member: member[0].training.seed) for members in grouped.values()]
    for members in grouped:
        _expect_equal_conditions(members)
    names = _names([[run for run, _ in members] for members in grouped])
    return Comparison([_group(name, members) for name, members in zip(names, grouped, strict=True)])


def _expect_equal_conditions(measured):
    """Raise `RunError` unless runs that are pooled were measured in the same way: see `CONDITIONS`."""
    (first, reference), *others = measured
    for run, metrics in others:
        for name in CONDITIONS:
            expected, received = reference.get(name), metrics.get(name)
            if expected != received:
                raise runs.RunError(
                    f"{run.folder}: expected metrics.json with {name} {expected}, as in {first.folder}, received "
                    f"{received}; measure both anew with the same flags"
                )


def _metrics(run, save, data_dir):
    """Return what metrics.json holds, as measured before or now."""
    path = run.folder / "metrics.json"
    if is_measured(run):
        try:
            metrics = json.loads(path.read_text())
            rows = metrics["layers"]
            if isinstance(metrics, dict) and all("layer" in row for row in rows):
                # Earlier versions computed a run as it was trained, and did not say so.
                return {"precision": run.training.precision} | metrics
        except (ValueError, KeyError, TypeError):
            pass
        raise runs.RunError(f"{path}: expected the results of analyze.py, received a damaged file")
    from bnn.analysis.report import analyze

    report = analyze(run, data_dir=data_dir)
    if save:
        report.save(run.folder)
        summary.write(run, report)
    return report.about | {"layers": report.rows()}


def _settings(run):
    """Return the settings of a Run and the digest of its data, without the seed."""
    settings = run.config.flat() | {"data_sha256": run.data["digest"][:8]}
    return {name: value for name, value in settings.items() if name != "seed"}


def _differences(firsts):
    settings = [_settings(run) for run in firsts]
    values = {name: [one.get(name) for one in settings] for one in settings for name in one}
    return {name: held for name, held in values.items() if any(value != held[0] for value in held)}


def _names(groups):
    """Return the shortest headings that tell groups of runs apart."""
    folders = [group[0].folder.absolute() for group in groups]
    folders = [
        folder.parent if len(group) > 1 else folder for folder, group in zip(folders, groups, strict=True)
    ]
    names = [
        "/".join(folder.parts[-2:] if re.fullmatch(r"seed\d+", folder.name) else folder.parts[-1:])
        for folder in folders
    ]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({i})" for i, name in enumerate(names, 1)]


def _group(name, members):
    networks = tuple(run for run, _ in members)
    tests = [metrics.get("test_accuracy") for _, metrics in members]
    logs = [run.log() for run in networks]
    best = [max((row["val_accuracy"] for row in log), default=None) for log in logs]
    conditions = {name: members[0][1].get(name) for name in CONDITIONS}
    layers = pool_rows([metrics for _, metrics in members])
    return Group(name, networks, pool(tests), pool(best), layers, conditions)


def _accuracies(group):
    return {"test_accuracy": group.test_accuracy, "val_accuracy": group.val_accuracy}


def _json(values):
    return {key: pooled and vars(pooled) for key, pooled in values.items()}


def _text(pooled, decimals):
    return "-" if pooled is None else pooled.text(decimals)
