"""The programs on JAX, where TensorFlow cannot be imported."""

import json
import subprocess
import sys

from tests.support import ROOT, TINY, assert_refused

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


def call_without_tensorflow(program, *args):
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, ROOT / program, *args]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT)


def test_a_network_is_trained_and_analyzed(tmp_path):
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
