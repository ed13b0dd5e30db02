"""The geometry log of a training: correct values, and when they are written."""

import dataclasses
import re

import keras
import numpy as np
import pytest

from bnn import training
from bnn.analysis import GeometryLogger, report
from bnn.analysis.core import statistics
from bnn.analysis.keras import geometry_log
from bnn.layers import BatchNorm, QuantActivation, QuantDense, Sign, Ternary
from bnn.runs import RunError, open_run
from bnn.settings.config import TrainConfig
from tests.support import small_data, start


@pytest.fixture(scope="module")
def data():
    return small_data()


def rows_of(run):
    return geometry_log.read(run.folder)


@pytest.mark.parametrize("kind", ["binary", "ternary", "continuous"])
def test_values_equal_those_of_the_report(tmp_path, data, kind):
    model, _ = start(tmp_path / "run", data, kind)
    images = data.validation.images
    for ours, layer in zip(geometry_log.measure(model, images), report.analyze(model, images), strict=True):
        theirs = layer.statistics()
        assert ours["layer"] == theirs["layer"]
        assert ours["angle_mean_deg"] == pytest.approx(theirs["angle_mean_deg"], abs=1e-6)
        assert ours["r_weights"] == pytest.approx(theirs["r_weights"], abs=1e-6)
        assert ours["zeros"] == theirs["zeros"]


def test_logs_the_start_and_every_k_epochs(tmp_path, data):
    model, run = start(tmp_path / "run", data, epochs=5, log_geometry=2)
    training.fit(model, run, data)
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == [0] * 3 + [2] * 3 + [4] * 3
    assert [row["layer"] for row in rows[:3]] == ["conv_1", "dense_1", "dense_2"]
    glorot_uniform = np.degrees(np.arccos(np.sqrt(3) / 2))
    assert rows[1]["angle_mean_deg"] == pytest.approx(glorot_uniform, abs=5)


def test_logging_does_not_change_the_training_and_without_it_there_is_no_file(tmp_path, data):
    weights = []
    for k in (0, 1):
        model, run = start(tmp_path / f"run{k}", data, conv=(), epochs=2, log_geometry=k)
        training.fit(model, run, data)
        weights.append(model.get_weights())
        assert (run.folder / "geometry.csv").exists() == bool(rows_of(run)) == bool(k)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(*weights, strict=True))


def test_flip_ratios_add_up_to_those_of_the_runs_log_and_zeros_are_those_of_the_kernels(tmp_path, data):
    model, run = start(tmp_path / "run", data, "ternary", epochs=2, log_geometry=1)
    sizes = {layer.name: np.prod(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel")}
    training.fit(model, run, data)
    rows = rows_of(run)
    assert {row["flip_ratio"] for row in rows if row["epoch"] == 0} == {None}
    for logged in run.log():
        mine = [row for row in rows if row["epoch"] == logged["epoch"]]
        changed = sum(row["flip_ratio"] * sizes[row["layer"]] for row in mine)
        assert changed / sum(sizes.values()) == pytest.approx(logged["flip_ratio"])
        assert changed > 0
    for row in rows[-3:]:
        kernel = np.asarray(model.get_layer(row["layer"]).kernel)
        assert row["zeros"] == np.mean(np.abs(kernel) <= 0.1) > 0


def test_kernels_that_are_not_quantized_have_no_flips(tmp_path, data):
    model, run = start(tmp_path / "run", data, "continuous", conv=(), epochs=1, log_geometry=1)
    training.fit(model, run, data)
    assert {row["flip_ratio"] for row in rows_of(run)} == {None}
    assert [row["flip_ratio"] for row in run.log()] == [0]


def test_a_run_writes_losses_and_geometry_for_tensorboard(tmp_path, data):
    model, run = start(tmp_path / "run", data, conv=(), epochs=1, log_geometry=1)
    training.fit(model, run, data, tensorboard=True)
    found = {path.parent.name for path in (run.folder / "tensorboard").glob("*/events*")}
    assert found == {"train", "validation", "geometry"}


def test_older_files_with_fewer_columns_are_read(tmp_path):
    (tmp_path / "geometry.csv").write_text("epoch,layer,angle_mean_deg,r_weights\n2,conv_1,33.5,0.75\n")
    row = {"epoch": 2, "layer": "conv_1", "angle_mean_deg": 33.5, "r_weights": 0.75}
    assert geometry_log.read(tmp_path) == [row | dict.fromkeys(("r_within", "gain", "zeros", "flip_ratio"))]


def test_another_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "geometry.csv").write_text("epoch,layer\n1,conv_1\n")
    with pytest.raises(RunError, match=r"geometry.csv: expected the columns epoch, layer"):
        geometry_log.read(tmp_path)


def test_older_runs_without_the_setting_open(tmp_path, data):
    _, run = start(tmp_path / "run", data)
    path = run.folder / "config.json"
    lines = [
        line for line in path.read_text().splitlines() if "log_geometry" not in line and "sha256" not in line
    ]
    path.write_text("\n".join(lines))
    assert open_run(run.folder).training.log_geometry == 0


# in any training

X = np.random.default_rng(0).standard_normal((80, 12)).astype(np.float32)
Y = np.tanh(X[:, :3])


def compiled():
    """A model that contains another model and a Keras layer."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((16,)), QuantDense(8, Ternary(0.1), name="deep")], name="inner")
    inputs = keras.Input((12,))
    x = QuantActivation(Sign())(BatchNorm()(QuantDense(16, Sign(), name="first")(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(inner(x)))
    model.compile(keras.optimizers.Adam(0.03), "mse", jit_compile=False)
    return model


def fit(model, logger, epochs, first=0):
    model.fit(X, Y, batch_size=20, initial_epoch=first, epochs=epochs, verbose=0, callbacks=[logger])


def test_any_fit_is_logged(tmp_path):
    model, path = compiled(), tmp_path / "logs" / "geometry.csv"
    kernels = []
    snapshot = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: kernels.append(np.asarray(model.get_layer("first").kernel)),
        on_epoch_end=lambda *_: kernels.append(np.asarray(model.get_layer("first").kernel)),
    )
    model.fit(X, Y, epochs=4, verbose=0, callbacks=[GeometryLogger(X[:20], path, every=2), snapshot])
    rows = geometry_log.read(path)
    assert [(row["epoch"], row["layer"]) for row in rows] == [
        (epoch, layer) for epoch in (0, 2, 4) for layer in ("first", "inner/deep", "last")
    ]
    for i, before, after in ((3, 2, 3), (6, 6, 7)):  # the flips of the second and the fourth epoch
        changed = (kernels[before] >= 0) != (kernels[after] >= 0)
        assert rows[i]["flip_ratio"] == changed.mean() > 0
    for row, layer in zip(rows[-3:], report.analyze(model, X[:20]), strict=True):
        theirs = layer.statistics()
        assert row["r_weights"] == pytest.approx(theirs["r_weights"], abs=1e-6)
        assert row["zeros"] == theirs["zeros"]


def test_a_model_without_a_known_input_is_logged_from_the_start(tmp_path):
    model = keras.Sequential([QuantDense(8, Sign()), BatchNorm(), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    fit(model, GeometryLogger(X[:20], tmp_path / "g.csv"), 1)
    rows = geometry_log.read(tmp_path / "g.csv")
    assert [row["epoch"] for row in rows] == [0, 0, 1, 1]
    assert [row["flip_ratio"] is None for row in rows] == [True, True, False, True]


def test_a_fit_that_continues_keeps_earlier_rows(tmp_path):
    model, logger = compiled(), GeometryLogger(X[:20], tmp_path / "g.csv")
    fit(model, logger, 3)
    first = geometry_log.read(tmp_path / "g.csv")
    fit(model, logger, 4, first=2)
    rows = geometry_log.read(tmp_path / "g.csv")
    assert rows[:9] == first[:9]
    assert [row["epoch"] for row in rows[::3]] == [0, 1, 2, 3, 4]
    assert rows[9:12] != first[9:12]


def test_a_fit_from_the_first_epoch_replaces_the_file(tmp_path):
    model = compiled()
    fit(model, GeometryLogger(X[:20], tmp_path / "g.csv"), 2)
    first = geometry_log.read(tmp_path / "g.csv")
    fit(model, GeometryLogger(X[:20], tmp_path / "g.csv"), 1)
    rows = geometry_log.read(tmp_path / "g.csv")
    assert [row["epoch"] for row in rows[::3]] == [0, 1]
    assert [row["angle_mean_deg"] for row in rows[:3]] == [row["angle_mean_deg"] for row in first[-3:]]


def test_tensorboard_gets_the_same_values(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fit(compiled(), GeometryLogger(X[:20], tmp_path / "g.csv", tensorboard=tmp_path / "events"), 2)
    events = accumulators.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    told = {
        (tag, event.step): event.tensor_proto.float_val[0]
        for tag in events.Tags()["tensors"]
        for event in events.Tensors(tag)
    }
    expected = {
        (f"{name}/{row['layer']}", row["epoch"]): row[name]
        for row in geometry_log.read(tmp_path / "g.csv")
        for name in ("angle_mean_deg", "r_weights", "r_within", "gain", "zeros", "flip_ratio")
        if row[name] is not None
    }
    assert told == pytest.approx(expected, rel=1e-6)
    assert len(told) == 5 * 3 * 3 + 2 * 2


@pytest.mark.parametrize("every", [0, -1, 1.5, None])
def test_every_is_a_positive_integer(tmp_path, every):
    with pytest.raises(ValueError, match="every: expected a positive whole number, received"):
        GeometryLogger(X, tmp_path / "g.csv", every)


def test_the_help_names_every_statistic_that_is_logged():
    told = next(field for field in dataclasses.fields(TrainConfig) if field.name == "log_geometry").metadata[
        "help"
    ]
    names = [statistics.title(key).removesuffix(" (°)") for key in geometry_log.STATISTICS]
    listed = re.search(r"log (.*?) of each layer", told)[1].replace(" and ", ", ").split(", ")
    assert listed == [*names, "flip ratio"]
