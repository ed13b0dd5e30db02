"""Small checkpoints to share: compressed, without the optimizer, in half precision with the same quantized kernels."""

import io
import zipfile

import h5py
import keras
import numpy as np
from keras import ops

from bnn.console.arguments import expanded
from bnn.files import atomic
from bnn.layers import latent_kernels

WEIGHTS = "model.weights.h5"  # the name of the weights within a .keras file


def save_compact(model, path):
    """Save a network in about 40 % of the space, for inference and analysis.

    The latent kernels of quantized layers are rounded to float16, which changes a weight by at most 1/2048 of its
    value, or by 6e-8. If this moves a weight across a threshold of its quantizer, the weight takes the next float16
    value on its own side. If the quantized kernel still changes, the kernel is not rounded. Therefore the outputs
    do not change at all, and the statistics change only by the rounding of the latent kernels. All other weights
    stay float32.

    Args:
        model: keras.Model. Its kernels are rounded in place.
        path: str or Path of the .keras file, which `keras.saving.load_model` can read.

    Raises:
        OSError: the file cannot be written. An existing file is kept.
    """
    path = expanded(path)
    for layer in model.layers:
        for kernel in latent_kernels(layer):
            if kernel.quantizer is not None:
                kernel.variable.assign(_rounded(kernel.quantizer, ops.convert_to_numpy(kernel.variable)))
    full = path.with_name(f".{path.name}.full.keras")
    try:
        keras.Model(model.inputs, model.outputs, name=model.name).save(full)
        atomic.write(path, _repacked(full))
    finally:
        full.unlink(missing_ok=True)


def _rounded(quantizer, kernel):
    """Round a float32 kernel to float16 values with the same quantized kernel; if impossible, return the kernel."""
    with np.errstate(over="ignore"):
        half, wanted = kernel.astype(np.float16), _quantized(quantizer, kernel)
    moved = _quantized(quantizer, half) != wanted
    back = np.where(kernel > half, np.inf, -np.inf).astype(np.float16)
    half[moved] = np.nextafter(half[moved], back[moved])
    same = np.isfinite(half).all() and np.array_equal(_quantized(quantizer, half), wanted)
    return half.astype(np.float32) if same else kernel


def _quantized(quantizer, kernel):
    return ops.convert_to_numpy(quantizer(kernel.astype(np.float32)))


def _repacked(path):
    """Return the bytes of a .keras file with compressed weights, in float16 where float16 is exact."""
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
    floating = np.issubdtype(values.dtype, np.floating)  # the state of a random generator is an integer
    with np.errstate(over="ignore"):  # an infinite value is not exact, so the array then keeps its dtype
        half = values.astype(np.float16) if floating else values
    exact = np.array_equal(half.astype(values.dtype), values)
    options = {"compression": "gzip", "shuffle": True} if np.ndim(values) else {}
    target.create_dataset(name, data=half if exact else values, **options)
