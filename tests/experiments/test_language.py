"""The experiment on language models: its smoke test, and what its verdicts are made of."""

import csv

import numpy as np
import pytest

from bnn import runs
from experiments import language
from tests.support import ROOT

REAL = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"


def row(layer, added, seed=0, **values):
    about = {"steps": 2000, "weight_decay": 0.0, "seed": seed, "quantizer": "ternary"}
    return about | {"layer": layer, "kind": language.kind(layer), "added_loss": added} | values


def test_ranks_are_taken_within_each_network():
    """The second network costs more throughout, in the opposite order."""
    rows = [row("block_1_up", added, cost=added) for added in (0.1, 0.2, 0.3)]
    rows += [row("block_1_up", 10 + added, seed=1, cost=-added) for added in (0.1, 0.2, 0.3)]
    assert language.ranks(rows, language.PREDICTIONS["cost"]) == pytest.approx([1, -1])


def test_kinds_are_the_ends_of_names():
    names = ("block_1_query", "block_12_down", "scores")
    assert [language.kind(name) for name in names] == ["query", "down", "scores"]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="needs tinyshakespeare.txt beside the checkout")
def test_every_network_is_trained_measured_and_quantized(tmp_path, capsys):
    data = tmp_path / "data" / "tiny-shakespeare"
    data.mkdir(parents=True)
    (data / "input.txt").write_bytes(REAL.read_bytes())
    line = ["--quick", "--runs", tmp_path / "runs", "--results", tmp_path, "--data_dir", tmp_path / "data"]
    assert language.main([*map(str, line)]) == 0
    tables = {}
    for name in ("language", "language_kernels", "language_quantized"):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            tables[name] = list(csv.DictReader(file))
    found = [tuple(row[key] for key in ("network", "steps", "weight_decay")) for row in tables["language"]]
    assert len(found) == len({*found}) == 3 * 2 * 2
    assert all(0 < float(row["test_loss"]) < 5 and row["sample"] for row in tables["language"])
    kinds = {row["kind"] for row in tables["language_kernels"]}
    assert kinds == set(language.KINDS)
    quantized = tables["language_quantized"]
    assert len(quantized) == 2 * 2 * 7 and {row["quantizer"] for row in quantized} == {"ternary", "binary"}
    assert np.isfinite([float(row["added_loss"]) for row in quantized]).all()
    assert all(float(row["cost"]) >= 0 for row in quantized)
    assert (tmp_path / "language.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert (
        said.count("learning rate") == 9 and said.count("holds") + said.count("refuted") == 1 + 2 + 6 + 4 + 3
    )
    made = [runs.open_run(path) for path in (tmp_path / "runs").iterdir()]
    assert {run.training.weight_decay for run in made} == {0.0, 0.1}
    assert {run.training.lr_end / run.training.lr_start for run in made} == {0.1}
