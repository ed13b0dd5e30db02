"""Extract archives that may be malicious: the name and the size of each entry are checked before it is written."""

import gzip
import shutil
import tarfile
import zlib

CHUNK = 1 << 18
NOT_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


class ConversionError(Exception):
    """A container holds unexpected content. The message says what was expected and what was received."""


def extract(path, archive, folder):
    """Write the members of an archive into a folder after all of its entries have been checked.

    Args:
        path: Path of the archive.
        archive: catalog.Archive, the expected content.
        folder: Path.

    Raises:
        ConversionError: the archive is damaged or holds unexpected content.
        OSError: the folder is not writable.
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
    """A reader of `file` that raises `tarfile.ReadError` after `bound` bytes."""

    def __init__(self, file, bound):
        self.file, self.bound, self.left = file, bound, bound

    def read(self, size):
        """Read the next bytes, at most `size`."""
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError(f"more than {self.bound:,} bytes")
        return data


def _entries(path, archive):
    """Yield (tar, entry, name below the folder) for each checked file, while reading the archive from front to back."""
    limits = archive.members | archive.ignored
    # tarfile reads the extensions of a header into memory, and their size has no limit of its own.
    bound = sum(limits.values()) + (1 << 20)
    found = set()
    with gzip.open(path) as raw, tarfile.open(fileobj=_BoundedReader(raw, bound), mode="r|") as tar:
        for entry in tar:
            name = _check_entry(entry, archive.folder, limits)
            if name in found:
                raise tarfile.ReadError(f"{entry.name} twice")
            found.add(name)
            yield tar, entry, name
    if missing := archive.members.keys() - found:
        raise tarfile.ReadError(f"no {', '.join(sorted(missing))}")


def _check_entry(entry, folder, limits):
    """Return the name of an entry below the folder, or the name of a parent folder with a slash.

    Only known names are allowed, so absolute paths, '..', links, devices and archive bombs are all refused.

    Raises:
        tarfile.ReadError: the entry is neither a parent folder nor a plain file with a known name and size.
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
        raise tarfile.ReadError(f"{name} of {entry.size:,} bytes, where at most {limits[name]:,} are allowed")
    return name
