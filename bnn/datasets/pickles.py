"""Read pickles of numbers, strings and plain containers without running any code in them."""

import io
import pickle

import numpy as np

NUMBERS = {"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"}


class _PickledType:
    """A replacement for numpy.dtype that allows only plain numbers. NumPy's dtype also reads bytes as addresses."""

    def __init__(self, code, *_):
        code = _text(code)
        if not isinstance(code, str) or code not in NUMBERS:
            received = repr(code) if isinstance(code, str) else type(code).__name__
            raise pickle.UnpicklingError(f"an array of type {received}, where plain numbers are expected")
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(_text(state[1]))


class _PickledArray(np.ndarray):
    """A replacement for the function that makes an empty array. The content of the array follows as a state."""

    def __new__(cls, *_):
        return super().__new__(cls, 0, np.uint8)

    def __setstate__(self, state):
        version, shape, kind, fortran, content = state
        if not (isinstance(kind, _PickledType) and isinstance(content, bytes)):
            raise pickle.UnpicklingError("an array that is not made of bytes")
        super().__setstate__((version, shape, kind.dtype, fortran, content))


def _text(value):
    """Decode bytes, because Python 2 wrote bytes where Python 3 writes text."""
    return value.decode("ascii") if isinstance(value, bytes) else value


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can rebuild arrays of numbers and cannot call anything else."""

    admitted = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy", "ndarray"): None,  # used only as an argument of _reconstruct
        ("numpy", "dtype"): _PickledType,
    }

    def find_class(self, module, name):
        try:
            return self.admitted[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"a reference to {module}.{name}, which data files do not need"
            ) from None


def restricted_loads(content):
    """Unpickle plain containers, numbers, strings and arrays of numbers. Strings of Python 2 become bytes.

    Raises:
        pickle.UnpicklingError: the pickle is damaged, or refers to anything except NumPy's array reconstruction.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # pickle may raise any error for invalid bytes, according to its documentation
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error
