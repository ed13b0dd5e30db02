"""Set-up of all tests: no network, a quiet Keras, repeatable hypothesis, programs that Ctrl-C reaches, a tiny run."""

import os
import signal
from pathlib import Path

import network_guard  # noqa: F401, first of all: what follows is guarded too
import pytest
from hypothesis import settings

from bnn import backend
from tests.support import TINY, call

GUARD = str(Path(__file__).parent / "guard")
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]  # a proxy on this machine would be a way out of it
os.environ.pop("BNN_DATA", None)  # tests say where they look for data
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [GUARD, os.environ.get("PYTHONPATH")]))

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
backend.load()
# A shell's background jobs ignore the signal, and so would every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A tiny run, from the command line: (its folder, what the program said)."""
    folder = tmp_path_factory.mktemp("programs") / "tiny"
    process = call("train.py", *TINY, "--run_dir", folder)
    assert process.returncode == 0, process.stderr
    return folder, process
