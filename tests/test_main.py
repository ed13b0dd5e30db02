"""The command `bnn`, and the programs that run the same commands."""

import os
import subprocess
import sys
import tomllib

import pytest

import bnn
from bnn.__main__ import COMMANDS
from tests.support import ROOT, call

PROGRAMS = {"train": "train.py", "analyze": "analyze.py", "test": "test.py", "download": "data/download.py"}
HEAVY = {"keras", "tensorflow", "jax", "torch", "numpy", "scipy", "matplotlib"}


def call_bnn(*args, cwd=ROOT, **kwargs):
    command = [sys.executable, "-m", "bnn", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, **kwargs)


def test_help_lists_the_commands():
    done = call_bnn("--help")
    assert done.returncode == 0
    for name, what in COMMANDS.items():
        assert f"  {name:12}{what}\n" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_loads_no_large_library(name):
    code = f"import sys; sys.argv[1:] = ['{name}', '--help']; from bnn.__main__ import main\n"
    code += "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
    code += "print(*sorted({module.partition('.')[0] for module in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: bnn {name} ")
    assert HEAVY.isdisjoint(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", PROGRAMS)
def test_messages_of_programs_begin_with_the_name_of_the_file(name):
    environment = os.environ | {"KERAS_BACKEND": "none such"}
    program = PROGRAMS[name].rpartition("/")[2]
    assert call(PROGRAMS[name], "--help", env=environment).stdout.startswith(f"usage: {program} ")
    for done, prefix in ((call(PROGRAMS[name], "--x"), program), (call_bnn(name, "--x"), f"bnn {name}")):
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"{prefix}: error: ")


def test_errors_of_commands_begin_with_the_name_of_the_command(tmp_path):
    done = call_bnn("train", "--resume", tmp_path / "none")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"bnn train: error: {tmp_path / 'none'}: expected a run directory")


@pytest.mark.parametrize("args", [(), ("nothing",), ("--nothing",)])
def test_a_missing_or_unknown_command_is_a_usage_error(args):
    done = call_bnn(*args)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("bnn: error: ")


def test_the_version_is_that_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert call_bnn("--version").stdout == f"bnn-geometry {version}\n"
    assert bnn.__version__ == version
