"""Texts that fit 80 columns: blocks of columns, and parts of a line that are broken between them."""

import numpy as np
import pytest

from bnn.analysis import STATISTICS, from_arrays
from bnn.analysis.report import Report
from bnn.commands import analyze, download, export, predict, test, train
from bnn.console.tables import blocks, filled
from bnn.geometry.estimators import ESTIMATORS
from tests.support import unwrapped


def test_blocks_repeat_the_first_column_and_hold_every_other_one_once():
    rows = [[f"{row}-{column}" + "x" * column for column in range(9)] for row in range(3)]
    found = [[line.split() for line in block.splitlines()] for block in blocks(rows, width=30)]
    assert len(found) > 2
    for block in found:
        assert [line[0] for line in block] == [row[0] for row in rows]
    for i, row in enumerate(rows):
        assert [cell for block in found for cell in block[i][1:]] == row[1:]
    assert all(len(line) <= 30 for block in blocks(rows, width=30) for line in block.splitlines())
    assert len(blocks(rows, width=1)) == 8


def test_parts_are_in_one_line_if_they_fit():
    assert filled("a", "b", "c", width=5) == "a b c"
    assert filled("a long path", "b", "c d", width=5) == "a long path\n  b\n  c d"
    assert filled("a long path", "b", "c d", width=8) == "a long path\n  b c d"
    assert unwrapped(filled("a long path", "b", "c d", width=5)) == "a long path b c d"


def test_the_wide_table_of_a_report_has_every_statistic_in_80_columns():
    rng = np.random.default_rng(0)
    layers = [
        from_arrays(rng.normal(size=(9, 4)), rng.normal(size=(20, 9)), name=name) for name in ("a", "b" * 12)
    ]
    tables = Report(layers).text(wide=True).partition("\n")[2].split("\n\n")
    lines = [line for table in tables for line in table.splitlines()]
    assert max(map(len, lines)) <= 80 and len(lines) == 3 * len(tables)
    headings = [word for table in tables for word in table.splitlines()[0].split()]
    assert [word for word in headings if word != "layer"] == [s.heading for s in STATISTICS[1:]]


@pytest.mark.parametrize("command", [analyze, download, export, predict, test, train])
def test_every_help_fits_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        getattr(command, "parse", command.main)(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_help_of_the_estimators_is_a_list(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        train.parse(["--help"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for entry in ESTIMATORS.values():
        assert any(line.startswith(f"{entry.name}: {entry.forward[:4]}") for line in lines)
