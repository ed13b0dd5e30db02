"""The file of a packed network: an uncompressed .npz with arrays of bits and numbers, and a manifest in JSON.

The manifest has format, version, SHA-256 of everything else, class names and the meaning of the arrays. A binary weight
takes one bit, a ternary weight two. No pickle is read, and no code in the file is run.
"""

import hashlib
import io
import json
import zipfile
from math import prod

import numpy as np

from bnn import bits
from bnn.bits.words import pack_bools
from bnn.console.arguments import expanded
from bnn.files import atomic
from bnn.packed.parts import IMAGE_RANGE, Layer, PackError, Pixels, Scores

FORMAT, VERSION = "bnn packed network", 1
MANIFEST = "manifest"


def write(network, path):
    """Write a PackedNetwork to a file; arguments, result and errors as for `PackedNetwork.save`."""
    content = serialized(network)
    atomic.write(expanded(path), content)
    return len(content)


def serialized(network):
    """The bytes of the file of a PackedNetwork."""
    arrays, layers = {}, []
    for i, layer in enumerate(network.layers):
        described, own = _described(layer)
        layers.append(described)
        arrays |= {f"{i}/{name}": array for name, array in own.items()}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "input_shape": list(network.input_shape),
        "pixels": [network.pixels.factor, network.pixels.summand],
        "class_names": list(network.class_names),
        "image_range": network.image_range,
        "layers": layers,
    }
    manifest["sha256"] = digest(manifest, arrays)
    content = io.BytesIO()
    np.savez(content, **{MANIFEST: np.frombuffer(json.dumps(manifest).encode(), np.uint8)}, **arrays)
    return content.getvalue()


def read(path, make):
    """Read a file that `write` wrote.

    Args:
        path: str or Path.
        make: function from input_shape, pixels, layers, class_names and image_range, `PackedNetwork`.

    Returns:
        what `make` returns

    Raises:
        PackError: as `PackedNetwork.load`.
    """
    try:
        manifest, arrays = _read(expanded(path))
    except FileNotFoundError:
        raise PackError(f"{path}: expected a packed network, received no such file") from None
    except PackError as error:
        raise PackError(f"{path}: {error}") from None
    except Exception as error:  # zipfile, numpy or json may detect the damage
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PackError(
            f"{path}: expected a packed network, received a damaged or foreign file ({reason})"
        ) from None
    try:
        return make(*_fields(manifest, arrays))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise PackError(f"{path}: expected a packed network, received another one ({error})") from None


def _read(path):
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise PackError("expected a packed network, received compressed arrays")
    with np.load(path, allow_pickle=False) as file:
        if MANIFEST not in file.files:
            raise PackError("expected a packed network, received a .npz file without its manifest")
        manifest = json.loads(file[MANIFEST].tobytes())
        if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
            raise PackError(
                f"expected {FORMAT}, version {VERSION}, received {manifest['format']!r}, "
                f"version {manifest['version']!r}"
            )
        arrays = {name: file[name] for name in file.files if name != MANIFEST}
    if manifest.pop("sha256") != digest(manifest, arrays):
        raise PackError("expected a packed network, received a damaged one (its SHA-256 differs)")
    return manifest, arrays


def digest(manifest, arrays):
    """Compute the SHA-256, in hexadecimal, of all arrays and of the manifest without its digest.

    Args:
        manifest: dict that JSON can hold.
        arrays: dict from name to array.

    Returns:
        str
    """
    found = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        found.update(np.ascontiguousarray(arrays[name]))
    return found.hexdigest()


def _described(layer):
    """(the entry of a layer in the manifest, its arrays)."""
    described, arrays = {"name": layer.name, "pool": layer.pool, "dense": layer.dense}, {}
    if isinstance(layer.kernel, bits.Kernel):
        packed = layer.kernel.bits
        described |= {"weights": "ternary" if packed.ternary else "binary", "shape": list(packed.shape)}
        values = bits.unpack(packed)
        arrays["kernel"] = np.packbits(np.stack([values >= 0, values > 0][: len(packed.planes)]))
    else:
        described |= {"weights": "real", "shape": list(layer.kernel.shape)}
        arrays["kernel"] = layer.kernel
    if isinstance(layer.output, Scores):
        arrays |= {"factor": layer.output.factor, "summand": layer.output.summand}
    else:
        arrays |= {"at": layer.output.at, "rising": layer.output.rising}
    return described, arrays


def _fields(manifest, arrays):
    layers = []
    for i, described in enumerate(manifest["layers"]):
        own = {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{i}/")}
        layers.append(_layer(described, own))
    shape, names = tuple(manifest["input_shape"]), tuple(manifest["class_names"])
    pixels = Pixels(*manifest["pixels"])
    # Earlier files lack it. There numbers that are not scaled may be no pixels.
    earlier = None if pixels == Pixels(1.0, 0.0) else IMAGE_RANGE
    image_range = manifest.get("image_range", earlier)
    return shape, pixels, layers, names, None if image_range is None else tuple(image_range)


def _layer(described, arrays):
    kernel = arrays["kernel"]
    if described["weights"] != "real":
        make = bits.dense_kernel if described["dense"] else bits.convolution_kernel
        kernel = make(_unpacked(kernel, described["shape"], described["weights"] == "ternary"))
    if "at" in arrays:
        output = bits.Thresholds(arrays["at"], arrays["rising"])
    else:
        output = Scores(arrays["factor"], arrays["summand"])
    return Layer(described["name"], kernel, output, described["pool"])


def _unpacked(octets, shape, ternary):
    planes = (1 + ternary, *shape)
    if octets.size != -(-prod(planes) // 8):
        raise ValueError(f"expected {prod(planes)} bits, received {octets.size} bytes")
    flags = np.unpackbits(octets, count=prod(planes)).reshape(planes)
    return bits.Bits(pack_bools(flags), shape[-1])
