"""The shards of an analysis: each holds what one process measured of a part of the images, in a file of its own."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnn.analysis.core.checks import ReportError
from bnn.console.spelling import argument, option
from bnn.files import atomic
from bnn.models import inputs

FOLDER = "shards"  # within the folder of the report
FORMAT = 1
ABOUT = "about"  # the array of a file that holds the JSON beside the moments
CHUNK = 1 << 24  # bytes of an array that are copied at a time to compute its digest
NAME = re.compile(r"(\d+)-of-(\d+)\.npz")


class Shard(NamedTuple):
    """One of `of` parts of nearly equal size, counted from 1."""

    number: int
    of: int

    def __str__(self):
        return f"{self.number}/{self.of}"

    def bounds(self, n):
        """The first image and the one after the last, of n images."""
        return n * (self.number - 1) // self.of, n * self.number // self.of

    def path(self, folder):
        """The Path of its file, in the folder of the report."""
        return Path(folder) / FOLDER / f"{self.number}-of-{self.of}.npz"


def shard(given):
    """The Shard of "2/4" or of (2, 4).

    Raises:
        ReportError: it is none.
    """
    parts = given.split("/") if isinstance(given, str) else given
    try:
        found = Shard(*(int(part) for part in parts))
    except (TypeError, ValueError):
        found = Shard(0, 0)
    if not 1 <= found.number <= found.of:
        received = given if isinstance(given, str) else f"{given!r}"
        raise ReportError(
            f"{argument('shard')}: expected I/N with I from 1 to N, such as 1/4, received {received}"
        )
    return found


class Part(NamedTuple):
    """What one process measured.

    Attributes:
        shard: Shard.
        about: dict, which JSON can hold: "settings", a dict; "model" and "data", SHA-256 of the model and of the
            images of this part; "unanalyzed", a dict; "right", the number of correctly classified test images of this
            part, or None.
        states: dict from the name of each layer to the `LayerGeometry.state`.
    """

    shard: Shard
    about: dict
    states: dict

    def save(self, folder):
        """Write the file into the folder of the report, and return its Path; raises as `atomic.replacing`."""
        path = self.shard.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        layers = list(self.states)
        about = self.about | {"format": FORMAT, "layers": layers}
        arrays = {ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8)}
        for i, name in enumerate(layers):
            arrays |= {f"{i}/{key}": np.asarray(value) for key, value in self.states[name].items()}
        with atomic.replacing(path) as temporary:
            np.savez(temporary, **arrays)
        return path


def load(path):
    """Read the file of a shard; raises `ReportError` for a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file[ABOUT].tobytes())
            if about.pop("format") != FORMAT:
                raise ReportError(
                    f"{path}: expected a shard of this version, received one of another; measure it again"
                )
            layers, states = about.pop("layers"), {}
            for i, name in enumerate(layers):
                keys = [key for key in file.files if key.startswith(f"{i}/")]
                states[name] = {key.partition("/")[2]: file[key] for key in keys}
    except ReportError:
        raise
    except Exception as error:  # NumPy, zipfile, zlib or json, whichever finds the damage first
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ReportError(
            f"{path}: expected a shard, received a damaged or foreign file ({reason}); measure it again"
        ) from None
    return Part(_named(path), about, states)


def load_all(folder):
    """Read the shards in the folder of a report: a list of Part in the order of the images.

    Raises:
        ReportError: there are none, one is missing, there are those of several divisions, or one is damaged.
    """
    place = Path(folder) / FOLDER
    found = sorted((_named(path), path) for path in place.glob("*.npz") if _named(path))
    if not found:
        raise ReportError(
            f"{place}: expected the shards of an analysis, received none; measure each with {option('shard', '1/4')} "
            "and so on"
        )
    divisions = sorted({shard.of for shard, _ in found})
    if len(divisions) > 1:
        received = ", ".join(str(shard) for shard, _ in found)
        raise ReportError(
            f"{place}: expected the shards of one division, received {received}; delete those of the others"
        )
    of = divisions[0]
    missing = sorted(set(range(1, of + 1)) - {shard.number for shard, _ in found})
    if missing:
        names = ", ".join(f"{number}/{of}" for number in missing)
        again = option("shard", f"{missing[0]}/{of}")
        raise ReportError(
            f"{place}: expected all {of} shards, received none for {names}; measure it with {again}"
        )
    return [load(path) for _, path in found]


def _named(path):
    match = NAME.fullmatch(path.name)
    return Shard(int(match[1]), int(match[2])) if match else None


def expect_same(part, folder, expected):
    """Raise `ReportError` for a part of another model, of other data or with other settings.

    Args:
        part: Part.
        folder: Path, of the report.
        expected: dict, the "settings", "model" and "data" of a part as it is to be.
    """
    again = f"measure it again with {option('shard', str(part.shard))}"
    path = part.shard.path(folder)
    received = part.about.get("settings", {})
    for name, value in expected["settings"].items():
        if received.get(name) != value:
            raise ReportError(
                f"{path}: expected a shard with {name} {value!r}, received one with {received.get(name)!r}; {again}"
            )
    for key, what in (("model", "of this model"), ("data", "of these images")):
        if part.about.get(key) != expected[key]:
            raise ReportError(f"{path}: expected a shard {what}, received one of others; {again}")


def digest(values):
    """The SHA-256, in hexadecimal, of an iterable of texts and arrays."""
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, str):
            found.update(f"{value}\n".encode(errors="backslashreplace"))
            continue
        array: Any = value if hasattr(value, "dtype") else np.asarray(value)
        found.update(f"{array.dtype} {tuple(array.shape)}\n".encode())
        rows = max(1, CHUNK // max(1, array[:1].nbytes)) if array.ndim else 1
        for start in range(0, len(array) if array.ndim else 1, rows):
            part = array[start : start + rows] if array.ndim else array
            found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def digest_of_images(images):
    """The SHA-256 of one or several arrays of images."""
    return digest("none" if leaf is None else np.asarray(leaf) for leaf in inputs.leaves(images))


def digest_of_model(adapter):
    """The SHA-256 of what an adapter measures: the model, and the kernels as they are multiplied."""

    def values():
        yield from adapter.identity()
        for product in adapter.products:
            yield f"{product.name} {product.linear!r}"
            yield from product.kernels

    return digest(values())
