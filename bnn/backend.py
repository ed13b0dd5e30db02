"""The Keras backend and the machine below it: quiet loading, arithmetic, random seeds."""

import importlib.util
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from bnn.console import note
from bnn.console.errors import ConfigError, UserError
from bnn.console.suggestions import did_you_mean
from bnn.lazy_exports import exact_float32, quiet_start

BACKENDS = ("tensorflow", "jax")
THREADS = 4  # of an operation of TensorFlow with --deterministic, on any number of cores


class BackendError(UserError, ImportError):
    """A Keras backend that is unknown or not installed; the message is one line that says how to install one."""

    exit_code = 2


def load():
    """Import Keras and its backend without the notes that TensorFlow prints at any log level.

    TF_CPP_MIN_LOG_LEVEL=0 shows them. TensorFlow's oneDNN kernels are turned on where TensorFlow itself would not
    (processors without AVX-512): a training step takes 0.7 to 0.8 of the time. TF_ENABLE_ONEDNN_OPTS=0 leaves them out.
    ONEDNN_DEFAULT_FPMATH_MODE is unset: with BF16, convolutions of float32 would round to 8 bits.

    Raises:
        BackendError: the backend is unknown or not installed, or Keras is loaded with another one.
    """
    exact_float32()
    if "keras" in sys.modules:
        _expect_known(sys.modules["keras"].config.backend(), "; set it before Keras is imported")
    else:
        expect_installed()
        with quiet_start():
            import keras  # noqa: F401


@contextmanager
def standard_settings():
    """Within the context, Keras has the settings that it has without a keras.json, only in this process.

    Types, order of axes and epsilon of a network must not depend on the settings of the user, who gets them back.
    """
    import keras

    settings = {
        "floatx": "float32",
        "epsilon": 1e-7,
        "image_data_format": "channels_last",
        "dtype_policy": "float32",
    }
    before = {name: getattr(keras.config, name)() for name in settings}
    _set(settings)
    try:
        yield
    finally:
        _set(before)


def _set(settings):
    import keras

    for name, value in settings.items():
        getattr(keras.config, f"set_{name}")(value)


def expect_installed():
    """Raise `BackendError` unless the backend of KERAS_BACKEND, or of keras.json, is installed; loads nothing."""
    name = _name()
    _expect_known(name)
    if not _is_installed(name):
        raise BackendError(
            f"KERAS_BACKEND: expected an installed tensorflow or jax, received {name}, which is not installed; "
            f"install it with: pip install {name}"
        )


def _expect_known(name, advice=""):
    if name not in BACKENDS:
        advice = did_you_mean(name, BACKENDS) or advice
        raise BackendError(f"KERAS_BACKEND: expected tensorflow or jax, received {name!r}{advice}")


def name():
    """Return the backend that Keras has loaded, else the one that it would load."""
    return sys.modules["keras"].config.backend() if "keras" in sys.modules else _name()


def _name():
    """The backend that Keras would load: KERAS_BACKEND, else the one in keras.json, else TensorFlow."""
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((folder / "keras.json").read_text())["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


def _is_installed(name):
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def expect_tensorflow(flag):
    """Raise `ConfigError` unless TensorFlow can be imported, for a flag that needs it with any backend."""
    load()
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        raise ConfigError(f"{flag}: expected TensorFlow, received an environment without it") from None


def resolve_precision(precision):
    """The arithmetic meant by "auto": "bfloat16" where GPU or processor multiply it in hardware, else "float32"."""
    if precision != "auto":
        return precision
    return "bfloat16" if _gpu_has_bfloat16() or _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16():
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _gpu_has_bfloat16():
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() in ("gpu", "tpu")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = [
            tf.config.experimental.get_device_details(d) for d in tf.config.list_physical_devices("GPU")
        ]
        return any(d.get("compute_capability", (0, 0)) >= (8, 0) for d in details)
    return False


def seed_everything(seed, deterministic=False):
    """Seed every random number generator; if asked, have the backend give the same bits on every run.

    TensorFlow splits sums among its threads. So their number is then fixed: `THREADS`, or TF_NUM_INTRAOP_THREADS.
    """
    import keras

    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        if "TF_NUM_INTRAOP_THREADS" not in os.environ:
            _fix_threads(tf.config.threading)


def _fix_threads(threading):
    try:
        threading.set_intra_op_parallelism_threads(THREADS)
    except RuntimeError:  # TensorFlow has computed something already
        note(
            f"deterministic: expected a process in which TensorFlow can be set to {THREADS} threads, received one in "
            "which it has already computed; the results can differ in their last bits from those of a new process"
        )
