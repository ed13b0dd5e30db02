"""The published tables of experiments, read again."""

import csv

import pytest

from bnn import plots
from bnn.runs import RunError
from experiments import published
from tools import results


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def numbers(seed, gain):
    """The columns that both tables share."""
    r = {
        "angle_mean_deg": 36 + seed,
        "r_within": 0.9,
        "r_two_numbers": 0.91,
        "test_accuracy": 0.8 + seed / 100,
    }
    return {"seed": seed, "learning_rate": 0.01, "gain": gain + seed, **r}


@pytest.fixture
def tables(tmp_path):
    """Two seeds of each."""
    seeds = (0, 1)
    kernels = {"kernel": 2, "recurrent_kernel": 4}
    networks = [("lstm", "real"), ("lstm", "binary"), ("gru", "binary")]
    write(
        tmp_path / "recurrent.csv",
        [
            {"cell": c, "network": n, "kernel": k, "replaced_accuracy": 0.5} | numbers(s, gain)
            for s in seeds
            for c, n in networks
            for k, gain in kernels.items()
        ],
    )
    steps = [
        {"cell": c, "network": n, "seed": s, "step": t, "r_forced": 0.9, "r_free": 0.9 - t / 40}
        for s in seeds
        for c, n in networks
        for t in (5, 28)
    ]
    write(tmp_path / "recurrent_steps.csv", steps)
    write(
        tmp_path / "residual.csv",
        [
            {
                "network": n,
                "kernels": k,
                "layer": f"conv_{i}",
                "accuracy lost": 0.01 * i if k == "real" else "",
            }
            | numbers(s, i)
            for s in seeds
            for n in ("shortcuts", "plain", "ReActNet")
            for k in ("binary", "real")
            for i in (2, 3)
        ],
    )
    return tmp_path


def test_the_table_of_recurrent_networks(tables):
    text = results.recurrent(tables)
    head, _, real, binary, gru = text.splitlines()
    assert "| r at step 28, forced | free |" in head
    cells = [cell.strip() for cell in binary.strip("|").split("|")]
    assert cells[:4] == ["LSTM, binary", "0.01", "80.50 ± 0.71", "50.00"]
    assert cells[4:6] == ["36.5 ± 0.7, 36.5 ± 0.7", "2.50 ± 0.71, 4.50 ± 0.71"]
    assert cells[-2:] == ["0.900", "0.200"]
    assert real.startswith("| LSTM, real |") and gru.startswith("| GRU, binary |")


def test_the_table_of_residual_networks(tables):
    lines = results.residual(tables).splitlines()[2:]
    cells = [cell.strip() for cell in lines[1].strip("|").split("|")]
    assert cells == ["shortcuts, real", "0.01", "80.50 ± 0.71", "36.5 ± 0.7", "3.00 ± 0.71", "2.5 to 3.5",
                     "0.900", "0.910", "2.50"]  # fmt: skip
    assert [line.split(" | ")[0] for line in lines[::2]] == [
        "| shortcuts, binary",
        "| plain, binary",
        "| ReActNet, binary",
    ]
    assert lines[0].endswith("| - |")


def test_binary_networks_become_groups_of_the_figure(tables):
    found = published.law(tables)
    assert {name: [row["layer"] for row in rows] for name, rows in found.items()} == {
        "LSTM and GRU": ["lstm kernel", "lstm recurrent_kernel", "gru kernel", "gru recurrent_kernel"],
        "Bi-Real net": ["conv_2", "conv_3"],
        "ReActNet": ["conv_2", "conv_3"],
    }
    assert [row["gain"] for row in found["Bi-Real net"]] == [2.5, 3.5]
    assert len(plots.correlation_by_gain(found).axes[0].lines) == 3 + len(found)


def test_tables_that_are_not_published(tmp_path):
    assert published.law(tmp_path) == {}
    for table in (results.recurrent, results.residual):
        with pytest.raises(RunError, match=r"\.csv: expected the table of an experiment, received none"):
            table(tmp_path)
