"""Data sets on the disk: what is there, verified by its content, and how new files get there whole or not at all."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bnn.datasets.catalog import listing_digest
from bnn.errors import UserError
from bnn.files import atomic

RECORD = "digests.json"


class DataError(UserError, RuntimeError):
    """Data that are missing or not what they should be; the message is one line for the user."""


class DownloadError(DataError):
    """A data set that cannot be had; the message says what was expected and received."""


@dataclass(frozen=True)
class Stored:
    """Verified files of a data set.

    Attributes:
        entry: catalog.Entry.
        folder: Path.
        digest: SHA-256 that stands for the data as a whole; see `catalog.listing_digest`.
        source_sha256: of the archive that they came in, for a variant or where the user named it; else None.
    """

    entry: object
    folder: Path
    digest: str
    source_sha256: str | None = None

    @property
    def official(self):
        """Whether the data are the published ones, byte for byte."""
        return self.digest == self.entry.digest

    @property
    def digests(self):
        """All SHA-256 by which run directories may know these data."""
        former = self.entry.former_digests if self.official else ()
        return frozenset({self.digest, *former, self.source_sha256} - {None})

    @property
    def label(self):
        """The kind of data in words: "official", or a variant with its digest."""
        return "official" if self.official else f"a VARIANT, SHA-256 {self.source_sha256}"


def sha256_of(path):
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expect_official(entry, path):
    """Raise `DataError` unless an official file holds what it should."""
    expected, received = entry.files[path.name].sha256, sha256_of(path)
    if received != expected:
        raise DataError(f"{path.name}: expected content with SHA-256 {expected}, received {received}")


# ---- what is there ----


def verify(entry, folder):
    """The data in a folder, as `Stored`: the official ones, or a variant that its record vouches for.

    Raises:
        DataError: they are missing or damaged.
    """
    found = {name: sha256_of(folder / name) for name in entry.files if (folder / name).is_file()}
    digest, record = listing_digest(found), read_record(folder)
    if digest == entry.digest:
        about_these = record and record.get("digest") == digest
        return Stored(entry, folder, digest, record["source_sha256"] if about_these else None)
    expected = record["files"] if record else {name: content.sha256 for name, content in entry.files.items()}
    for name in entry.files:
        received = found.get(name, "no such file")
        if received != expected.get(name):
            raise DataError(f"{folder / name}: expected SHA-256 {expected.get(name)}, received {received}")
    return Stored(entry, folder, digest, record["source_sha256"])


def read_record(folder):
    """The record of a variant; None where there is none that makes sense."""
    try:
        record = json.loads((folder / RECORD).read_text())
        sound = isinstance(record["source_sha256"], str) and all(
            isinstance(text, str) for text in (*record["files"], *record["files"].values())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if sound else None


# ---- onto the disk ----


def stage_of(folder):
    """Where a download into `folder` is prepared: beside it, so on the same file system."""
    return folder.with_name(f".{folder.name}.partial")


@contextlib.contextmanager
def staging(folder):
    """An empty staging folder, gone at the end, locked against a second download.

    The kernel drops the lock of a killed process, so the next call sweeps up what that one left.
    """
    stage = stage_of(folder)
    lock = _lock(stage)
    if lock is None:
        raise DownloadError(f"expected no other download into {folder}, received one under way")
    try:
        for leftover in stage.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        os.close(lock)


def _lock(stage):
    """The descriptor of a staging folder, locked; None where another call has it, or has just removed it."""
    try:
        stage.mkdir(parents=True, exist_ok=True)
        lock = os.open(stage, os.O_RDONLY)
    except (FileExistsError, FileNotFoundError):
        if stage.is_file() or not stage.parent.is_dir():
            raise
        return None
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), stage.stat()):
            return lock
    os.close(lock)
    return None


def sweep(folder):
    """Remove what a killed download into a folder has left; one that is under way keeps its lock and its files."""
    if stage_of(folder).exists():
        with contextlib.suppress(OSError, DownloadError), staging(folder):
            pass


def install(entry, stage, folder, source, source_sha256=None):
    """Move an entry's files from `stage` into `folder`, their record last; other files there stay.

    Args:
        entry: catalog.Entry.
        stage: Path.
        folder: Path.
        source: str, where they came from.
        source_sha256: of the archive, for a variant or where the user named it.

    Returns:
        Stored
    """
    files = {name: sha256_of(stage / name) for name in entry.files}
    stored = Stored(entry, folder, listing_digest(files), source_sha256)
    record = {"data_set": entry.name, "digest": stored.digest, "official": stored.official, "source": source,
              "source_sha256": stored.source_sha256, "files": files}  # fmt: skip
    (stage / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    folder.mkdir(exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    for name in (*files, RECORD):
        (stage / name).chmod(0o644)
        atomic.replace(stage / name, folder / name)
    return stored
