"""Sweeps: the points of a grid, their folder, how far they are, and the results."""

import os
import re
import shutil
import signal
import time

import numpy as np
import pytest

from bnn import runs, training
from bnn.commands import sweep as command
from bnn.console.errors import ConfigError, RunError
from bnn.files import lock
from bnn.training.sweeps import folder, plan, queue, results, status
from bnn.training.sweeps.jobs import OnThisMachine, Slurm
from bnn.training.sweeps.start import default_name, launch, prepare, train_point
from bnn.training.sweeps.supervisor import Supervisor, last_line, seconds
from tests.support import ROOT, begin, call, same_but_for_seconds

DENSE = {"data_set": "mnist-5k", "conv": (), "max_pool": (), "fc": (8,), "debug": True, "deterministic": True}


def names(**settings):
    variants = settings.pop("variants", None)
    return [point.name for point in plan.points({"data_set": "mnist-5k"} | settings, variants)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["seed0"]),
        ({"seed": [0, 1, 0]}, ["seed0", "seed1"]),
        ({"levels": [2, 3], "seed": (0, 1)}, [f"levels{n}/seed{s}" for n in (2, 3) for s in (0, 1)]),
        ({"levels": [2, 3], "threshold": 0.02}, ["levels2/seed0", "levels3/seed0"]),
        (
            {"levels": [2, 3], "threshold": [0.02, 0.05]},
            ["levels2/seed0", "levels3-threshold0.02/seed0", "levels3-threshold0.05/seed0"],
        ),
        (
            {"optimizer": ["adam", "bop"], "bop_gamma": [1e-4, 1e-3]},
            [f"optimizer-{name}/seed0" for name in ("adam", "bop-bop_gamma0.0001", "bop-bop_gamma0.001")],
        ),
        ({"conv": [[8], [16]], "max_pool": [1], "fc": []}, ["conv8/seed0", "conv16/seed0"]),
        ({"fc": [[], [16, 8]]}, ["fc-none/seed0", "fc16-8/seed0"]),
        ({"bn_scale": [True, False]}, ["bn_scale/seed0", "no-bn_scale/seed0"]),
        ({"clip_gradients": [None, 0.5]}, ["clip_gradients-none/seed0", "clip_gradients0.5/seed0"]),
        ({"network": ["vgg", "lstm"], "units": [8], "fc": [16]}, ["network-vgg/seed0", "network-lstm/seed0"]),
        (
            {"variants": {"base": {}, "no warm-up": {"warmup": 0}}, "seed": [0, 1]},
            [f"{name}/seed{seed}" for name in ("base", "no-warm-up") for seed in (0, 1)],
        ),
        ({"variants": {"a b": {}, "a, b": {"warmup": 1}}}, 2),
        ({"levels": np.array([2, 3])}, ["levels2/seed0", "levels3/seed0"]),
    ],
)
def test_points_are_named_by_what_differs(settings, expected):
    found = names(**settings)
    assert len(set(found)) == len(found)
    assert len(found) == expected if isinstance(expected, int) else found == expected


def test_points_have_the_settings_of_their_names():
    grid = {"data_set": "mnist-5k", "levels": [2, 3], "threshold": [0.02, 0.05], "epochs": 3, "seed": [4, 5]}
    for point in plan.points(grid):
        config = point.config
        assert config.training.epochs == 3 and config.training.seed == point.settings["seed"]
        assert config.quantization.levels == point.settings["levels"]
        assert config.quantization.threshold == point.settings.get("threshold", 0)
        assert point.name.endswith(f"/seed{config.training.seed}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sed": [0, 1]}, "sed: expected no setting of this name, received (0, 1); did you mean seed?"),
        ({"seed": []}, "seed: expected at least one value, received []"),
        ({"levels": [2, 4]}, "levels: expected one of 2, 3, received 4"),
        ({"levels": 2, "threshold": 0.02}, "threshold: expected 0 unless levels is 3, received 0.02"),
        ({"levels": [2, 3], "threshold": [0.02, 1.5]}, "threshold: expected a value in [0, 1), received 1.5"),
        ({"conv": [[8], [8, 8]], "max_pool": [1]}, "max_pool: expected one entry for each of the 2 in conv"),
        ({"variants": {"a": {"levels": [2, 3]}}}, "variants.a: expected one value of levels"),
        ({"variants": {"a": {"levels": 3}}, "levels": [2, 3]}, "variants.a: expected one value of levels"),
        ({"variants": {"a": 3}}, "variants.a: expected a table of settings, received 3"),
        ({"variants": {}}, "variants: expected at least one"),
        ({"slum": {"partition": "main"}}, "did you mean slurm?"),
    ],
)
def test_a_wrong_grid_is_one_line(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        names(**settings)
    assert len(str(error.value).splitlines()) == 1


def test_the_default_folder_names_data_and_axes():
    assert default_name({"data_set": "mnist-5k", "seed": [0, 1], "levels": [2, 3]}) == "mnist-5k-seed-levels"
    assert default_name({"data_set": ["a.npz", "MNIST"], "levels": 2}) == "data_set"


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A sweep of two settings and two seeds; the points of the first setting are trained, in this process."""
    made = prepare(tmp_path_factory.mktemp("sweeps") / "grid", DENSE | {"levels": [2, 3], "seed": [0, 1]})
    made.folder.mkdir(parents=True)
    made.save()
    for point in made.points[:2]:
        train_point(made.folder, point.name, ["a command"])
    return folder.open_sweep(made.folder)


@pytest.mark.slow
def test_a_point_is_the_run_of_the_same_settings(grid, tmp_path):
    alone = training.train(tmp_path / "alone", **DENSE, levels=2, seed=1, verbose=False)
    run = runs.open_run(grid.folder / "levels2" / "seed1")
    assert run.config == alone.config and run.data == alone.data
    assert same_but_for_seconds(run.log(), alone.log())
    for one, other in zip(*(r.load_model("last").get_weights() for r in (run, alone)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_state_of_a_point_is_that_of_its_run(grid, tmp_path):
    place = shutil.copytree(grid.folder, tmp_path / "grid")
    made = folder.open_sweep(place)
    assert [state.state for state in made.status()] == ["complete"] * 2 + ["not begun"] * 2
    assert len(made.runs) == 2 and made.status()[0].epochs == 2
    assert repr(made).splitlines()[-1] == "2 of 4 complete, 2 not begun"
    first, second, third, _ = made.points
    (made.run_dir(first) / "summary.txt").unlink()  # killed after the last row of the log
    log = made.run_dir(second) / "log.csv"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    made.record(third, "failed").parent.mkdir(parents=True)
    made.record(third, "failed").write_text("bnn sweep: error: a reason\n")
    states = made.status()
    assert [state.state for state in states] == ["interrupted", "interrupted", "failed", "not begun"]
    assert states[1].epochs == 1 and states[2].why == "bnn sweep: error: a reason"
    lock.hold(made.run_dir(second))
    try:
        assert made.status()[1].state == "training" and made.status()[1].seconds_left > 0
    finally:
        lock.release(made.run_dir(second))
    assert queue.hold(made, third) and made.status()[2].state == "starting"
    train_point(place, first.name, ["a command"])
    assert status.is_complete(made, first)
    (made.run_dir(second) / "config.json").write_text("{}")
    assert made.status()[1].state == "failed" and "config.json" in made.status()[1].why


def test_the_table_has_one_row_per_setting_pooled_over_the_seeds(grid, capsys):
    assert command.main([grid.folder, "--table", "--figure"]) == 0
    printed = capsys.readouterr().out
    heading, row, *_ = printed.splitlines()
    assert heading.split() == ["levels", "seeds", "test", "accuracy", "best", "val_accuracy"]
    best = [max(row["val_accuracy"] for row in run.log()) for run in grid.runs]
    pooled = f"{np.mean(best):.4f} ± {np.std(best, ddof=1):.4f}".removesuffix(" ± 0.0000")
    assert row.split()[:2] == ["2", "2"] and row.rstrip().endswith(pooled)
    assert {path.name for path in grid.folder.iterdir()} >= {
        "table.csv",
        "comparison.csv",
        "sweep.png",
        "sweep.pdf",
    }
    rows = results.rows(grid, grid.compare())
    assert [(row.label, row.seeds) for row in rows] == [("levels 2", 2)]
    assert "<table>" in results.html(rows) and "<table>" in grid._repr_html_()


def test_more_values_let_a_sweep_grow_and_other_settings_are_refused(grid):
    more = prepare(grid.folder, DENSE | {"levels": [2, 3], "seed": [0, 2]})
    assert [point.name for point in more.points] == [
        *(p.name for p in grid.points),
        "levels2/seed2",
        "levels3/seed2",
    ]
    for changed, message in (
        (
            {"epochs": 3},
            "epochs: expected none, with which the sweep in .* was begun, received 3; use another sweep_dir",
        ),
        ({"fc": (9,)}, "fc: expected 8, with which .* was begun, received 9"),
        (
            {"lr_start": [1e-3, 1e-2]},
            "expected the sweep over levels, seed that is there, received one over levels, lr",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            prepare(grid.folder, DENSE | {"levels": [2, 3], "seed": [0, 1]} | changed)
    assert prepare(grid.folder, {}) == grid


def test_folders_of_something_else_are_refused_and_nothing_is_lost(grid, tmp_path):
    settings = DENSE | {"levels": [2, 3], "seed": [0, 1]}
    with pytest.raises(RunError, match="expected the folder of a sweep, received a run"):
        prepare(grid.folder / "levels2" / "seed0", settings)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"received one with other files, such as thesis\.tex"):
        prepare(tmp_path / "other", settings)
    place = shutil.copytree(grid.folder, tmp_path / "grid")
    (place / "sweep.json").unlink()
    assert len(prepare(place, settings).runs) == 2  # adopted
    with pytest.raises(ConfigError, match=r"levels2/seed0 was begun, received 9"):
        prepare(place, settings | {"fc": (9,)})
    for damage in ("{}", "nothing", '{"format": 1, "points": []}', "[]"):
        (place / "sweep.json").write_text(damage)
        with pytest.raises(
            RunError, match=r"sweep\.json: expected the points of a sweep, received a damaged file"
        ):
            folder.open_sweep(place)
    text = (grid.folder / "sweep.json").read_text()
    (place / "sweep.json").write_text(text.replace('"levels2/seed0"', '"../seed0"'))
    with pytest.raises(RunError, match="damaged"):
        folder.open_sweep(place)
    with pytest.raises(RunError, match=r"expected the folder of a sweep, with .*, received no such folder"):
        folder.open_sweep(tmp_path / "none")
    with pytest.raises(
        ConfigError, match=r"expected a point of .*, received levels2/seed7; did you mean levels2/seed"
    ):
        grid.point("levels2/seed7")


def test_a_second_start_of_one_sweep_is_refused(grid, tmp_path):
    place = shutil.copytree(grid.folder, tmp_path / "grid")
    hold = f"import sys, time; from pathlib import Path; from bnn.files import lock; lock.hold(Path({str(place)!r}));"
    process = begin("-c", f"{hold} print('held', flush=True); time.sleep(60)")
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(
            RunError, match="expected a sweep that no other process starts, received one in use by pro"
        ):
            launch(folder.open_sweep(place))
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": -1}, "memory: expected a positive number"),
        ({"cpus": True}, "cpus: expected a positive number"),
        ({"time": "soon"}, "time: expected minutes, or D-HH:MM:SS, received 'soon'"),
        (
            {"more": {"comment": "x"}},
            "slurm: expected options that the sweep does not set itself, received 'comment'",
        ),
    ],
)
def test_wrong_options_of_slurm_are_one_line(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Slurm(**options)


def test_options_of_slurm_become_those_of_submitit():
    slurm = Slurm("main", "1-00:30:00", 1.5, 2, 1, False, {"account": "vision", "cores-per-socket": "4"})
    assert slurm.parameters() == {
        "partition": "main",
        "time": 24 * 60 + 30,
        "mem": "1536MB",
        "cpus_per_task": 2,
        "gpus_per_node": 1,
        "account": "vision",
        "additional_parameters": {"no-requeue": True, "cores-per-socket": "4"},
    }
    assert [seconds(text) for text in ("00:00:05", "1-01:00:00", "UNLIMITED", None, "02:03")] == [
        5,
        90000,
        0,
        0,
        123,
    ]


def test_local_jobs_share_the_cores(grid):
    cores = sorted(os.sched_getaffinity(0))
    for jobs in (1, len(cores), len(cores) + 1):
        parts = OnThisMachine(grid, jobs).parts
        assert len(parts) == jobs and all(len(part) == max(1, len(cores) // jobs) for part in parts)
        used = [core for part in parts[: len(cores)] for core in part]
        assert len(set(used)) == len(used) and {*used} <= {*cores}
    for jobs in (0, -1, 1.5):
        with pytest.raises(ConfigError, match="jobs: expected a positive number"):
            OnThisMachine(grid, jobs)
    with pytest.raises(ConfigError, match="gpus: expected at most the 0 GPUs of this machine"):
        OnThisMachine(grid, 2, gpus=1)


def test_threads_follow_the_cores_but_not_where_they_change_results(grid, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    (point,) = plan.points(DENSE | {"deterministic": False})
    environment = Supervisor("", "", (0, 1))._environment(point)
    assert environment["OMP_NUM_THREADS"] == environment["TF_NUM_INTRAOP_THREADS"] == "2"
    assert "TF_NUM_INTRAOP_THREADS" not in Supervisor("", "", (0, 1))._environment(grid.points[0])
    assert Supervisor("", "", (0,), "3")._environment(point)["CUDA_VISIBLE_DEVICES"] == "3"


def test_the_last_line_of_a_log_is_found(tmp_path):
    path = tmp_path / "log"
    assert last_line(path) == ""
    path.write_bytes(b"x" * 9000 + b"\nthe \xff end\n \n")
    assert last_line(path) == "the \N{REPLACEMENT CHARACTER} end"


def test_the_command_line_refuses_in_one_line(grid, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.toml").write_text("levels = [2,")
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "variants.toml").write_text("data_set = 'mnist-5k'\nvariants = 3")
    monkeypatch.setenv("PATH", str(tmp_path))
    for arguments, message in (
        ([], "expected settings, received none"),
        (["--status"], "--status: expected the folder of a sweep, received none"),
        (
            [tmp_path / "none.toml"],
            "none.toml: expected a file with a sweep, or the folder of one, received no such file",
        ),
        ([tmp_path / "broken.toml"], "broken.toml: expected settings in TOML"),
        ([tmp_path / "empty.toml"], "empty.toml: expected settings, received none"),
        ([tmp_path / "variants.toml"], "variants: expected a table, received 3"),
        ([grid.folder, "--levels", 2], "--levels: expected none with the folder of a sweep"),
        (
            [grid.folder, "--cluster", "slurm"],
            "sinfo: expected SLURM's programs on PATH, received none; cluster local",
        ),
        (
            [grid.folder, "--cluster", "local", "--partition", "main"],
            "--slurm: expected --cluster slurm with it",
        ),
        ([grid.folder, "--jobs", "0"], "--jobs: expected a positive number, received 0"),
    ):
        monkeypatch.chdir(tmp_path)
        with pytest.raises((ConfigError, RunError, queue.ClusterError), match=re.escape(message)) as error:
            command.main([str(argument) for argument in arguments])
        assert len(str(error.value).splitlines()) == 1
    for arguments, message in (
        (["--slurm", "account"], "expected KEY=VALUE"),
        (["--levles", "2"], "did you mean --levels?"),
    ):
        with pytest.raises(SystemExit) as stop:
            command.main(arguments)
        assert stop.value.code == 2 and message in capsys.readouterr().err


def test_a_file_and_flags_are_one_grid(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("bnn.training.sweeps.start.prepare", lambda *given: seen.update(given=given) or 1 / 0)
    path = tmp_path / "study.toml"
    path.write_text(
        "data_set = 'mnist-5k'\nlevels = [2, 3]\nepochs = 9\n[variants.base]\n[variants.warm]\nwarmup = 1\n"
    )
    with pytest.raises(ZeroDivisionError):
        command.main([str(path), "--epochs", "2", "--conv", "8", "--conv", "8", "16"])
    sweep_dir, settings, variants, use, _ = seen["given"]
    assert (
        str(sweep_dir) == "runs/sweeps/study"
        and variants == {"base": {}, "warm": {"warmup": 1}}
        and use == []
    )
    assert settings == {"data_set": "mnist-5k", "levels": [2, 3], "epochs": [2], "conv": [[8], [8, 16]]}


@pytest.mark.slow
def test_a_local_sweep_ends_like_single_runs_whatever_is_killed(tmp_path):
    settings = [
        "--data_set",
        "mnist-5k",
        "--conv",
        "--max_pool",
        "--fc",
        "32",
        "--epochs",
        "6",
        "--deterministic",
    ]
    arguments = [
        "-m",
        "bnn",
        "sweep",
        *settings,
        "--seed",
        "0",
        "1",
        "--lr_start",
        "0.01",
        "1e9",
        "--loss_mode",
    ]
    arguments += ["hinge-loss", "--sweep_dir", tmp_path / "sweep", "--jobs", "2"]
    process = begin(*arguments, fresh=True)
    wait_for(lambda: len(children(tmp_path)) == 2)
    os.kill(children(tmp_path)[0], signal.SIGKILL)  # a training, which its supervisor starts again
    wait_for(lambda: list((tmp_path / "sweep").glob("*/*/last.keras")))
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 143 and "the same command continues the sweep" in said
    wait_for(lambda: not children(tmp_path))
    process = begin(*arguments, fresh=True)
    wait_for(lambda: children(tmp_path))
    process.kill()  # the jobs that run go on
    process.wait()
    done = call(*arguments, fresh=True)
    assert "lr_start0.01/seed0: complete" in done.stdout + repr(folder.open_sweep(tmp_path / "sweep"))
    for seed in (0, 1):
        alone = call(
            "train.py", *settings, "--seed", seed, "--lr_start", "0.01", "--run_dir", tmp_path / f"{seed}"
        )
        assert alone.returncode == 0, alone.stderr
        expect_equal_runs(tmp_path / f"{seed}", tmp_path / "sweep" / "lr_start0.01" / f"seed{seed}")


def expect_equal_runs(*folders):
    one, other = map(runs.open_run, folders)
    assert same_but_for_seconds(one.log(), other.log())
    for name in ("last", "best"):
        weights = (run.load_model(name).get_weights() for run in (one, other))
        for mine, theirs in zip(*weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def children(place):
    """The processes that train points below a folder."""
    found = []
    for path in ROOT.__class__("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "--point" in words and any(word.startswith(str(place)) for word in words):
            found.append(int(path.parent.name))
    return found


def wait_for(condition, limit=240):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.2)
