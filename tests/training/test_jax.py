"""KERAS_BACKEND=jax: training with many steps per call, and the programs without TensorFlow."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT, TINY, assert_refused

ON_JAX = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
WITHOUT_TENSORFLOW = """
import importlib.abc, runpy, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def pytest_on_jax(name, folder):
    """Run a file of tests, in which equal networks share what JAX has compiled."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(ROOT / "tests" / name)]
    done = subprocess.run(command, capture_output=True, text=True, env=ON_JAX | cache, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def call_without_tensorflow(program, *args):
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, ROOT / program, *args]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=ON_JAX, cwd=ROOT)


def test_many_steps_per_call(tmp_path):
    pytest_on_jax("training/on_jax.py", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["training/test_loop", "analysis/test_sequences", "analysis/test_einsum"])
def test_other_tests_pass_on_jax(name, tmp_path):
    pytest_on_jax(f"{name}.py", tmp_path)


def test_the_pinned_version_of_jax_is_the_same_for_tests_and_gpus():
    gpu, tests = ((ROOT / f"requirements-{name}.txt").read_text() for name in ("jax", "dev"))
    assert re.search(r"^jax\[cuda12\]==(\S+)", gpu, re.M)[1] == re.search(r"^jax==(\S+)", tests, re.M)[1]


def test_programs_run_without_tensorflow(tmp_path):
    run = tmp_path / "run"
    small = ("--conv", 8, "--max_pool", 1, "--fc", "--debug", "--epochs", 1)
    done = call_without_tensorflow("train.py", *TINY, *small, "--run_dir", run)
    assert done.returncode == 0, done.stderr
    assert "jax" in json.loads((run / "config.json").read_text())["versions"]
    done = call_without_tensorflow("analyze.py", run, "--images", 50)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((run / "metrics.json").read_text())["layers"]) == 2


def test_events_without_tensorflow_are_refused(tmp_path):
    run = tmp_path / "run"
    done = call_without_tensorflow("train.py", *TINY, "--tensorboard", "--run_dir", run)
    assert_refused(done, "--tensorboard: expected TensorFlow, received an environment without it")
    assert not run.exists()
