#!/usr/bin/env python3
"""Update the tables in the pages of results/, in the README of the parent folder and in docs/.

The tables come from the folders that tools/publish.py wrote, and from the library's table of statistics.

    python tools/results.py write    # update every table
    python tools/results.py check    # exit code 1 if a table is not up to date

A table is between `<!-- table: NAME GROUP ... -->` and `<!-- end -->`. NAME is one of `TABLES` below. Some tables need
one GROUP or more: a folder whose subfolders are runs that differ only in the seed, or `experiments`, the folder of the
tables of experiments. The table then shows the mean and the standard deviation.
"""

import csv
import json
import math
import re
import sys
from pathlib import Path
from statistics import fmean, linear_regression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn import runs
from bnn.analysis import paper
from bnn.analysis.core import comparison, statistics
from bnn.analysis.keras import geometry_log
from bnn.console import run_program
from bnn.console.arguments import Parser
from bnn.files import atomic
from bnn.geometry.estimators import ESTIMATORS
from experiments import published as experiments

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
    """Read the results of tools/publish.py: the whole content, and a dict from a layer's name to its row."""
    try:
        metrics = json.loads(path.read_text())
        return metrics, {row["layer"]: row for row in metrics["layers"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise runs.RunError(
            f"{path}: expected the results of tools/publish.py, received a damaged file"
        ) from None


def _ablation(path):
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {(row["what"], row["layer"]): float(row["refitted"]) for row in csv.DictReader(file)}


def group(folder):
    """Return the published runs of a group, sorted by the names of their folders."""
    folders = sorted(path.parent for path in folder.glob("*/metrics.json"))
    if not folders:
        raise runs.RunError(f"{folder}: expected a folder of published runs, received none")
    return [Published(folder) for folder in folders]


def mean(values, decimals=3):
    """Return the mean and the standard deviation over seeds as text; a dash if a value is missing."""
    pooled = comparison.pool(values)
    return pooled.text(decimals) if pooled else "-"


def markdown(heads, rows):
    """Format a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def list_of_runs(*groups):
    """List every run with its settings, accuracy and time."""
    heads = [
        "run",
        "epochs",
        "batch",
        "precision",
        "test accuracy",
        "in float32",
        "hours",
        "commit",
        "command",
    ]
    return markdown(heads, [_run_cells(published) for folder in groups for published in group(folder)])


def _run_cells(published):
    training, config = published.run.training, published.config
    exact = published.metrics.get("float32_accuracy")  # not measured where the network is not published
    return [
        _link(published.folder),
        f"{len(published.log)} of {training.epochs}",
        str(training.batch_size),
        training.precision,
        f"{published.metrics['test_accuracy']:.4f}",
        f"{exact:.4f}" if exact is not None else "-",
        f"{sum(row['seconds'] for row in published.log) / 3600:.1f}",
        config["git_commit"][:7],
        f"`{' '.join(word for word in config['command'] if word)}`",
    ]


def _link(folder):
    name = f"{folder.parent.name}/{folder.name}"
    return f"[{name}]({name})"


def correlations(folder):
    """Compare the paper's correlations with ours, one row per layer."""
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
        "sign flips",
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
    """Show the angles, their spread and the angles of Gaussian weights, one row per layer."""
    return _columns(folder, ("angle_mean_deg", "angle_std_deg", "angle_theory_deg", "latent_std", "zeros"))


def geometry(folder):
    """Show statistics for which the paper has no values, one row per layer."""
    angles = ("angle_mean_deg", "angle_std_deg", "angle_theory_deg")
    products = ("gain", "r_within", "r_two_numbers", "r_weights", "r_permuted", "r_activations", "sign_flips")
    return _columns(folder, (*angles, *products, "latent_std", "zeros"))


def side_by_side(*folders):
    """Show the main statistics of several groups with the same layers side by side, one row per layer."""
    groups = [group(folder) for folder in folders]
    keys = ("angle_mean_deg", "r_weights", "r_permuted", "r_activations", "sign_flips")
    rows = [
        [
            layer,
            *(
                mean((p.layers[layer].get(key) for p in seeds), _decimals(key))
                for key in keys
                for seeds in groups
            ),
        ]
        for layer in groups[0][0].layers
    ]
    heads = [f"{statistics.find(key).title}, {folder.name}" for key in keys for folder in folders]
    return markdown(["layer", *heads], rows)


def gain(folder):
    """What explains r, one row per layer, over the runs that were published since it is measured."""
    keys = ("angle_mean_deg", "gain", "r_within", "r_two_numbers", "residual_gain", "kappa", "r_rotated")
    seeds = [p for p in group(folder) if "gain" in next(iter(p.layers.values()))]
    rows = [
        [layer, *(mean((p.layers[layer].get(key) for p in seeds), _decimals(key)) for key in keys)]
        for layer in seeds[0].layers
    ]
    return markdown(["layer", *(statistics.find(key).title for key in keys)], rows)


def along_the_run(folder):
    """Show how the hidden layers change with the epochs: means over layers and, with a deviation, over seeds."""
    keys = ("angle_mean_deg", "gain", "r_within", "flip_ratio")
    seeds = [(_accuracies(p.log), _hidden(p.folder)) for p in group(folder)]
    rows = []
    for epoch in seeds[0][1]:
        found = [accuracies.get(epoch, (None, None)) for accuracies, _ in seeds]
        cells = [mean(values) for values in zip(*found, strict=True)]
        for key in keys:
            layers = [[row[key] for row in hidden[epoch]] for _, hidden in seeds]
            known = all(None not in values for values in layers)
            decimals = 4 if key == "flip_ratio" else _decimals(key)
            cells.append(mean(map(fmean, layers), decimals) if known else "-")
        rows.append([str(epoch), *cells])
    titles = (statistics.find(key).title for key in keys[:-1])
    return markdown(["epochs", "training accuracy", "validation accuracy", *titles, "flip ratio"], rows)


def _accuracies(log):
    return {row["epoch"]: (row["accuracy"], row["val_accuracy"]) for row in log}


def _hidden(folder):
    """Return a dict from epoch to the rows of geometry.csv without those of the first and the last layer."""
    epochs = {}
    for row in geometry_log.read(folder):
        epochs.setdefault(row["epoch"], []).append(row)
    return {epoch: rows[1:-1] for epoch, rows in epochs.items()}


def _columns(folder, keys):
    """Show the statistics with the given keys, one row per layer."""
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
    """Return the decimals of a single network, and at most 3, because seeds differ by more than that."""
    return min(statistics.decimals(key), 3)


def statistics_table():
    """Describe every statistic, one row per statistic: the table of the documentation."""
    rows = [
        [s.heading, s.title, f"`{s.key}`", s.unit, s.meaning, s.definition] for s in statistics.STATISTICS
    ]
    return markdown(["column", "on pages", "key", "unit", "meaning", "defined in"], rows)


def unbinarized(folder):
    """Show the accuracy in % without quantizers and with refitted batch norm, one row per network."""
    seeds = group(folder)
    names = {"kernels": "latent kernels", "activations": "continuous activations"}
    rows = [
        [names[what], layer, mean((100 * p.unbinarized[what, layer] for p in seeds), 2)]
        for what, layer in seeds[0].unbinarized
    ]
    return markdown(["replaced by", "layer", "accuracy, %"], rows)


def summary(folder):
    """Compare the paper's values with ours, one row per claim; a dash if a run was published without the ablation."""
    return markdown(["", "paper", "ours"], _claims(folder))


def headline(folder):
    """Show the five rows of `summary` for the README, with shorter names."""
    names = {
        0: "r: correlation of dot products with binarized and with latent kernels, conv_1 to conv_6 (Fig 3)",
        1: "the same r with permuted inputs (Fig 4, right)",
        2: "r of dot products with binarized and with continuous activations, conv_2 to conv_6 (Fig 5)",
        3: "angle between binarized and latent kernels in degrees, conv_1 to conv_6 (Fig 2b)",
        -1: "percentage points of accuracy lost when latent kernels replace their signs in all convolutions",
    }
    claims = _claims(folder)
    return markdown(["", "paper", "ours"], [[name, *claims[i][1:]] for i, name in names.items()])


def before_after(folder):
    """Show what training does to the hidden convolutions: means over layers and seeds."""
    keys = ("angle_mean_deg", "gain", "r_within")
    layers = [layer for layer in paper.LAYERS if layer != "conv_1"]
    logs = [geometry_log.read(published.folder) for published in group(folder)]
    epochs = {row["epoch"] for rows in logs for row in rows}
    cells = []
    for name, epoch in (("before training", min(epochs)), ("after training", max(epochs))):
        rows = [row for log in logs for row in log if row["epoch"] == epoch and row["layer"] in layers]
        angle, gain, r = (fmean(row[key] for row in rows) for key in keys)
        cells.append([name, f"{angle:.0f}°", f"{gain:.0f}", f"{r:.2f}"])
    return markdown([f"{layers[0]} to {layers[-1]}", "angle", "gain g", "r"], cells)


def _claims(folder):
    """Return [claim, the paper's value, our value] for each claim."""
    seeds = group(folder)

    def each(key, layers, decimals=2):
        pooled = [comparison.pool(p.layers[layer][key] for p in seeds) for layer in layers]
        means = ", ".join(f"{values.mean:.{decimals}f}" for values in pooled)
        largest = max(values.std for values in pooled)
        if math.isnan(largest):
            return means
        return f"{means} (± {math.ceil(largest * 10**decimals) / 10**decimals:.{decimals}f} at most)"

    beside = {
        "with latent kernels, conv_1 to conv_6 (Fig 3)": ("r_weights", paper.R_WEIGHTS),
        "with latent kernels, inputs permuted, conv_1 to conv_6 (Fig 4, right)": (
            "r_permuted",
            paper.R_PERMUTED,
        ),
        "with continuous activations, conv_2 to conv_6 (Fig 5)": ("r_activations", paper.R_ACTIVATIONS),
    }
    rows = [
        [
            f"r between binarized dot products and dot products {what}",
            ", ".join(f"{r:.2f}" for r in published.values()),
            each(key, published),
        ]
        for what, (key, published) in beside.items()
    ]
    angle = "angle between binarized and latent kernels in degrees, conv_1 to conv_6 (Fig 2b)"
    rows.append([angle, "near 37", each("angle_mean_deg", paper.LAYERS, 1)])
    slopes = [_spread_slope(p.layers.values()) for p in seeds]
    rows.append(["slope of log spread of that angle against log d (Fig 2c)", "-0.5", mean(slopes, 2)])
    rows += [
        [
            f"variance in {n} components of the first layer's patches",
            f"{100 * share:g} %",
            mean((100 * p.metrics["patch_variance"][str(n)] for p in seeds), 1) + " %",
        ]
        for n, share in paper.PATCH_VARIANCE.items()
    ]
    lost = "points of accuracy lost when latent kernels replace their signs in all convolutions"
    rows.append([lost, f"{100 * paper.CONTINUOUS_KERNELS_COST:.0f}", mean(map(_lost, seeds), 1)])
    return rows


def _lost(published):
    """Return the lost accuracy in points; None if it was not measured."""
    accuracy = published.unbinarized
    if not accuracy:
        return None
    return 100 * (accuracy["kernels", "none"] - accuracy["kernels", "convolutions"])


def _spread_slope(layers):
    """Fit the slope by least squares over the convolutions, as in the paper's figure."""
    convolutions = [row for row in layers if row["layer"].startswith("conv")]
    d, spread = ([math.log(row[key]) for row in convolutions] for key in ("d", "angle_std_deg"))
    return linear_regression(d, spread).slope


def estimators():
    """List the values of `--estimator`, from `bnn.geometry.estimators`."""
    rows = [[f"`{e.name}`", e.forward, e.gradient, e.reference] for e in ESTIMATORS.values()]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return markdown(["`--estimator`", "forward", "gradient", "reference"], rows)


def recurrent(folder):
    """Show accuracy and geometry of recurrent networks; `folder` has the tables of the experiment."""
    return markdown(*experiments.recurrent(folder))


def residual(folder):
    """Show accuracy and geometry of networks with and without shortcuts; `folder` is as for `recurrent`."""
    return markdown(*experiments.residual(folder))


TABLES = {
    f.__name__: f
    for f in (
        list_of_runs,
        correlations,
        angles,
        geometry,
        side_by_side,
        gain,
        along_the_run,
        unbinarized,
        summary,
        headline,
        before_after,
        estimators,
        recurrent,
        residual,
    )
}
TABLES["statistics"] = statistics_table


def filled(text, folder):
    """Update every table of a Markdown text from the folders of groups."""

    def fill(match):
        name, *groups = match[2].split()
        if name not in TABLES:
            raise runs.RunError(f"expected a table among {', '.join(TABLES)}, received {name!r}")
        return f"{match[1]}{TABLES[name](*(folder / group for group in groups))}{match[3]}"

    return TABLE.sub(fill, text)


def main():
    """Write or check the tables, as given on the command line."""
    parser = Parser(description=__doc__)
    folder_help = "folder with README.md and the groups (default: %(default)s)"
    parser.add_argument("action", choices=("write", "check"), help="what to do, see above")
    parser.add_argument("--folder", type=Path, default=Path("results"), metavar="DIR", help=folder_help)
    args = parser.parse_args()
    above = args.folder.parent
    own = [*args.folder.glob("*.md"), *args.folder.glob("experiments/*.md")]
    pages = (*own, above / "README.md", *(above / "docs").glob("*.md"))
    for path in sorted(pages):
        old = path.read_text() if path.is_file() else ""
        new = filled(old, args.folder)
        if args.action == "write" and TABLE.search(old):
            atomic.write(path, new.encode())
            print(f"wrote {path}: {len(TABLE.findall(new))} tables")
        elif new != old:
            raise runs.RunError(
                f"{path}: expected tables that agree with the folders, received others; "
                "run python tools/results.py write"
            )
    return 0


if __name__ == "__main__":
    run_program("results.py", main)
