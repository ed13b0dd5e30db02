"""The page of one network: its statistics, what stands out, its figures, and where the numbers come from."""

import json
import platform
import re
import sys
from pathlib import Path

from bnn.analysis.core import findings, statistics
from bnn.analysis.core.checks import by_reason
from bnn.analysis.core.report import ANGLE_ONLY
from bnn.console.spelling import words
from bnn.pages import parts

# Of `Report.about`, with their names on the page.
ABOUT = {
    "run": "run",
    "model": "model",
    "images": "images for the statistics",
    "fitted_images": "other images, to which the levels were fitted",
    "quantizer": "quantizer given",
    "activations": "quantizer of activations given",
    "data_set": "data set",
    "data_digest": "SHA-256 of the data",
    "origin": "origin of the data",
    "precision": "computed in",
}


def page(report):
    """Return the title and the body of the page of a Report."""
    about, rows = report.about, report.rows()
    title = f"Geometry of {_name(about)}"
    found = findings.find(rows)
    flagged = {((finding.layer,), finding.rule.keys[0]) for finding in found}
    first = [key for key in statistics.first_keys(rows) if key != "layer"]
    table = parts.statistics_table(
        ["layer"], [((row["layer"],), _numbers(row)) for row in rows], first, flagged
    )
    body = [
        f"<h1>{parts.text(title)}</h1>{_lead(report, found)}",
        f"<h2>Layers</h2>{table}{_notes(report)}",
        parts.standing_out([("", finding) for finding in found]),
        parts.figures(_drawings(report)),
        parts.meanings([statistic.key for statistic in statistics.STATISTICS]),
        f"<h2>Settings and provenance</h2>{provenance(about)}",
    ]
    return title, "\n".join(body)


def _name(about):
    path = Path(about.get("run") or about.get("model") or "a model")
    return "/".join(path.parts[-2:] if re.fullmatch(r"seed\d+", path.name) else path.parts[-1:])


def _numbers(row):
    return {key: value for key, value in row.items() if key != "layer"}


def _lead(report, found):
    about, layers = report.about, len({finding.layer for finding in found})
    accuracy = ""
    if "test_accuracy" in about:
        value, _, rest = report.accuracy.partition(" ")
        accuracy = f" Test accuracy <b>{value}</b> {rest}."
    network = ""
    if "network" in about:
        network = f"{parts.text(about['network'].capitalize())} network, {parts.text(about['origin'])}. "
    unit = "sequences" if "test_loss" in about else "images"
    images = f", over {about['images']:,} {unit}" if "images" in about else ""
    noun = "layer" if len(report) == 1 else "layers"
    verb = "stands" if layers == 1 else "stand"
    return (
        f"<p class='lead'>{network}<b>{len(report)}</b> {noun} with a kernel{images}; <b>{layers}</b> {verb} out."
        f"{accuracy} Angles are in degrees.</p>"
    )


def _notes(report):
    notes = [f"{layer.name}: angle only, {ANGLE_ONLY}" for layer in report if layer.product.linear is None]
    notes += [f"not analyzed: {names}: {reason}" for names, reason in by_reason(report.unanalyzed)]
    notes += [f"not defined: {statistics.title(key)}: {reason}" for key, reason in report.undefined.items()]
    return "".join(f"<p>{parts.text(note)}</p>" for note in notes)


def _drawings(report):
    from bnn.plots import overview

    return overview.drawings(report, report.log, report.history)


def provenance(about):
    """Return what was measured and with what, and for a run its settings, as HTML."""
    measured = {title: about[key] for key, title in ABOUT.items() if about.get(key) is not None}
    sections = [parts.pairs("Measured", measured), parts.pairs("Measured with", _versions())]
    if "run" in about:
        from bnn import runs

        sections.append(of_run(runs.open_run(about["run"])))
    return f"<div class='groups'>{''.join(sections)}</div>"


def of_run(run):
    """Return the settings of a Run and how it was trained, as HTML."""
    held = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    trained = {
        "command": words(held.get("command", [])),
        "commit": held.get("git_commit") or "not known",
        **{
            f"version of {name}" if name != "machine" else name: one
            for name, one in held.get("versions", {}).items()
        },
        "digest of the settings": held.get("settings_sha256", "not known"),
        "data": f"{run.data['name']}, SHA-256 {run.data['digest']}",
    }
    settings = run.config.to_json()
    return parts.pairs("Trained with", trained) + "".join(
        parts.pairs(part.capitalize(), {name: words(value) for name, value in values.items()})
        for part, values in settings.items()
    )


def _versions():
    """The versions of the packages that are loaded; others cannot have measured anything."""
    names = ("keras", "tensorflow", "jax", "torch", "numpy", "scipy")
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in names}
    return {"Python": platform.python_version()} | {name: one for name, one in loaded.items() if one}
