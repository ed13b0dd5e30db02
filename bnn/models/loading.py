"""Load networks and images from our own or third-party files."""

import json
import re
import warnings
import zipfile

import numpy as np

from bnn.console.arguments import expanded
from bnn.console.errors import ModelError

RESAVE = "load it in Python with the Keras that wrote it, and save it with model.save('MODEL.keras')"
TORCH = "load it in Python, and call bnn.analysis.analyze_torch(model, images)"
# What to do about models in other formats.
OTHER_MODELS = dict.fromkeys((".h5", ".hdf5", ".pb"), RESAVE) | dict.fromkeys((".pt", ".pth"), TORCH)
TEXTS = {".csv", ".tsv", ".txt", ".json", ".png", ".jpg", ".jpeg"}
# How Keras names a class or function that it does not know.
UNKNOWN = re.compile(r"[Cc]ould not (?:locate|deserialize) ((?:class|function) '[^']+')")


ModelFileError = ModelError  # its name in earlier versions


def load_model(path, compiled=False):
    """Load the network in a .keras file from any source, without running code that the file may contain.

    Args:
        path: Path of a file that Keras 3 saved. This function cannot load models with classes or functions that are
            neither in Keras nor in this package; load them yourself.
        compiled: bool, whether to load the optimizer and the loss too, to continue training.

    Returns:
        keras.Model

    Raises:
        ModelError: the file does not exist, or does not hold a network that Keras can read.
    """
    path = expect_keras_file(path)
    import keras

    import bnn.layers  # noqa: F401, registers the layers with Keras

    try:
        with warnings.catch_warnings():
            # Keras and zipfile only warn about missing weights and about files outside the folder.
            warnings.filterwarnings("error", ".*(could not be loaded|Skipping )")
            model = keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except Exception as error:  # Keras, h5py, zipfile, zlib or json, whichever finds the damage first
        if own := UNKNOWN.search(str(error)):
            raise ModelError(
                f"{path}: expected a saved network, received one with {own[1]}; neither Keras nor this package has it; "
                "if it is yours, load it in Python and call bnn.analyze(model, images)"
            ) from None
        if "safe_mode=False" in str(error) and (layers := _layers_with_code(path)):
            raise ModelError(
                f"{path}: expected a saved network, received one with Python code of its own (a lambda) in "
                f"{', '.join(layers)}; if you trust it, load it in Python with keras.saving.load_model(path, "
                "safe_mode=False) and call bnn.analyze(model, images)"
            ) from None
        raise ModelError(
            f"{path}: expected a saved network, received one that Keras cannot read ({_reason(error)})"
        ) from None
    if not isinstance(model, keras.Model):
        raise ModelError(f"{path}: expected a saved network, received a {type(model).__name__}")
    return model


def is_model_file(path):
    """Return whether a Path is that of a saved model, in any format, rather than that of a run directory."""
    return path.suffix in (".keras", *OTHER_MODELS) or path.is_file()


def expect_keras_file(path):
    """Return the Path of a .keras file; raise `ModelError`, without loading Keras, if there is none."""
    path = expanded(path)
    if path.is_file() and path.suffix != ".keras":
        raise ModelError(f"{path}: expected a .keras file that Keras 3 saved, received {_kind(path)}")
    if not path.is_file():
        found = "a folder; bnn.open_run opens a run" if path.is_dir() else "no such file"
        if (path / "saved_model.pb").is_file():
            found = f"a SavedModel of TensorFlow; {RESAVE}"
        raise ModelError(f"{path}: expected a .keras file, received {found}")
    return path


def _layers_with_code(path):
    """The classes and names of the layers in a .keras file that store Python code, such as "Lambda 'double'"."""
    with zipfile.ZipFile(path) as file:
        return list(dict.fromkeys(_with_code(json.loads(file.read("config.json")), "a layer")))


def _with_code(part, layer):
    if isinstance(part, list):
        return [found for entry in part for found in _with_code(entry, layer)]
    if not isinstance(part, dict):
        return []
    if part.get("class_name") == "__lambda__":
        return [layer]
    settings = part.get("config")
    if isinstance(settings, dict) and "name" in settings:
        layer = f"{part.get('class_name')} {settings['name']!r}"
    return _with_code([*part.values()], layer)


def _kind(path):
    """Describe a file by its suffix, with what to do about a model in another format."""
    received = f"a {path.suffix} file" if path.suffix else "a file without a suffix"
    advice = OTHER_MODELS.get(path.suffix)
    return f"{received}; {advice}" if advice else received


def _reason(error):
    """Return the message of a library about a damaged file, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def load_images(path, model):
    """Load the images in a file in the form that a model accepts.

    Args:
        path: Path of a .npy file, which is memory-mapped, or of a .npz file with one array per input. The names of the
            arrays are those of the inputs. For a model with one input, the array may have any name.
        model: keras.Model.

    Returns:
        (n, ...) array, or such arrays in the structure of the model's inputs; a dict for a model that is not a graph.

    Raises:
        ModelError: the file is missing, has another format, or has arrays with other names.
    """
    path = expanded(path)
    if not path.is_file():
        raise ModelError(f"{path}: expected a .npy or .npz file of images, received no such file")
    if path.suffix.lower() in TEXTS:
        raise ModelError(
            f"{path}: expected a .npy or .npz file of images, received a {path.suffix} file; convert it in Python: "
            "numpy.save('images.npy', array)"
        )
    try:
        packed = path.suffix == ".npz"
        content = np.load(path, mmap_mode=None if packed else "r", allow_pickle=False)
        arrays = {name: content[name] for name in content.files} if packed else {"images": content}
    except Exception as error:  # NumPy, zipfile or zlib
        raise ModelError(
            f"{path}: expected a .npy or .npz file of images, received another file ({_reason(error)})"
        ) from None
    from bnn.models import inputs

    if len(arrays) == 1 and len(getattr(model, "inputs", None) or ()) <= 1:
        return next(iter(arrays.values()))
    try:
        return inputs.as_built(model, arrays)
    except inputs.ModelError as error:
        raise ModelError(f"{path}: {str(error).removeprefix('images: ')}") from None
