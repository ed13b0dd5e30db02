"""The geometry of a network as it trains: measured right, and right again after an interruption."""

import numpy as np
import pytest
from support import small_data, start

from bnn import geometry_log, report
from bnn.runs import RunError, open_run
from bnn.training import train


@pytest.fixture(scope="module")
def data():
    return small_data()


def rows_of(run):
    return geometry_log.read(run.folder)


@pytest.mark.parametrize("kind", ["binary", "ternary", "continuous"])
def test_measures_what_the_report_does(tmp_path, data, kind):
    model, _ = start(tmp_path / "run", data, kind)
    images = data.validation.images
    for ours, layer in zip(geometry_log.measure(model, images), report.analyze(model, images), strict=True):
        theirs = layer.statistics()
        assert ours["layer"] == theirs["layer"]
        assert ours["angle_mean_deg"] == pytest.approx(theirs["angle_mean_deg"], abs=1e-6)
        assert ours["r_weights"] == pytest.approx(theirs["r_weights"], abs=1e-6)


def test_logs_the_start_and_every_k_epochs(tmp_path, data):
    model, run = start(tmp_path / "run", data, epochs=5, log_geometry=2)
    train(model, run, data)
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == [0] * 3 + [2] * 3 + [4] * 3
    assert [row["layer"] for row in rows[:3]] == ["conv_1", "dense_1", "dense_2"]
    glorot_uniform = np.degrees(np.arccos(np.sqrt(3) / 2))
    assert rows[1]["angle_mean_deg"] == pytest.approx(glorot_uniform, abs=5)


def test_none_is_written_unless_asked(tmp_path, data):
    model, run = start(tmp_path / "run", data, epochs=1)
    train(model, run, data)
    assert rows_of(run) == []
    assert not (run.folder / "geometry.csv").exists()


def test_logging_does_not_touch_the_training(tmp_path, data):
    weights = []
    for k in (0, 1):
        model, run = start(tmp_path / f"run{k}", data, epochs=2, log_geometry=k)
        train(model, run, data)
        weights.append(model.get_weights())
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(*weights, strict=True))


def test_rows_after_the_checkpoint_are_dropped_and_made_again(tmp_path, data):
    model, run = start(tmp_path / "run", data, epochs=3, log_geometry=1)
    train(model, run, data)
    whole = rows_of(run)
    logged = geometry_log.GeometryLog(run.folder, data.validation.images, 1, epoch=2)
    assert logged.rows == [row for row in whole if row["epoch"] <= 2]
    logged.set_model(model)
    logged.on_train_begin()  # no second row for the start
    logged.on_epoch_end(2)
    assert [row["epoch"] for row in rows_of(run)] == [row["epoch"] for row in whole]


def test_a_foreign_file_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "geometry.csv").write_text("epoch,layer\n1,conv_1\n")
    with pytest.raises(RunError, match=r"geometry.csv: expected the columns epoch, layer"):
        geometry_log.read(tmp_path)


def test_runs_of_before_the_setting_still_open(tmp_path, data):
    _, run = start(tmp_path / "run", data)
    path = run.folder / "config.json"
    lines = [
        line for line in path.read_text().splitlines() if "log_geometry" not in line and "sha256" not in line
    ]
    path.write_text("\n".join(lines))
    assert open_run(run.folder).training.log_geometry == 0
