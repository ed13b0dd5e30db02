"""The backend of Keras: which one is loaded, without messages, and the errors if it cannot be loaded."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from bnn import backend
from tests.support import ROOT, call

# Use every public name while Keras cannot be loaded; print whether each would have loaded it quietly.
USE_EVERYTHING = """
import importlib.abc, os, sys

stderr = os.fstat(2)

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == "keras":
            raise ModuleNotFoundError("loud" if os.path.samestat(os.fstat(2), stderr) else "quiet")

def use(owner, name, *arguments):
    try:
        found = getattr(owner, name)
        return found(*arguments) if arguments else found
    except ModuleNotFoundError as error:
        print(error, name)

sys.meta_path.insert(0, Refuse())
import bnn
for package in bnn.__all__:
    module = use(bnn, package)
    for name in getattr(module, "__all__", ()):
        use(module, name)
use(bnn.open_run("results/mnist-conv-binary/seed0"), "load_model", "best")
"""

with_jax = pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | environment,
    )


def test_every_public_name_loads_keras_without_its_messages():
    said = run_python(USE_EVERYTHING)
    lines = said.stdout.splitlines()
    loading = ("layers", "build", "fit", "GeometryLogger", "optimizers", "load_model")
    assert {f"quiet {name}" for name in loading} <= {*lines}
    assert not [line for line in lines if line.startswith("loud")]
    assert said.stderr == ""


def test_a_script_that_uses_a_layer_prints_only_its_own_output():
    done = run_python("import bnn, numpy; print(bnn.layers.QuantDense(2)(numpy.ones((1, 3))).shape)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 2)\n", "")


EXACT = """
import os
os.environ |= dict.fromkeys(["ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"], "BF16")
from bnn import backend
backend.load()
import numpy as np
from keras import ops
images, kernel = (np.random.default_rng(0).standard_normal(shape) for shape in ((4, 8, 8, 64), (3, 3, 64, 64)))
rounded, exact = (ops.conv(images.astype(t), kernel.astype(t)) for t in ("float32", "float64"))
print(float(ops.max(ops.abs(ops.cast(rounded, "float64") - exact))) < 1e-3)
"""


def test_no_setting_rounds_float32():
    """On processors that multiply bfloat16, the error would be 0.3."""
    done = call("-c", EXACT)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_messages_are_shown_if_keras_is_not_loaded():
    code = "import os\nfrom bnn.lazy_exports import quiet_start\nwith quiet_start(): os.write(2, b'a note')"
    assert run_python(code).stderr == "a note"


@pytest.mark.parametrize(
    ("program", "name", "end"),
    [
        ("train.py --data_set mnist-5k", "tenserflow", "received 'tenserflow'; did you mean tensorflow?"),
        ("train.py --data_set mnist-5k", "torch", "received 'torch'"),
        ("analyze.py runs/x", "torch", "received 'torch'"),
        ("test.py", "torch", "received 'torch'"),
    ],
)
def test_an_unknown_backend_is_a_usage_error_of_one_line(program, name, end):
    process = call(*program.split(), env=os.environ | {"KERAS_BACKEND": name})
    assert process.returncode == 2
    assert process.stderr.endswith(f": error: KERAS_BACKEND: expected tensorflow or jax, {end}\n")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("name", backend.BACKENDS)
def test_the_error_for_a_missing_backend_says_how_to_install_it(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setattr(sys, "modules", {n: m for n, m in sys.modules.items() if n != name})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(backend.BackendError, match=f"which is not installed; .*pip install {name}$") as error:
        backend.expect_installed()
    assert error.value.exit_code == 2


@with_jax
def test_the_backend_is_read_from_the_settings_of_keras(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    backend.expect_installed()
    (tmp_path / "keras.json").write_text('{"backend": "theano"}')
    with pytest.raises(backend.BackendError, match="received 'theano'"):
        backend.expect_installed()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    backend.expect_installed()


@with_jax
def test_keras_that_is_loaded_with_another_backend_is_refused():
    done = run_python("import keras, bnn; bnn.layers.QuantDense(2)", KERAS_BACKEND="numpy")
    said = "KERAS_BACKEND: expected tensorflow or jax, received 'numpy'; set it before Keras is imported"
    assert done.stderr.splitlines()[-1].endswith(f"BackendError: {said}")


GRADIENT = """
import hashlib, os, sys

os.environ.pop("TF_NUM_INTRAOP_THREADS", None)
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
from bnn import backend

backend.load()
backend.seed_everything(0, deterministic=True)
import tensorflow as tf

with tf.GradientTape() as tape:
    kernel = tf.Variable(tf.random.normal((3, 3, 8, 8)))
    loss = tf.reduce_sum(tf.nn.conv2d(tf.random.normal((20, 28, 28, 8)), kernel, 1, "SAME") ** 3)
print(hashlib.sha256(tape.gradient(loss, kernel).numpy()).hexdigest())
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="this machine has one core")
def test_deterministic_results_do_not_depend_on_the_number_of_cores():
    one, two = (call("-c", GRADIENT, cores) for cores in (1, 2))
    assert one.stdout == two.stdout and len(one.stdout) == 65, one.stderr


def test_a_process_that_has_computed_already_says_that_its_threads_are_given():
    code = "import tensorflow as tf; tf.ones(1) + 1; tf.config.threading.set_intra_op_parallelism_threads"
    code = f"import os; os.environ.pop('TF_NUM_INTRAOP_THREADS', None)\n{code}\nfrom bnn import backend"
    done = call("-c", f"{code}\nbackend.load(); backend.seed_everything(0, True)")
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1
    assert "expected a process in which TensorFlow can be set to 4 threads" in done.stderr
