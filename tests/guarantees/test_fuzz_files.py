"""Corrupted files of every kind that the programs read give one line that names the file, or exactly the same result.

The tables log.csv and geometry.csv have no digest. Theirs is a result of the same form, perhaps with other numbers.
A few hundred cases always run, thousands with `-m slow`. The cases are the same every time.
"""

import functools
import math
import shutil

import numpy as np
import pytest

from bnn import datasets, runs, training
from bnn.analysis.keras import geometry_log
from bnn.datasets.storing import install, staging, verify
from bnn.training import Interrupted, Journal, StopRequests
from tests.corruption import corrupted, within
from tests.support import small_data, start
from tests.toy_data_sets import VARIANT_MEMBERS, tar_toy

STEPS = 10
KINDS = ("binary", "ternary", "continuous")


def campaign(short, long):
    """Parametrize `cases` with a small number, and with a large one that is marked slow."""
    return pytest.mark.parametrize("cases", [short, pytest.param(long, marks=pytest.mark.slow)])


def fuzz(path, cases, read, expected, failure, said=""):
    """Read a file corrupted in `cases` ways, and check that the result is `expected` or a `failure` of one line.

    Args:
        path: Path of an undamaged file.
        cases: int.
        read: function without arguments.
        expected: function from the result of `read` to whether it is correct.
        failure: exception type.
        said: text that the message must contain; by default the name of the file.

    Returns:
        int, the number of files that were refused.
    """
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for case in range(cases):
        path.write_bytes(corrupted(content, rng))
        try:
            with within(60):
                received = read()
        except failure as error:
            assert (said or path.name) in str(error), case
            assert len(str(error).splitlines()) == 1, case
            refused += 1
        else:
            assert expected(received), (case, received)
    path.write_bytes(content)
    assert expected(read())
    return refused


@pytest.fixture(scope="module")
def data():
    return small_data()


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """Run directories of each kind: the binary one interrupted in its second epoch, the others not yet trained."""
    folders = {}
    for kind in KINDS:
        folder = folders[kind] = tmp_path_factory.mktemp("fuzz") / kind
        # TensorFlow traces a dense network faster; test_kills.py has checkpoints of convolutions.
        model, run = start(folder, data, kind, conv=(), log_geometry=1)
        if kind != "binary":
            for name in ("best", "last"):
                run.save_model(model, name)
            continue
        with pytest.MonkeyPatch.context() as patch:
            interrupt_after(patch, STEPS + 3)
            with pytest.raises(Interrupted):
                training.fit(model, run, data)
    return folders


def interrupt_after(patch, step):
    original = Journal.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == step:
            self.requests.signal = 2
        original(self, batch, logs)

    patch.setattr(Journal, "on_train_batch_end", on_train_batch_end)


@pytest.fixture
def run(trained, tmp_path):
    return runs.open_run(shutil.copytree(trained["binary"], tmp_path / "run"))


def equal_weights(model, weights):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


# the files of a run


@campaign(300, 20_000)
def test_config(run, cases):
    def same(received):
        return received.config == run.config

    read = functools.partial(runs.open_run, run.folder)
    assert fuzz(run.folder / "config.json", cases, read, same, runs.RunError) > cases / 2


@campaign(300, 20_000)
def test_log(run, cases):
    def sound(rows):
        numbers = all(math.isfinite(value) for row in rows for value in row.values())
        epochs = [row["epoch"] for row in rows]
        return (
            numbers and epochs == sorted(set(epochs)) and all(0 <= row["val_accuracy"] <= 1 for row in rows)
        )

    fuzz(run.folder / "log.csv", cases, run.log, sound, runs.RunError)


@campaign(300, 20_000)
def test_geometry_log(run, cases):
    """Nothing shows that a digit is wrong, so the numbers are not compared."""

    def sound(rows):
        kinds = {(name, type(value)) for row in rows for name, value in row.items() if value is not None}
        return kinds <= set(geometry_log.COLUMNS.items())

    read = functools.partial(geometry_log.read, run.folder)
    assert fuzz(run.folder / "geometry.csv", cases, read, sound, runs.RunError) > cases / 3


@campaign(20, 1500)
@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints(run, name, cases):
    read = functools.partial(run.load_model, name, compiled=name == "last")
    weights = read().get_weights()
    same = functools.partial(equal_weights, weights=weights)
    assert fuzz(run.checkpoint(name), cases, read, same, runs.RunError) > cases / 2


@campaign(150, 5000)
def test_partial_epochs(run, cases):
    journal = Journal(run, STEPS, 1, 3, StopRequests())
    journal.set_model(run.load_model("last", compiled=True))

    def read():
        journal.on_train_begin()
        return journal.kernels, journal.partial["metrics"], journal.partial["seconds"]

    kernels, metrics, seconds = read()

    def same(received):
        return (
            all(np.array_equal(received[0][name], kernel) for name, kernel in kernels.items())
            and all(np.array_equal(a, b) for a, b in zip(received[1], metrics, strict=True))
            and received[2] == seconds
        )

    (partial,) = run.folder.glob("partial-*.npz")
    assert fuzz(partial, cases, read, same, runs.RunError) > cases / 2


# files of another run


def test_a_checkpoint_of_another_kind_of_network_is_refused(trained, tmp_path, kind):
    for other in set(KINDS) - {kind}:
        folder = shutil.copytree(trained[kind], tmp_path / other)
        for name in ("best", "last"):
            shutil.copy(trained[other] / f"{name}.keras", folder)
            with pytest.raises(
                runs.RunError, match=rf"{name}\.keras: expected the {kind} network that config\.json"
            ):
                runs.open_run(folder).load_model(name, compiled=name == "last")


def test_every_kind_loads_its_own_checkpoints(trained, kind):
    run = runs.open_run(trained[kind])
    assert run.load_model("best").name == run.load_model("last", compiled=True).name == kind


def test_best_in_place_of_last_is_refused(run):
    shutil.copy(run.checkpoint("best"), run.checkpoint("last"))
    with pytest.raises(runs.RunError, match=r"last\.keras: expected a network with its optimizer"):
        run.load_model("last", compiled=True)


def test_a_config_of_another_run_is_refused(trained, tmp_path):
    folder = shutil.copytree(trained["binary"], tmp_path / "run")
    shutil.copy(trained["ternary"] / "config.json", folder)
    with pytest.raises(runs.RunError, match=r"best\.keras: expected the ternary network that config\.json"):
        runs.open_run(folder).load_model("best")


def test_the_interrupted_epoch_of_another_network_is_refused(run, tmp_path, data):
    path = next(run.folder.glob("partial-*.npz"))
    with np.load(path, allow_pickle=False) as saved:
        arrays = dict(saved)
    journal = Journal(run, STEPS, 1, 3, StopRequests())
    journal.set_model(run.load_model("last", compiled=True))
    name = next(name for name in arrays if name.startswith("kernel_"))
    for wrong in (
        {k: v for k, v in arrays.items() if k != name},
        arrays | {name: arrays[name][..., :1]},
        arrays | {"kernel_other": arrays[name]},
        arrays | {"metric_0": np.zeros(3, np.float32)},
        {k: v for k, v in arrays.items() if k != "metric_0"},
        arrays | {"seconds": np.float64("nan")},
        arrays | {name: arrays[name].astype(object)},
    ):
        np.savez(path, **wrong)
        with pytest.raises(
            runs.RunError, match=r"partial-13\.npz: expected the state of an interrupted epoch"
        ):
            journal.on_train_begin()


# data


@pytest.fixture
def downloaded(tmp_path):
    """The folder of a small data set, a variant, as the downloader stores it with its record."""
    folder = tmp_path / "toy"
    with staging(folder) as stage:
        for name, content in VARIANT_MEMBERS.items():
            (stage / name).write_bytes(content)
        install(tar_toy(), stage, folder, "somewhere", "ab" * 32)
    return folder


@campaign(150, 10_000)
@pytest.mark.parametrize("name", [*VARIANT_MEMBERS, "digests.json"])
def test_downloaded_files(downloaded, name, cases):
    entry = tar_toy()
    stored = verify(entry, downloaded)
    read = functools.partial(verify, entry, downloaded)
    said = name if name in VARIANT_MEMBERS else str(downloaded)
    fuzz(
        downloaded / name,
        cases,
        read,
        lambda received: received.digest == stored.digest,
        datasets.DataError,
        said,
    )
