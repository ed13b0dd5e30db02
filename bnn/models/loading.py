"""Networks and images from files, ours or third-party."""

import warnings
from pathlib import Path

import numpy as np

from bnn.errors import UserError


class ModelFileError(UserError, ValueError):
    """A file that holds no model, or no images for it; the message is one line for the user."""


def load_model(path, compiled=False):
    """The network in a .keras file, of whatever origin; code that the file may hold is not run.

    Args:
        path: Path of a file that Keras 3 saved. Models of classes and functions that neither Keras nor this package
            has cannot be read: load these yourself.
        compiled: with its optimizer and loss, to go on training.

    Returns:
        keras.Model

    Raises:
        ModelFileError: there is no such file, or it holds no network that Keras can read.
    """
    import keras

    import bnn.layers  # noqa: F401, so that Keras knows the layers

    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: expected a .keras file, received no such file")
    if path.suffix != ".keras":
        raise ModelFileError(f"{path}: expected a .keras file that Keras 3 saved, received another file")
    try:
        with warnings.catch_warnings():
            # Of weights that it does not find, and of files outside of the folder, Keras and zipfile only warn.
            warnings.filterwarnings("error", ".*(could not be loaded|Skipping )")
            model = keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except Exception as error:  # whichever of Keras, h5py, zipfile, zlib and json meets the damage first
        raise ModelFileError(
            f"{path}: expected a saved network, received one that Keras cannot read ({_reason(error)})"
        ) from None
    if not isinstance(model, keras.Model):
        raise ModelFileError(f"{path}: expected a saved network, received a {type(model).__name__}")
    return model


def _reason(error):
    """What a library says of a damaged file, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def load_images(path, model):
    """The images in a file, as a model takes them.

    Args:
        path: Path of a .npy file, which is read as it is needed, or of a .npz file with an array for each input,
            under the input's name; if there is but one, under any name.
        model: keras.Model.

    Returns:
        (n, ...) array, or a list of these.

    Raises:
        ModelFileError: the file is missing, of another kind, or has other names.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: expected a .npy or .npz file of images, received no such file")
    try:
        packed = path.suffix == ".npz"
        content = np.load(path, mmap_mode=None if packed else "r", allow_pickle=False)
        arrays = {name: content[name] for name in content.files} if packed else {"images": content}
    except Exception as error:  # of numpy, zipfile, zlib
        raise ModelFileError(
            f"{path}: expected a .npy or .npz file of images, received another ({_reason(error)})"
        ) from None
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    if len(arrays) == 1 and len(names) <= 1:
        return next(iter(arrays.values()))
    if set(arrays) != set(names):
        raise ModelFileError(
            f"{path}: expected arrays named {', '.join(names) or 'at will, but one'}, received {', '.join(arrays)}"
        )
    return [arrays[name] for name in names]
