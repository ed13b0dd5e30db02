"""Small checkpoints for sharing: half precision that quantizes to the very same kernels, compressed, no optimizer."""

import io
import zipfile

import h5py
import keras
import numpy as np
from keras import ops

from bnn.files import atomic

WEIGHTS = "model.weights.h5"  # its name within a .keras file


def save_compact(model, path):
    """Save a network in about two fifths of the space, for inference and analysis.

    Latent kernels of quantized layers are rounded to float16, by at most 1/2048 of their value. One that this would
    move over a threshold of its quantizer takes float16's next value on its own side, and where even that changes the
    quantized kernel, the kernel stays as it is. So the outputs are exactly the network's, and so are its statistics
    but for the rounding of the latent kernels. All else stays float32.

    Args:
        model: keras.Model; it is left with the rounded kernels.
        path: Path of the .keras file, which `keras.saving.load_model` reads as any other.

    Raises:
        OSError: the file cannot be written; what was there before is kept.
    """
    for layer in model.layers:
        if getattr(layer, "kernel_quantizer", None) is not None:
            layer.kernel.assign(_rounded(layer.kernel_quantizer, ops.convert_to_numpy(layer.kernel)))
    full = path.with_name(f".{path.name}.full.keras")
    try:
        keras.Model(model.inputs, model.outputs, name=model.name).save(full)
        atomic.write(path, _repacked(full))
    finally:
        full.unlink(missing_ok=True)


def _rounded(quantizer, kernel):
    """A float32 kernel of values that float16 holds, with the same quantized kernel; else the kernel itself."""
    half, wanted = kernel.astype(np.float16), _quantized(quantizer, kernel)
    moved = _quantized(quantizer, half) != wanted
    back = np.where(kernel > half, np.inf, -np.inf).astype(np.float16)
    half[moved] = np.nextafter(half[moved], back[moved])
    return half.astype(np.float32) if np.array_equal(_quantized(quantizer, half), wanted) else kernel


def _quantized(quantizer, kernel):
    return ops.convert_to_numpy(quantizer(kernel.astype(np.float32)))


def _repacked(path):
    """The bytes of a .keras file with its weights compressed, those that float16 holds exactly in float16."""
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, _compressed(content) if name == WEIGHTS else content)
    return packed.getvalue()


def _compressed(weights):
    small = io.BytesIO()
    with h5py.File(io.BytesIO(weights)) as source, h5py.File(small, "w", track_order=True) as target:
        _copy_group(source, target)
    return small.getvalue()


def _copy_group(source, target):
    for key, value in source.attrs.items():
        target.attrs[key] = value
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_group(item, target.create_group(name))
        else:
            _copy_array(name, item[()], target)


def _copy_array(name, values, target):
    floating = np.issubdtype(values.dtype, np.floating)  # not so the state of random numbers
    with np.errstate(over="ignore"):  # what becomes infinite is not exact, and stays as it is
        half = values.astype(np.float16) if floating else values
    exact = np.array_equal(half.astype(values.dtype), values)
    options = {"compression": "gzip", "shuffle": True} if np.ndim(values) else {}
    target.create_dataset(name, data=half if exact else values, **options)
