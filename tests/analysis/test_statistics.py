"""The table of statistics: one entry and one function add a statistic to files, tables and documentation."""

import json

import numpy as np
import pytest

from bnn.analysis import from_arrays, notebook, report
from bnn.analysis.core import statistics
from bnn.tables import html_table
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
