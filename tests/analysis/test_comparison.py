"""Pooling over seeds against NumPy, from reports, files metrics.json and rows."""

import json
import math

import numpy as np
import pytest

from bnn.analysis import comparison, from_arrays, pool, pool_rows
from bnn.analysis.report import Report


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
