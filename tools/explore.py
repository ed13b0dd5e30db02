#!/usr/bin/env python3
"""Make docs/explore.html, a page on which people play with the geometry. It opens from disk, without a network.

    python tools/explore.py           # writes docs/explore.html
    python tools/explore.py --check   # fails if the page differs from what its sources make

The sources are the files in tools/explore/, the quantizers of `bnn.geometry.lloyd_max`, and the layers in
results/*/seed*/metrics.json whose gain was measured.
"""

import json
import sys
from pathlib import Path
from string import Template

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn.analysis.core import statistics
from bnn.analysis.core.comparison import pool_rows
from bnn.console.arguments import Parser
from bnn.files import atomic
from bnn.geometry import lloyd_max

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "tools" / "explore"
PAGE = ROOT / "docs" / "explore.html"
MOST_LEVELS = 16
# Of a layer on the page, from metrics.json.
SHOWN = {"angle": "angle_mean_deg", "gain": "gain", "r": "r_within", "predicted": "r_two_numbers"}
FIRST = "cifar-10-binary"  # the paper's network


def parse(argv=None):
    """Parse the command line."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the page is not up to date"
    )
    parser.add_argument(
        "--output", type=Path, default=PAGE, metavar="FILE", help="default: docs/explore.html"
    )
    return parser.parse_args(argv)


def main():
    """Write or check the page; return the exit code."""
    args, text = parse(), page()
    if args.check:
        current = args.output.read_text(encoding="utf-8") if args.output.is_file() else ""
        if current != text:
            print(f"{args.output}: expected what its sources make; run make explore", file=sys.stderr)
        return int(current != text)
    atomic.write(args.output, text.encode())
    print(f"wrote {args.output} ({len(text.encode()) / 1000:.0f} kB)")
    return 0


def page():
    """Return the page as text."""
    read = {path.name: path.read_text(encoding="utf-8") for path in sorted(SOURCES.iterdir())}
    data = {"quantizers": quantizers(), "networks": networks(ROOT / "results")}
    return Template(read["page.html"]).substitute(
        license=read["uPlot.LICENSE"],
        style=read["uPlot.min.css"] + read["page.css"],
        plot=read["uPlot.iife.min.js"].strip(),
        data=json.dumps(data, separators=(",", ":")).replace("<", r"\u003c"),
        script=read["geometry.js"] + read["sampling.js"] + read["page.js"],
        means=_meanings(),
    )


def quantizers():
    """Return the best quantizers of normal weights: dict from the number of levels to thresholds and values."""
    found = {}
    for levels in range(2, MOST_LEVELS + 1):
        thresholds, values, _ = lloyd_max(levels)
        # The sign and the ternary quantizer have the values -1, 0 and 1; only ratios matter for angles.
        values = values / values[-1] if levels <= 3 else values
        found[levels] = {"thresholds": [float(x) for x in thresholds], "values": [float(x) for x in values]}
    return found


def networks(folder):
    """Return the published networks, with the means over the seeds whose gain was measured, a list of dicts."""
    found = []
    for path in sorted(folder.glob("*/"), key=lambda path: (path.name != FIRST, path.name)):
        measured = {file: json.loads(file.read_text()) for file in sorted(path.glob("seed*/metrics.json"))}
        files = [file for file, one in measured.items() if any(row.get("gain") for row in one["layers"])]
        rows = pool_rows([measured[file] for file in files]) if files else {}
        ends = [*rows][:1] + [*rows][-1:]
        layers = [layer for name, row in rows.items() if (layer := _layer(name, row, name not in ends))]
        if layers:
            config = json.loads((files[0].parent / "config.json").read_text())
            found.append(
                {"name": path.name, "seeds": len(files), "levels": _levels(config), "layers": layers}
            )
    return found


def _layer(name, row, hidden):
    """Return what the page shows of a layer; None without a measured gain, and for a kernel that stays real."""
    values = {title: row.get(key) for title, key in SHOWN.items()}
    if any(value is None for value in values.values()) or values["angle"].mean == 0:
        return None
    return {"name": name, "d": int(row["d"].mean), "hidden": hidden} | {
        title: round(value.mean, 4) for title, value in values.items()
    }


def _levels(config):
    return config.get("model", config).get("levels", 2)


def _meanings():
    """Return the meanings of the columns, from the table of statistics."""
    found = [statistics.find(key) for key in ("angle_mean_deg", "gain", "r_two_numbers")]
    return " ".join(
        f"<b>{name}</b>: {one.meaning}."
        for name, one in zip(("angle", "gain", "predicted"), found, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
