"""Pooling over seeds, from reports, metrics.json files and rows, compared with NumPy."""

import json
import math
import os
import shutil
import time

import numpy as np
import pytest

from bnn import runs
from bnn.analysis import STATISTICS, compare, from_arrays, pool, pool_rows
from bnn.analysis.core import comparison
from bnn.analysis.report import Report
from bnn.runs import listing
from tests.support import ROOT, unwrapped


def test_mean_and_deviation_are_those_of_a_sample():
    values = [0.5, 0.7, 0.9, 0.2]
    pooled = pool(values)
    assert (pooled.mean, pooled.std, pooled.n) == (
        pytest.approx(np.mean(values)),
        pytest.approx(np.std(values, ddof=1)),
        4,
    )


def test_text_shows_the_deviation_if_there_is_one():
    assert pool([0.5, 0.7, 0.9]).text(2) == "0.70 ± 0.20"
    assert pool([1 / 3]).text() == "0.333"
    assert pool([0.1, 0.1, 0.1]).text(1) == "0.1"
    assert pool(iter([3, 5])).text(0) == "4 ± 1"


def test_one_value_has_no_deviation_and_a_missing_value_has_no_mean():
    assert math.isnan(pool([0.5]).std) and pool([0.5]).n == 1
    assert pool([0.5, None]) is None
    assert pool([math.nan, 0.5]) is None and pool([math.nan]) is None


def reports():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        layers = [
            from_arrays(rng.standard_normal((9, 4)), rng.standard_normal((20, 9)), name=n) for n in "ab"
        ]
        yield Report(layers)


def test_reports_files_and_rows_give_the_same(tmp_path):
    given = list(reports())
    files = [json.loads(report.save(tmp_path / str(i)).read_text()) for i, report in enumerate(given)]
    pooled = pool_rows(given)
    assert pooled == pool_rows(files) == pool_rows([report.rows() for report in given])
    assert list(pooled) == ["a", "b"]
    values = [report["b"].r_weights for report in given]
    assert pooled["b"]["r_weights"].std == pytest.approx(np.std(values, ddof=1))
    assert pooled["b"]["r_scores"] is None and pooled["b"]["d"].mean == 9
    assert "layer" not in pooled["b"]


def test_keys_that_one_file_lacks_are_left_out():
    rows = [[{"layer": "a", "r": 1.0, "input_dimension": 2.0}], [{"layer": "a", "r": 3.0}]]
    assert pool_rows(rows) == {"a": {"r": comparison.Pooled(2.0, math.sqrt(2), 2)}}


def test_networks_with_different_layers_are_refused():
    with pytest.raises(ValueError, match="layers: expected a in all, received b"):
        pool_rows([[{"layer": "a"}], [{"layer": "b"}]])


def test_published_seeds_are_pooled_side_by_side(tmp_path):
    """Compare with NumPy on the files; nothing is analyzed again."""
    groups = [ROOT / "results" / name for name in ("mnist-conv-binary", "mnist-conv-ternary")]
    compared = compare(groups)
    assert [group.name for group in compared.groups] == ["mnist-conv-binary", "mnist-conv-ternary"]
    assert compared.differences == {"levels": [2, 3], "threshold": [0.0, 0.02]}
    files = [json.loads((groups[1] / f"seed{i}" / "metrics.json").read_text()) for i in range(3)]
    accuracies = [file["test_accuracy"] for file in files]
    pooled = compared.groups[1].test_accuracy
    assert (pooled.mean, pooled.n) == (pytest.approx(np.mean(accuracies)), 3)
    assert pooled.std == pytest.approx(np.std(accuracies, ddof=1))
    r = compared.groups[1].layers["conv_1"]["r_weights"]
    assert r.mean == pytest.approx(np.mean([file["layers"][0]["r_weights"] for file in files]))
    assert "0.02" in compared.text() and "conv_1" in compared._repr_html_()
    for path in compared.save(tmp_path):
        assert path.is_file()


def test_a_comparison_shows_gain_and_when_wide_every_statistic_in_80_columns():
    folder = ROOT / "results" / "fashion-mnist-conv-binary"
    compared = compare([folder, ROOT / "results" / "mnist-conv-binary" / "seed0"])
    tables = compared.text().split("\n\n")[3:]
    assert [table.split()[0] for table in tables] == ["angle", "gain", "r"][: len(tables)]
    gains = [
        json.loads((folder / f"seed{i}" / "metrics.json").read_text())["layers"][1]["gain"] for i in range(3)
    ]
    assert f"{np.mean(gains):.2f} ± {np.std(gains, ddof=1):.2f}" in compared.text()
    assert "<th" in compared._repr_html_() and "gain" in compared._repr_html_()
    wide = compared.text(wide=True)
    headings = {word for table in wide.split("\n\n")[3:] for word in table.splitlines()[0].split()}
    assert headings == {statistic.heading for statistic in STATISTICS if statistic.key != "layer"}
    assert max(map(len, "\n".join(wide.split("\n\n")[2:]).splitlines())) <= 80


def test_a_run_that_is_named_twice_counts_once():
    folder = ROOT / "results" / "mnist-conv-ternary"
    (group,) = compare([folder, folder / "seed0", f"{folder}/../mnist-conv-ternary/seed1"]).groups
    assert (len(group.runs), group.test_accuracy.n) == (3, 3)
    assert compare(folder).groups == compare(str(folder)).groups == compare([folder]).groups


@pytest.mark.parametrize(
    ("name", "value"),
    [("images", 5), ("activations", "sign"), ("quantizer", "ternary"), ("precision", "float32")],
)
def test_runs_measured_under_other_conditions_are_not_compared(tmp_path, name, value):
    folder = shutil.copytree(ROOT / "results" / "mnist-conv-ternary", tmp_path / "three")
    metrics = folder / "seed2" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {name: value}))
    with pytest.raises(runs.RunError, match=f"seed2: expected metrics.json with {name} .*received {value}"):
        compare(folder)


def test_the_arithmetic_of_an_accuracy_is_told(tmp_path):
    """Published accuracies were computed in bfloat16, those of this version in float32."""
    published = ROOT / "results" / "mnist-conv-binary" / "seed0"
    folder = shutil.copytree(published, tmp_path / "anew")
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | {"precision": "float32", "images": 60}))
    config = json.loads((folder / "config.json").read_text())
    config["data"]["digest"] = "f" * 64  # so that the two are not pooled
    (folder / "config.json").write_text(json.dumps(config))
    compared = compare([published, folder])
    assert [group.conditions["precision"] for group in compared.groups] == ["bfloat16", "float32"]
    lines = [" ".join(line.split()) for line in compared.text().splitlines()]
    assert {"computed in bfloat16 float32", "images for statistics 500 60"} <= {*lines}
    assert not any("quantizer given" in line for line in lines)
    assert "computed in" in compared._repr_html_()
    written = json.loads(compared.save(tmp_path / "out")[1].read_text())
    assert [group["precision"] for group in written["groups"]] == ["bfloat16", "float32"]


def test_the_list_shows_no_accuracy_of_an_earlier_checkpoint(tmp_path):
    published = ROOT / "results" / "mnist-conv-ternary" / "seed0"
    folder = shutil.copytree(published, tmp_path / "runs" / "seed0")
    accuracy = f"{json.loads((folder / 'metrics.json').read_text())['test_accuracy']:.4f}"
    (folder / "best.keras").write_bytes(b"")
    for age, shown in ((0, accuracy), (3600, "-")):
        then = time.time() - age
        os.utime(folder / "metrics.json", (then, then))
        assert listing.text(tmp_path / "runs").splitlines()[4].split()[3] == shown


def test_runs_are_found_and_listed_at_any_depth():
    found = listing.find(ROOT / "results")
    assert ROOT / "results" / "mnist-conv-binary" / "seed1" in found
    text = listing.text(ROOT / "results")
    line = next(line for line in unwrapped(text).splitlines() if "conv-ternary/seed2" in line)
    assert {"complete", "20/20", "MNIST", "levels=3", "threshold=0.02", "seed=2"} <= set(line.split())
    assert max(map(len, text.splitlines())) <= 80
