"""Archives that may mean harm: entries are known by name and size before a byte of them is written."""

import gzip
import shutil
import tarfile
import zlib

CHUNK = 1 << 18
NOT_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


class ConversionError(Exception):
    """A container holds something else; the message says what was expected and received."""


def extract(path, archive, folder):
    """Write the members of an archive into a folder, once all of its entries have been checked.

    Args:
        path: Path of the archive.
        archive: catalog.Archive, what it should hold.
        folder: Path.

    Raises:
        ConversionError: it is damaged or holds something else.
        OSError: the folder cannot be written.
    """
    try:
        for _ in _entries(path, archive):
            pass
        for tar, entry, name in _entries(path, archive):
            if name in archive.members:
                with (folder / name.rpartition("/")[2]).open("wb") as file:
                    shutil.copyfileobj(tar.extractfile(entry), file, CHUNK)
    except (*NOT_GZIP, tarfile.TarError) as error:
        expected = f"plain files {archive.folder}/{{{','.join(archive.members)}}}"
        raise ConversionError(f"expected {expected}, received {error}") from None


class _BoundedReader:
    """Reads `file` up to `bound` bytes and then raises `tarfile.ReadError`."""

    def __init__(self, file, bound):
        self.file, self.bound, self.left = file, bound, bound

    def read(self, size):
        """The next bytes, at most `size`."""
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError(f"more than {self.bound:,} bytes")
        return data


def _entries(path, archive):
    """Yield (tar, entry, name below the folder) for each file, checked, reading the archive from front to back."""
    limits = archive.members | archive.ignored
    # tarfile reads a header's extensions into memory, whatever size they claim.
    bound = sum(limits.values()) + (1 << 20)
    met = set()
    with gzip.open(path) as raw, tarfile.open(fileobj=_BoundedReader(raw, bound), mode="r|") as tar:
        for entry in tar:
            name = _check_entry(entry, archive.folder, limits)
            if name in met:
                raise tarfile.ReadError(f"{entry.name} twice")
            met.add(name)
            yield tar, entry, name
    if missing := archive.members.keys() - met:
        raise tarfile.ReadError(f"no {', '.join(sorted(missing))}")


def _check_entry(entry, folder, limits):
    """The name of an entry below the folder; for a folder that some file is in, its own with a slash.

    Naming what may be there refuses absolute paths, '..', links, devices and bombs alike.

    Raises:
        tarfile.ReadError: it is neither such a folder nor a plain file of known name and size.
    """
    parents = {f"{folder}/{name}".rpartition("/")[0] for name in limits} | {folder}
    if entry.isdir() and entry.name in parents:
        return f"{entry.name}/"
    name = entry.name.removeprefix(f"{folder}/")
    if name == entry.name or name not in limits:
        raise tarfile.ReadError(f"an entry {entry.name!r}")
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
        raise tarfile.ReadError(f"{name} as a link, device or other special file (tar type {entry.type!r})")
    if not 0 <= entry.size <= limits[name]:
        raise tarfile.ReadError(f"{name} of {entry.size:,} bytes, where {limits[name]:,} are the most")
    return name
