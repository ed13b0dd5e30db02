"""Set-up of all tests: no network, Keras without messages, repeatable hypothesis, working Ctrl-C, a tiny run."""

import gc
import os
import signal
from pathlib import Path

import network_guard  # noqa: F401, imported first, so that the other imports are guarded too
import one_thread  # noqa: F401, before NumPy is loaded
import pytest
from hypothesis import settings

from bnn import backend
from tests.support import TINY, call, once

GUARD = str(Path(__file__).parent / "guard")
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]  # a proxy on this machine could reach the network
os.environ.pop("BNN_DATA", None)  # tests set the folder of the data themselves
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [GUARD, os.environ.get("PYTHONPATH")]))

# These tests need JAX as the backend: make test-jax
collect_ignore = [] if os.environ.get("KERAS_BACKEND") == "jax" else ["jax"]

# The modules that take longest start first, so that no worker is left alone with one at the end.
LONGEST = (
    "test_contract",
    "test_loop",
    "test_published",
    "test_kills",
    "test_start",
    "test_docs",
    "test_bit_products",
    "test_own_data",
    "test_backend",
    "test_geometry_log",
    "test_atomic",
    "test_user_code",
    "test_programs",
    "test_quantized",
    "test_bit_words",
    "test_fuzz_commands",
    "test_fuzz_files",
    "test_shipped",
    "test_prediction",
    "test_networks",
    "test_display",
    "test_loading",
    "test_own_quantizer",
)

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
# Background jobs of a shell ignore SIGINT, and so would all programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers():
    """One process more than cores, because tests often wait for a program or a server."""
    return os.cpu_count() + 1


def pytest_configure(config):
    """Load Keras in every process that runs tests: the one that only distributes them needs none."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        backend.load()


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish():
    """Collect garbage only among what the tests make: modules are most of the objects, and live until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A tiny run, trained from the command line: (its folder, the finished process)."""
    return once(tmp_path_factory, "tiny", train_tiny)


def train_tiny(folder):
    process = call("train.py", *TINY, "--run_dir", folder, fresh=True)
    assert process.returncode == 0, process.stderr
    return folder, process
