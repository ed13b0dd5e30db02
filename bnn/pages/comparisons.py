"""The page of several runs side by side: what differs, accuracies, one row per layer and group."""

import math

from bnn.analysis.core import findings, statistics
from bnn.analysis.side_by_side import SHOWN
from bnn.console.spelling import words
from bnn.pages import networks, parts


def page(comparison):
    """Return the title and the body of the page of a Comparison."""
    groups, names = comparison.groups, [group.name for group in comparison.groups]
    title = (
        f"Geometry of {' and '.join(names)}"
        if len(names) <= 3
        else f"Geometry of {len(names)} groups of runs"
    )
    found = [(group.name, finding) for group in groups for finding in findings.find(_means(group))]
    flagged = {((finding.layer, name), finding.rule.keys[0]) for name, finding in found}
    rows = [
        ((layer, group.name), _pooled(group.layers[layer]))
        for layer in comparison.layers
        for group in groups
        if layer in group.layers
    ]
    body = [
        f"<h1>{parts.text(title)}</h1>",
        "<p class='lead'>± is the standard deviation over the seeds of a group. Angles are in degrees.</p>",
        _runs(comparison),
        f"<h2>Layers</h2>{parts.statistics_table(['layer', 'run'], rows, SHOWN, flagged)}",
        parts.standing_out(found),
        parts.figures({"side_by_side": lambda: _drawn(comparison)}),
        parts.meanings(_keys(comparison)),
        f"<h2>Settings and provenance</h2>{''.join(map(_group, groups))}",
    ]
    return title, "\n".join(body)


def _drawn(comparison):
    from bnn import plots

    return plots.side_by_side(comparison)


def _means(group):
    return [
        {"layer": layer} | {key: pooled and pooled.mean for key, pooled in values.items()}
        for layer, values in group.layers.items()
    ]


def _pooled(values):
    """Of each statistic the mean, by which rows are sorted, and the text that shows it; None if it was not measured."""
    return {
        key: pooled
        if pooled is None or math.isnan(pooled.mean)
        else (pooled.mean, pooled.text(statistics.decimals(key)))
        for key, pooled in values.items()
    }


def _keys(comparison):
    held = {key for group in comparison.groups for values in group.layers.values() for key in values}
    return [one.key for one in statistics.STATISTICS if one.key == "layer" or one.key in held]


def _runs(comparison):
    names = [group.name for group in comparison.groups]
    rows = [[name, *map(words, values)] for name, values in comparison.differences.items()]
    return parts.table(["", *names], [*rows, *comparison.accuracies()[1:]])


def _group(group):
    first = group.runs[0]
    settings = f"<div class='groups'>{networks.of_run(first)}</div>"
    return f"<details><summary>{parts.text(group.description)}</summary>{settings}</details>"
