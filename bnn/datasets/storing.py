"""Data sets on the disk: verify existing files by their content, and install new files completely or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bnn.console import note
from bnn.console.errors import UserError
from bnn.datasets.catalog import listing_digest
from bnn.files import atomic, lock

RECORD = "digests.json"


class DataError(UserError, RuntimeError):
    """Data are missing or not as expected. The message is one line for the user."""


DownloadError = DataError  # its name in earlier versions


@dataclass(frozen=True)
class Stored:
    """Verified files of a data set.

    Attributes:
        entry: catalog.Entry.
        folder: Path.
        digest: str, the SHA-256 that identifies the data; see `catalog.listing_digest`.
        source_sha256: str, the SHA-256 of the original archive, for a variant or if the user gave it; else None.
    """

    entry: object
    folder: Path
    digest: str
    source_sha256: str | None = None

    @property
    def official(self):
        """Whether the data are exactly the published data."""
        return self.digest == self.entry.digest

    @property
    def digests(self):
        """All SHA-256 that run directories may contain for these data."""
        former = self.entry.former_digests if self.official else ()
        return frozenset({self.digest, *former, self.source_sha256} - {None})

    @property
    def label(self):
        """A description of the data: "official", or a variant with its digest."""
        return "official" if self.official else f"a VARIANT, SHA-256 {self.source_sha256}"


def sha256_of(path):
    """Compute the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- existing files ----


def verify(entry, folder):
    """Verify the data in a folder and return them as `Stored`: official data, or a variant with a matching record.

    Raises:
        DataError: the data are missing or damaged.
    """
    found = {name: sha256_of(folder / name) for name in entry.files if (folder / name).is_file()}
    digest, record = listing_digest(found), read_record(folder)
    if digest == entry.digest:
        matches = record and record.get("digest") == digest
        return Stored(entry, folder, digest, record["source_sha256"] if matches else None)
    expected = record["files"] if record else {name: content.sha256 for name, content in entry.files.items()}
    for name in entry.files:
        received = found.get(name, "no such file")
        if received != expected.get(name):
            raise DataError(f"{folder / name}: expected SHA-256 {expected.get(name)}, received {received}")
    return Stored(entry, folder, digest, record["source_sha256"])


def read_record(folder):
    """Read the record of a variant; return None if there is no valid record."""
    try:
        record = json.loads((folder / RECORD).read_text())
        valid = isinstance(record["source_sha256"], str) and all(
            isinstance(text, str) for text in (*record["files"], *record["files"].values())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if valid else None


# ---- new files ----


def stage_of(folder):
    """Return the staging folder of a download into `folder`: beside it, and so on the same file system."""
    return folder.with_name(f".{folder.name}.partial")


@contextlib.contextmanager
def staging(folder, say=note):
    """Yield an empty staging folder that is locked against a second download and removed at the end.

    The kernel releases the lock of a killed process, so the next call removes the files of that process.

    Args:
        folder: Path of the data.
        say: function that is called with a line if the file system cannot lock folders.
    """
    stage = stage_of(folder)
    descriptor = _lock(stage, say)
    if descriptor is None:
        raise DataError(f"expected no other download into {folder}, received one that is running")
    try:
        for leftover in stage.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        os.close(descriptor)


def _lock(stage, say):
    """Lock a staging folder and return its descriptor; None if another call holds it or has just removed it."""
    try:
        stage.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(stage, os.O_RDONLY)
    except (FileExistsError, FileNotFoundError):
        if stage.is_file() or not stage.parent.is_dir():
            raise
        return None
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        lock.exclude_others(descriptor, stage, "download", "into this folder", say)
        if os.path.samestat(os.fstat(descriptor), stage.stat()):
            return descriptor
    os.close(descriptor)
    return None


def sweep(folder):
    """Remove the files of a killed download into a folder. A running download keeps its lock and its files."""
    if stage_of(folder).exists():
        with contextlib.suppress(OSError, DataError), staging(folder, say=lambda line: None):
            pass


def install(entry, stage, folder, source, source_sha256=None):
    """Move the files of an entry from `stage` into `folder`, and their record last. Other files are kept.

    Args:
        entry: catalog.Entry.
        stage: Path.
        folder: Path.
        source: str, the source of the files.
        source_sha256: str, the SHA-256 of the archive, for a variant or if the user gave it; else None.

    Returns:
        Stored
    """
    files = {name: sha256_of(stage / name) for name in entry.files}
    stored = Stored(entry, folder, listing_digest(files), source_sha256)
    record = {
        "data_set": entry.name,
        "digest": stored.digest,
        "official": stored.official,
        "source": source,
        "source_sha256": stored.source_sha256,
        "files": files,
    }
    (stage / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    folder.mkdir(exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    for name in (*files, RECORD):
        (stage / name).chmod(0o644)
        atomic.replace(stage / name, folder / name)
    return stored
