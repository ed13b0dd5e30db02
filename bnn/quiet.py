"""Keras and its backend without the notes that TensorFlow prints at any log level."""

import os
import sys
import tempfile
from contextlib import contextmanager

ROUNDING = ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")


def exact_float32():
    """Unset the variables that make oneDNN's products of float32 bfloat16, which oneDNN reads at its first product."""
    for name in ROUNDING:
        os.environ.pop(name, None)


@contextmanager
def quiet_start():
    """Hide what is written to standard error while Keras loads, and show it after all if Keras does not load.

    Hides nothing if Keras is loaded already, or if TF_CPP_MIN_LOG_LEVEL=0 asks for the notes. Turns TensorFlow's oneDNN
    kernels on, unless TF_ENABLE_ONEDNN_OPTS is set, and keeps float32 exact; see `bnn.backend.load`.
    """
    exact_float32()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "keras" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        yield
        return
    try:
        stderr = os.dup(2)
    except OSError:  # a closed standard error hides everything
        yield
        return
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)  # the notes come from C++, which writes to the descriptor
        loaded = False
        try:
            yield
            loaded = "keras" in sys.modules
        finally:
            os.dup2(stderr, 2)
            if not loaded:
                notes.seek(0)
                os.write(stderr, notes.read())
            os.close(stderr)
