#!/usr/bin/env python3
"""Fill the tables of results/README.md, of the README above and of docs/ beside it.

They come from the folders that tools/publish.py made, and from the table of statistics of the library.

    python tools/results.py write    # replace every table by what the folders say now
    python tools/results.py check    # exit code 1 if one is out of step

A table stands between `<!-- table: NAME GROUP ... -->` and `<!-- end -->`. NAME is one of `TABLES` below; a GROUP, if
it takes any, is a folder whose subfolders are runs that differ in their seed alone: shown are mean and standard
deviation.
"""

import argparse
import csv
import json
import math
import re
import sys
from pathlib import Path
from statistics import linear_regression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn import paper, runs
from bnn.analysis import comparison, statistics
from bnn.console import run_program
from bnn.estimators import ESTIMATORS
from bnn.files import atomic

TABLE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


class Published:
    """A published run: its settings, log, statistics and ablation."""

    def __init__(self, folder):
        self.folder, self.run = folder, runs.open_run(folder)
        self.log = self.run.log()
        self.config = json.loads((folder / "config.json").read_text())
        self.metrics, self.layers = _metrics(folder / "metrics.json")
        self.unbinarized = _ablation(folder / "unbinarized.csv")


def _metrics(path):
    """What tools/publish.py measured, and in it the row of each layer by its name."""
    try:
        metrics = json.loads(path.read_text())
        return metrics, {row["layer"]: row for row in metrics["layers"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise runs.RunError(
            f"{path}: expected what tools/publish.py measured, received a damaged file"
        ) from None


def _ablation(path):
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {(row["what"], row["layer"]): float(row["refitted"]) for row in csv.DictReader(file)}


def group(folder):
    """The published runs of a group, in the order of their folders' names."""
    folders = sorted(path.parent for path in folder.glob("*/metrics.json"))
    if not folders:
        raise runs.RunError(f"{folder}: expected a folder of published runs, received none")
    return [Published(folder) for folder in folders]


def mean(values, decimals=3):
    """Mean and standard deviation over seeds as text; a dash where a value is missing."""
    pooled = comparison.pool(values)
    return pooled.text(decimals) if pooled else "-"


def markdown(heads, rows):
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def list_of_runs(*groups):
    """Every run with what it took."""
    heads = ["run", "epochs", "batch", "precision", "test accuracy", "hours", "commit", "command"]
    rows = []
    for published in (p for folder in groups for p in group(folder)):
        training, config = published.run.training, published.config
        done = f"{len(published.log)} of {training.epochs}"
        hours = sum(row["seconds"] for row in published.log) / 3600
        command = " ".join(word for word in config["command"] if word)
        rows.append([
            _link(published.folder), done,
            str(training.batch_size), training.precision, f"{published.metrics['test_accuracy']:.4f}", f"{hours:.1f}",
            config["git_commit"][:7], f"`{command}`",
        ])  # fmt: skip
    return markdown(heads, rows)


def _link(folder):
    name = f"{folder.parent.name}/{folder.name}"
    return f"[{name}]({name})"


def correlations(folder):
    """The paper's correlations beside ours, a row a layer."""
    seeds = group(folder)
    kinds = {
        "r_weights": paper.R_WEIGHTS,
        "r_permuted": paper.R_PERMUTED,
        "r_activations": paper.R_ACTIVATIONS,
    }
    heads = [
        "layer",
        "Fig 3: paper",
        "ours",
        "Fig 4 right: paper",
        "ours",
        "Fig 5: paper",
        "ours",
        "flips",
    ]
    rows = []
    for layer in seeds[0].layers:
        cells = [layer]
        for key, published in kinds.items():
            cells += [
                f"{published[layer]:.2f}" if layer in published else "-",
                mean(p.layers[layer][key] for p in seeds),
            ]
        rows.append([*cells, mean(p.layers[layer]["sign_flips"] for p in seeds)])
    return markdown(heads, rows)


def angles(folder):
    """Angles, their spread and what Gaussian weights would show, one row per layer."""
    return _columns(folder, ("angle_mean_deg", "angle_std_deg", "angle_theory_deg", "latent_std", "zeros"))


def geometry(folder):
    """What a network shows that the paper has no values for, one row per layer."""
    return _columns(folder, (
        "angle_mean_deg", "angle_std_deg", "angle_theory_deg", "gain", "r_within", "r_two_numbers", "r_weights",
        "r_permuted", "r_activations", "sign_flips", "latent_std", "zeros",
    ))  # fmt: skip


def _columns(folder, keys):
    """The statistics of these keys, one row per layer."""
    seeds = group(folder)
    rows = [
        [
            layer,
            str(row["d"]),
            *(mean((p.layers[layer].get(key) for p in seeds), _decimals(key)) for key in keys),
        ]
        for layer, row in seeds[0].layers.items()
    ]
    return markdown(["layer", "d", *(statistics.find(key).title for key in keys)], rows)


def _decimals(key):
    """As of a single network, but for what seeds agree on less."""
    return min(statistics.decimals(key), 3)


def statistics_table():
    """What every statistic is, one row for each: the documentation's table."""
    rows = [[s.heading, f"`{s.key}`", s.unit, s.meaning, s.definition] for s in statistics.STATISTICS]
    return markdown(["column", "key", "unit", "meaning", "defined in"], rows)


def unbinarized(folder):
    """Accuracy, in %, with quantizers taken out and batch norm refitted, a row a network."""
    seeds = group(folder)
    rows = [
        [what, layer, mean(100 * p.unbinarized[what, layer] for p in seeds)]
        for what, layer in seeds[0].unbinarized
    ]
    return markdown(["continuous", "layer", "accuracy, %"], rows)


def summary(folder):
    """The paper's values beside ours, one row per claim; a dash where a run was published without the ablation."""
    return markdown(["", "paper", "ours"], _claims(folder))


def headline(folder):
    """The five rows of `summary` that the README shows, with shorter names."""
    names = {
        0: "r of dot products with binarized and with latent kernels, conv_1 to conv_6 (Fig 3)",
        1: "the same r after the activations are permuted (Fig 4, right)",
        2: "r of dot products with binarized and with real activations, conv_2 to conv_6 (Fig 5)",
        3: "angle between binarized and latent kernels in degrees, conv_1 to conv_6 (Fig 2b)",
        -1: "accuracy lost with continuous kernels in all convolutions, in points",
    }
    claims = _claims(folder)
    return markdown(["", "paper", "ours"], [[name, *claims[i][1:]] for i, name in names.items()])


def _claims(folder):
    """[claim, the paper's value, ours] for each claim."""
    seeds = group(folder)

    def each(key, layers, decimals=2):
        return ", ".join(mean((p.layers[layer][key] for p in seeds), decimals) for layer in layers)

    beside = {
        "latent kernels, conv_1 ... conv_6 (Fig 3)": ("r_weights", paper.R_WEIGHTS),
        "latent kernels, activations permuted (Fig 4 right)": ("r_permuted", paper.R_PERMUTED),
        "real activations, conv_2 ... conv_6 (Fig 5)": ("r_activations", paper.R_ACTIVATIONS),
    }
    rows = [
        [f"r of dot products, binarized with {what}", ", ".join(f"{r:.2f}" for r in published.values()),
         each(key, published)]
        for what, (key, published) in beside.items()
    ]  # fmt: skip
    rows.append(["angle of binarized and latent kernels, degrees, conv_1 ... conv_6 (Fig 2b)", "near 37",
                 each("angle_mean_deg", paper.LAYERS, 1)])  # fmt: skip
    slopes = [_spread_slope(p.layers.values()) for p in seeds]
    rows.append(["slope of log spread of that angle against log d (Fig 2c)", "-0.5", mean(slopes, 2)])
    rows += [
        [f"variance in {n} components of the first layer's patches", f"{100 * share:g} %",
         mean((100 * p.metrics["patch_variance"][str(n)] for p in seeds), 1) + " %"]
        for n, share in paper.PATCH_VARIANCE.items()
    ]  # fmt: skip
    rows.append(["accuracy lost with continuous kernels in all convolutions, points",
                 f"{100 * paper.CONTINUOUS_KERNELS_COST:.0f}", mean(map(_lost, seeds), 1)])  # fmt: skip
    return rows


def _lost(published):
    """Points of accuracy; None if that was not measured."""
    of_kernels = published.unbinarized
    return (
        100 * (of_kernels["kernels", "none"] - of_kernels["kernels", "convolutions"]) if of_kernels else None
    )


def _spread_slope(layers):
    """Least squares slope over the convolutions, as in the paper's figure."""
    convolutions = [row for row in layers if row["layer"].startswith("conv")]
    d, spread = ([math.log(row[key]) for row in convolutions] for key in ("d", "angle_std_deg"))
    return linear_regression(d, spread).slope


def estimators():
    """What `--estimator` may be, from `bnn.estimators`."""
    rows = [[f"`{e.name}`", e.forward, e.gradient, e.reference] for e in ESTIMATORS.values()]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return markdown(["`--estimator`", "forward", "gradient", "reference"], rows)


TABLES = {
    f.__name__: f
    for f in (list_of_runs, correlations, angles, geometry, unbinarized, summary, headline, estimators)
}
TABLES["statistics"] = statistics_table


def filled(text, folder):
    """A Markdown text with every table as the folders of groups have it now."""

    def fill(match):
        name, *groups = match[2].split()
        if name not in TABLES:
            raise runs.RunError(f"expected a table among {', '.join(TABLES)}, received {name!r}")
        return f"{match[1]}{TABLES[name](*(folder / group for group in groups))}{match[3]}"

    return TABLE.sub(fill, text)


def main():
    """Write or check as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("write", "check"))
    parser.add_argument("--folder", type=Path, default=Path("results"), metavar="DIR",
                        help="with README.md and the groups (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    above = args.folder.parent
    for path in (args.folder / "README.md", above / "README.md", *sorted((above / "docs").glob("*.md"))):
        old = path.read_text() if path.is_file() else ""
        new = filled(old, args.folder)
        if args.action == "write" and TABLE.search(old):
            atomic.write(path, new.encode())
            print(f"wrote {path}: {len(TABLE.findall(new))} tables")
        elif new != old:
            raise runs.RunError(f"{path}: expected the tables that the folders give, received others; "
                                "run python tools/results.py write")  # fmt: skip
    return 0


if __name__ == "__main__":
    run_program("results.py", main)
