"""Set-up of all tests: no network, a quiet Keras, repeatable hypothesis, programs that receive Ctrl-C, a tiny run."""

import os
import signal
from pathlib import Path

import network_guard  # noqa: F401, first of all: what follows is guarded too
import pytest
from hypothesis import settings

from bnn import backend
from tests.support import TINY, call, once

GUARD = str(Path(__file__).parent / "guard")
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]  # a proxy on this machine could reach the network
os.environ.pop("BNN_DATA", None)  # tests set the folder of the data themselves
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [GUARD, os.environ.get("PYTHONPATH")]))

# The slowest modules start first, so that no worker waits long at the end.
LONGEST = (
    "test_kills",
    "test_experiments",
    "test_loop",
    "test_jax",
    "test_hd_figures",
    "test_start",
    "test_shipped",
)

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
backend.load()
# Background jobs of a shell ignore the signal, and so would every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A tiny run, trained from the command line: (its folder, the output of the program)."""
    return once(tmp_path_factory, "tiny", train_tiny)


def train_tiny(folder):
    process = call("train.py", *TINY, "--run_dir", folder, fresh=True)
    assert process.returncode == 0, process.stderr
    return folder, process
