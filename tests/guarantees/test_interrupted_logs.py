"""The geometry log of trainings that are interrupted and killed."""

import signal

import pytest

from bnn import training
from bnn.analysis.keras import geometry_log
from bnn.files import write_csv
from bnn.training import Interrupted, Journal
from tests.support import small_data, start


def rows_of(run):
    return geometry_log.read(run.folder)


def test_interrupted_runs_log_the_same_as_uninterrupted_runs(tmp_path, monkeypatch):
    """Stopped within an epoch, also the first one, and killed after rows were written that have no checkpoint."""
    data = small_data()
    options = {"conv": (), "epochs": 4, "log_geometry": 2}
    model, whole = start(tmp_path / "whole", data, **options)
    training.fit(model, whole, data)
    model, run = start(tmp_path / "run", data, **options)
    for step in (3, 34):
        stop_at(step, monkeypatch, lambda m=model: training.fit(m, run, data))
        model = run.load_model("last", compiled=True)
        later = [{**row, "epoch": 5} for row in rows_of(run)[-2:]]
        write_csv(run.folder / "geometry.csv", geometry_log.COLUMNS, rows_of(run) + later)
    training.fit(model, run, data)
    assert rows_of(run) == rows_of(whole)
    assert len(rows_of(run)) == 2 * (1 + 4 // 2)


def stop_at(step, patch, action):
    """Train until SIGINT comes after a step."""
    original = Journal.on_train_batch_end

    def spied(self, *args, **kwargs):
        if int(self.model.optimizer.iterations) == step:
            signal.raise_signal(signal.SIGINT)
        original(self, *args, **kwargs)

    with patch.context() as inner, pytest.raises(Interrupted):
        inner.setattr(Journal, "on_train_batch_end", spied)
        action()
