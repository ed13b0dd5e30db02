"""The table of statistics: one entry and one function add a statistic to files, tables and documentation."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import bnn
from bnn.analysis import from_arrays, notebook, report
from bnn.analysis.core import statistics
from bnn.analysis.keras import geometry_log
from bnn.console.tables import html_table
from bnn.files import write_csv
from bnn.layers import QuantDense, Sign
from tests.support import ROOT
from tools import results


def gap(layer):
    """The difference between the angle and theory, in degrees."""
    return layer.angle_mean_deg - layer.angle_theory_deg


@pytest.fixture
def added(monkeypatch):
    """An additional statistic."""
    entry = statistics.Statistic(
        "gap_deg", "gap", "gap to theory", 1, "degrees", 2, "the angle minus theory's", "here", gap
    )
    monkeypatch.setattr(statistics, "STATISTICS", (*statistics.STATISTICS, entry))
    return entry


def clipped(layer):
    """The fraction of latent weights of magnitude 0.2 or more."""
    return float(np.mean(np.abs(layer.kernels.latent) >= 0.2))


@pytest.fixture
def registered(monkeypatch):
    """A statistic of the user, also for logs."""
    monkeypatch.setattr(
        statistics, "STATISTICS", statistics.STATISTICS
    )  # what is registered is forgotten again
    entry = statistics.Statistic(
        "clipped", "clipped", "clipped", 3, "", 2, "weights of 0.2 or more", "", clipped, logged=True
    )
    bnn.analysis.register(entry)
    return entry


def test_a_registered_statistic_is_in_reports_and_logs(registered, layer, tmp_path):
    expected = np.mean(np.abs(layer.kernels.latent) >= 0.2)
    assert layer.clipped == layer.statistics()["clipped"] == expected
    assert "clipped" in str(report.Report([layer])).splitlines()[1]
    model = keras.Sequential(
        [keras.Input((6,)), QuantDense(5, Sign(), name="one"), QuantDense(4, Sign(), name="two")]
    )
    images = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    model.compile("sgd", "mse", jit_compile=False)
    logger = bnn.analysis.GeometryLogger(images, tmp_path / "g.csv")
    model.fit(images, np.zeros((20, 4)), epochs=1, verbose=0, callbacks=[logger])
    rows = geometry_log.read(tmp_path / "g.csv")
    assert [(row["epoch"], row["layer"]) for row in rows] == [(0, "one"), (0, "two"), (1, "one"), (1, "two")]
    for row in rows[2:]:
        weights = np.array(model.get_layer(row["layer"]).kernel)
        assert row["clipped"] == np.mean(np.abs(weights) >= 0.2)


def test_a_log_with_a_statistic_that_is_not_registered_is_read_without_it(registered, monkeypatch, tmp_path):
    row = {
        "epoch": 0,
        "layer": "a",
        **dict.fromkeys(geometry_log.STATISTICS, 0.5),
        "flip_ratio": None,
        "clipped": 0.25,
    }
    write_csv(tmp_path / "g.csv", list(row), [row])
    assert geometry_log.read(tmp_path / "g.csv") == [row]
    monkeypatch.undo()
    assert "clipped" not in geometry_log.read(tmp_path / "g.csv")[0]


def test_keys_that_are_taken_or_no_names_are_refused(registered):
    for key in ("clipped", "gain", "kernels", "r_scores", "name", "two words", "", 3):
        with pytest.raises(bnn.analysis.ReportError, match="statistic: expected a Statistic with a new key"):
            bnn.analysis.register(dataclasses.replace(registered, key=key))
    with pytest.raises(bnn.analysis.ReportError, match="received 3"):
        bnn.analysis.register(3)


@pytest.fixture
def layer():
    rng = np.random.default_rng(0)
    return from_arrays(rng.laplace(size=(50, 8)), rng.standard_normal((40, 50)))


def test_a_statistic_is_one_entry_and_one_function(added, layer, tmp_path):
    expected = layer.angle_mean_deg - layer.angle_theory_deg
    found = report.Report([layer])
    assert layer.gap_deg == expected
    assert json.loads(found.save(tmp_path).read_text())["layers"][0]["gap_deg"] == expected
    head, line = str(found).splitlines()[1:]
    assert (head.split()[-1], line.split()[-1]) == ("gap", f"{expected:.1f}")
    assert "gap to theory (°)</th>" in found._repr_html_() and f"{expected:.1f}</td>" in found._repr_html_()
    assert f"gap {expected:.1f}>" in repr(layer)
    assert (
        "| gap | gap to theory | `gap_deg` | degrees | the angle minus theory's | here |\n"
        in results.statistics_table()
    )


def test_a_notebook_shows_the_columns_that_it_names(added, layer, capsys):
    notebook.table(report.Report([layer]).rows(), ["layer", "gap_deg"], "One")
    assert "gap to theory (°)" in capsys.readouterr().out


def test_entries_are_complete():
    keys = [statistic.key for statistic in statistics.STATISTICS]
    assert len(set(keys)) == len(keys)
    headings = [statistic.heading for statistic in statistics.STATISTICS]
    assert len(set(headings)) == len(headings) and all(heading.isascii() for heading in headings)
    for statistic in statistics.STATISTICS:
        assert statistic.title and statistic.meaning and "|" not in statistic.meaning + statistic.definition
        assert statistic.unit in ("", "degrees")
        assert (statistic.unit == "degrees") == statistic.key.endswith("_deg")


def test_other_columns_have_a_heading_too():
    assert statistics.title("paper_r_weights") == "paper"
    assert statistics.title("seed") == "seed"
    row = {"seed": 3, "paper_r_weights": 0.5, "slope": None}
    assert statistics.cells([row], list(row)) == [["3", "0.500", "-"]]


def test_pages_escape_html():
    assert "conv_&lt;1&gt;" in html_table([["layer"], ["conv_<1>"]], "a & b") and "a &amp; b" in html_table(
        [["x"]], "a & b"
    )


def test_the_documentation_has_the_table():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(results.statistics_table() in page.read_text() for page in pages)
