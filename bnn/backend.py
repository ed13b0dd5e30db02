"""The Keras backend and the machine below it: quiet loading, arithmetic, random seeds."""

import os
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bnn.config import ConfigError


def load():
    """Import Keras and its backend without the notes that TensorFlow prints whatever the log level.

    Set TF_CPP_MIN_LOG_LEVEL=0 to see them. TensorFlow's oneDNN kernels are turned on where TensorFlow itself would not
    (processors without AVX-512): a training step takes 0.7 to 0.8 of the time. TF_ENABLE_ONEDNN_OPTS=0 leaves them out.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    wanted = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0"
    with nullcontext() if wanted else _hidden_stderr():
        import keras  # noqa: F401


@contextmanager
def _hidden_stderr():
    """Keep the file descriptor silent, for the notes come from C++; show what was written if the import fails."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except Exception:
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def expect_tensorflow(flag):
    """Raise `ConfigError` unless TensorFlow can be imported, for a flag that takes it whatever the backend."""
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
    """Seed every random number generator; if asked, have the backend give the same bits on every run."""
    import keras

    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
