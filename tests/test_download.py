"""data/download.py from outside: as a program, and against a server that misbehaves on purpose."""

import contextlib
import dataclasses
import errno
import functools
import gzip
import hashlib
import importlib.util
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from corruption import corrupted, within

from bnn import datasets

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "data" / "download.py"
REAL_MNIST = ROOT.parent / "shared" / "data" / "mnist"

spec = importlib.util.spec_from_file_location("download", SCRIPT)
download = importlib.util.module_from_spec(spec)
sys.modules["download"] = download
spec.loader.exec_module(download)

needs_mnist = pytest.mark.skipif(not REAL_MNIST.is_dir(), reason="needs the MNIST files beside the checkout")


# ---- a server with bad habits ----


class Server(ThreadingHTTPServer):
    """Serves `files`; requests meet the next of `habits[name]`, then `always[name]`, else the file."""

    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that leaves early is no news

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.habits, self.always, self.requests = {}, {}, {}, []
        self.stalled, self.release = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/").split("?")[0]
        self.server.requests.append(name)
        queue = self.server.habits.get(name, [])
        habit = queue.pop(0) if queue else self.server.always.get(name, whole)
        habit(self, self.server.files.get(name))

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def whole(handler, body):
    handler.answer(404) if body is None else handler.answer(200, body)


def status(code):
    return lambda handler, _: handler.answer(code, b"<html>sorry</html>")


def dropped(handler, body):
    handler.answer(200, body[: len(body) // 2], length=len(body))


def announced_too_long(handler, body):
    handler.answer(200, body, length=10**12)


def endless(handler, body):
    """No Content-Length, and far more bytes than there should be."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(body)


def web_page(handler, _):
    handler.answer(200, b"<!DOCTYPE html><title>Please log in</title>")


def wrong_bytes(handler, body):
    handler.answer(200, body[:-9] + bytes(b ^ 255 for b in body[-9:]))


def in_circles(handler, _):
    handler.answer(302, Location=handler.path.split("?")[0] + f"?{len(handler.server.requests)}")


def labelled_encoded(handler, body):
    """As some servers do for .gz: a file that is gzip, declared to be a gzip encoding of a file."""
    handler.answer(200, body, Content_Encoding="gzip")


def stall(handler, body):
    dropped(handler, body)
    handler.wfile.flush()
    handler.server.stalled.set()
    handler.server.release.wait(30)


def trickle(handler, body):
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while not handler.server.release.wait(0.02):
            handler.wfile.write(b"\x1f")
            handler.wfile.flush()


def dropped_at(part):
    return lambda handler, body: handler.answer(200, body[: int(part * len(body))], length=len(body))


def announced_too_short(handler, body):
    handler.answer(200, body, length=len(body) // 3)


def no_length(handler, body):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(body)


def nothing(handler, _):
    """The connection closes without an answer."""
    handler.close_connection = True


def garbage(handler, _):
    handler.wfile.write(b"\x00\xff no HTTP at all\r\n\r\n" * 9)
    handler.close_connection = True


@pytest.fixture
def servers(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF_S", 0)
    started = []

    def start():
        started.append(Server())
        poll = functools.partial(started[-1].serve_forever, poll_interval=0.01)
        threading.Thread(target=poll, daemon=True).start()
        return started[-1]

    yield start
    for server in started:
        server.release.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(servers):
    return servers()


# ---- small data sets ----


def sha256(data):
    return hashlib.sha256(data).hexdigest()


CONTENTS = {"images.gz": bytes(range(256)) * 40, "labels.gz": b"0123456789" * 5}
GZIPPED = {name: gzip.compress(content) for name, content in CONTENTS.items()}


def gzip_set(*mirrors):
    return download.DataSet(
        name="toy",
        folder="toy",
        mirrors=mirrors,
        downloads={name: len(content) + 1024 for name, content in CONTENTS.items()},
        sha256=sha256(b"listing"),
        contents={name: (len(content), sha256(content)) for name, content in CONTENTS.items()},
    )


def tar_bytes(entries):
    """A .tar.gz of (TarInfo or name, content) pairs; the size of a given TarInfo is left as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


MEMBERS = {"one": b"1" * 900, "two": b"22"}
GOOD_ENTRIES = [(f"toy/{name}", content) for name, content in MEMBERS.items()]
TAR = tar_bytes([*GOOD_ENTRIES, ("toy/readme.html", b"<html>")])


def tar_set(*mirrors, official=TAR):
    return download.DataSet(
        name="toy",
        folder="toy",
        mirrors=mirrors,
        downloads={"toy.tar.gz": 1_000_000},
        sha256=sha256(official),
        members={"one": 1000, "two": 1000},
        skipped={"readme.html": 1000},
    )


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def gzip_server(server):
    server.files.update(GZIPPED)
    return server


@pytest.fixture
def tar_server(server):
    server.files["toy.tar.gz"] = TAR
    return server


# ---- what lands on the disk ----


def test_gzip_files_land_as_they_came_beside_their_record(gzip_server, tmp_path, capsys):
    data_set = gzip_set(gzip_server.url)
    download.ensure(data_set, tmp_path)
    assert names_in(tmp_path) == ["toy"]
    assert names_in(tmp_path / "toy") == ["digests.json", *sorted(GZIPPED)]
    assert {name: (tmp_path / "toy" / name).read_bytes() for name in GZIPPED} == GZIPPED
    assert json.loads((tmp_path / "toy" / "digests.json").read_text()) == {
        "data_set": "toy",
        "source_sha256": data_set.sha256,
        "official": True,
        "files": {name: sha256(data) for name, data in GZIPPED.items()},
    }
    assert capsys.readouterr().out.splitlines()[-1] == f"toy: wrote 2 files in {tmp_path / 'toy'} (official)"


def test_archive_is_unpacked_and_removed(tar_server, tmp_path):
    download.ensure(tar_set(tar_server.url), tmp_path)
    assert names_in(tmp_path) == ["toy"]
    assert names_in(tmp_path / "toy") == ["digests.json", "one", "two"]
    assert {name: (tmp_path / "toy" / name).read_bytes() for name in MEMBERS} == MEMBERS
    record = json.loads((tmp_path / "toy" / "digests.json").read_text())
    assert record["source_sha256"] == sha256(TAR) and record["official"] is True


def test_an_archive_may_name_its_folder(server, tmp_path):
    folder = tarfile.TarInfo("toy")
    folder.type = tarfile.DIRTYPE
    server.files["toy.tar.gz"] = data = tar_bytes([(folder, b""), *GOOD_ENTRIES])
    download.ensure(tar_set(server.url, official=data), tmp_path)
    assert names_in(tmp_path / "toy") == ["digests.json", "one", "two"]


def test_files_are_readable_by_others_and_foreign_ones_stay(gzip_server, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "notes.txt").write_text("mine")
    download.ensure(gzip_set(gzip_server.url), tmp_path)
    assert (tmp_path / "toy" / "notes.txt").read_text() == "mine"
    assert all((tmp_path / "toy" / name).stat().st_mode & 0o044 == 0o044 for name in GZIPPED)


def test_content_decides_for_gzip_files(server, tmp_path):
    server.files.update({name: gzip.compress(content, 1, mtime=7) for name, content in CONTENTS.items()})
    download.ensure(gzip_set(server.url), tmp_path)
    assert json.loads((tmp_path / "toy" / "digests.json").read_text())["official"] is True


# ---- the second call ----


@pytest.mark.parametrize("make", [gzip_set, tar_set])
def test_second_call_verifies_without_network(make, gzip_server, tmp_path, capsys):
    gzip_server.files["toy.tar.gz"] = TAR
    data_set = make(gzip_server.url)
    download.ensure(data_set, tmp_path)
    asked = list(gzip_server.requests)
    capsys.readouterr()
    download.ensure(data_set, tmp_path)
    assert gzip_server.requests == asked
    assert capsys.readouterr().out == f"toy: verified 2 files in {tmp_path / 'toy'} (official)\n"


def test_force_fetches_anew(tar_server, tmp_path):
    download.ensure(tar_set(tar_server.url), tmp_path)
    download.ensure(tar_set(tar_server.url), tmp_path, force=True)
    assert tar_server.requests == ["toy.tar.gz"] * 2


def test_failed_force_leaves_the_data(tar_server, tmp_path):
    download.ensure(tar_set(tar_server.url), tmp_path)
    tar_server.always["toy.tar.gz"] = dropped
    with pytest.raises(download.DownloadError):
        download.ensure(tar_set(tar_server.url), tmp_path, force=True)
    assert download.present(tar_set(), tmp_path / "toy")
    assert names_in(tmp_path) == ["toy"]


def test_half_installed_data_have_no_record(servers, tmp_path, monkeypatch):
    """A crash between the files of a variant and those of the official data."""
    server = servers()
    server.files["toy.tar.gz"] = VARIANT
    download.ensure(tar_set(), tmp_path, mirror=server.url, sha256=sha256(VARIANT))
    server.files["toy.tar.gz"] = TAR
    replace = Path.replace

    def crash_at_the_second(path, target):
        if path.name == "two":
            raise OSError(errno.EIO, "crash")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", crash_at_the_second)
    with pytest.raises(OSError, match="crash"):
        download.ensure(tar_set(server.url), tmp_path, force=True)
    assert names_in(tmp_path / "toy") == ["one", "two"]
    assert download.present(tar_set(), tmp_path / "toy") is None


def flip_a_bit(folder):
    path = folder / "one"
    path.write_bytes(path.read_bytes()[:-1] + b"0")


def cut(folder):
    path = folder / "one"
    path.write_bytes(path.read_bytes()[:100])


DAMAGES = {
    "bit": flip_a_bit,
    "cut": cut,
    "file gone": lambda folder: (folder / "two").unlink(),
    "record gone": lambda folder: (folder / "digests.json").unlink(),
    "record cut": lambda folder: (folder / "digests.json").write_text('{"data_set": "toy", "so'),
    "record empty": lambda folder: (folder / "digests.json").write_text(""),
    "record a list": lambda folder: (folder / "digests.json").write_text("[]"),
    "record bottomless": lambda folder: (folder / "digests.json").write_text("[" * 100_000),
    "record of nothing": lambda folder: (folder / "digests.json").write_text(
        json.dumps({"data_set": "toy", "source_sha256": sha256(TAR), "official": True, "files": {}})
    ),
    "record not text": lambda folder: (folder / "digests.json").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_and_fetched_anew(damage, tar_server, tmp_path, capsys):
    data_set = tar_set(tar_server.url)
    download.ensure(data_set, tmp_path)
    damage(tmp_path / "toy")
    capsys.readouterr()
    download.ensure(data_set, tmp_path)
    first, last = capsys.readouterr().out.splitlines()
    assert "expected" in first and first.endswith("fetching it") and "wrote" in last
    assert {name: (tmp_path / "toy" / name).read_bytes() for name in MEMBERS} == MEMBERS
    assert download.present(data_set, tmp_path / "toy")


def test_a_record_cannot_make_other_content_official(gzip_server, tmp_path):
    data_set = gzip_set(gzip_server.url)
    download.ensure(data_set, tmp_path)
    other = gzip.compress(b"other")
    (tmp_path / "toy" / "labels.gz").write_bytes(other)
    record = json.loads((tmp_path / "toy" / "digests.json").read_text())
    record["files"]["labels.gz"] = sha256(other)
    (tmp_path / "toy" / "digests.json").write_text(json.dumps(record))
    with pytest.raises(download.DamagedError, match="expected 50 bytes of content, received 5"):
        download.verify(data_set, tmp_path / "toy")


def test_a_record_cannot_make_a_variant_official(tar_server, tmp_path):
    download.ensure(tar_set(tar_server.url), tmp_path)
    with pytest.raises(download.DamagedError, match=r"in digests\.json"):
        download.verify(tar_set(official=b"another archive"), tmp_path / "toy")


# ---- mirrors that fail ----


@pytest.mark.parametrize(
    ("habit", "reason"),
    [
        (dropped, r"received ProtocolError|received IncompleteRead"),
        (status(404), "expected HTTP status 200, received 404"),
        (status(500), "received 500, 3 times"),
        (announced_too_long, "received an announcement of 1,000,000,000,000"),
        (endless, r"expected at most .* bytes, received more"),
        (web_page, "expected a gzip file, received one that starts with b'<!DOCTYPE"),
        (wrong_bytes, "received a damaged one|expected content with SHA-256"),
        (in_circles, "expected at most 5 redirects, received more"),
    ],
)
def test_next_mirror_after_a_bad_one(habit, reason, servers, tmp_path, capsys):
    bad, good = servers(), servers()
    for server in (bad, good):
        server.files.update(GZIPPED)
    bad.always = dict.fromkeys(GZIPPED, habit)
    with pytest.raises(download.DownloadError, match=reason):
        download.ensure(gzip_set(bad.url), tmp_path)
    assert not (tmp_path / "toy").exists() and names_in(tmp_path) == []
    download.ensure(gzip_set(bad.url, good.url), tmp_path)
    assert download.present(gzip_set(), tmp_path / "toy")
    assert bad.url in capsys.readouterr().out


def test_the_mirror_that_works_is_asked_first_for_the_next_file(servers, tmp_path):
    bad, good = servers(), servers()
    good.files.update(GZIPPED)
    download.ensure(gzip_set(bad.url, good.url), tmp_path)
    assert bad.requests == ["images.gz"] and good.requests == ["images.gz", "labels.gz"]


@pytest.mark.parametrize("habit", [status(503), status(429), dropped])
def test_passing_trouble_is_tried_again(habit, gzip_server, tmp_path):
    gzip_server.habits["images.gz"] = [habit, habit]
    download.ensure(gzip_set(gzip_server.url), tmp_path)
    assert gzip_server.requests == ["images.gz"] * 3 + ["labels.gz"]


@pytest.mark.parametrize("habit", [status(404), in_circles, announced_too_long])
def test_lasting_trouble_is_not_tried_again(habit, gzip_server, tmp_path):
    gzip_server.always["images.gz"] = habit
    with pytest.raises(download.DownloadError):
        download.ensure(gzip_set(gzip_server.url), tmp_path)
    assert len(gzip_server.requests) == (6 if habit is in_circles else 1)


def test_a_stall_is_left(gzip_server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUTS_S", (0.1, 0.1))
    gzip_server.habits["images.gz"] = [stall]
    download.ensure(gzip_set(gzip_server.url), tmp_path)
    assert gzip_server.requests == ["images.gz", "images.gz", "labels.gz"]


def test_a_trickle_is_left(gzip_server, tmp_path, monkeypatch):
    """Bytes that come often enough for every time-out between two reads, and yet never all."""
    monkeypatch.setattr(download, "TIMEOUTS_S", (1, 0.2))
    monkeypatch.setattr(download, "SLOWEST", 10**6)
    gzip_server.always["labels.gz"] = trickle
    with pytest.raises(
        download.DownloadError, match=r"expected 1,000,000 bytes a second, received \d+ in 0 s, 3 times"
    ):
        download.ensure(gzip_set(gzip_server.url), tmp_path)
    assert gzip_server.requests.count("labels.gz") == 3


# Good and bad habits by name; the last are those of a server that serves.
HABITS = {
    "404": status(404), "500": status(500), "503": status(503), "half": dropped, "circles": in_circles,
    "too long": announced_too_long, "wrong bytes": wrong_bytes, "web page": web_page, "nothing": nothing,
    "garbage": garbage, "too short": announced_too_short, "no length": no_length, "whole": whole,
}  # fmt: skip


@pytest.mark.parametrize("cases", [60, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("make", "files"), [(gzip_set, GZIPPED), (tar_set, {"toy.tar.gz": TAR})], ids=["gzip", "tar"]
)
def test_any_sequence_of_misbehaviour_ends_in_verified_data_or_one_line(
    make, files, cases, servers, tmp_path
):
    rng, outcomes = random.Random(0), set()
    mirrors = [servers(), servers()]
    data_set = make(*(mirror.url for mirror in mirrors))
    for case in range(cases):
        output = tmp_path / str(case)
        output.mkdir()
        for mirror in mirrors:
            mirror.files = files
            drawn = {
                name: [rng.choice([*HABITS.values(), dropped_at(rng.random())]) for _ in range(4)]
                for name in files
            }
            mirror.habits, mirror.always = drawn, {name: habits[-1] for name, habits in drawn.items()}
        try:
            download.ensure(data_set, output)
        except download.DownloadError as error:
            outcomes.add("refused")
            assert len(str(error).splitlines()) == 1
            assert list(output.iterdir()) == []
        else:
            outcomes.add("verified")
        for mirror in mirrors:
            mirror.habits, mirror.always = {}, {}
        download.ensure(data_set, output)
        record = download.verify(data_set, output / data_set.folder)
        assert record["official"]
        assert names_in(output) == [data_set.folder]
    assert outcomes == {"refused", "verified"}


def test_an_encoding_label_on_a_gzip_file_changes_nothing(gzip_server, tmp_path):
    gzip_server.always = dict.fromkeys(GZIPPED, labelled_encoded)
    download.ensure(gzip_set(gzip_server.url), tmp_path)
    assert (tmp_path / "toy" / "images.gz").read_bytes() == GZIPPED["images.gz"]


def test_nobody_listens(servers, tmp_path):
    server = servers()
    server.server_close()
    with pytest.raises(download.DownloadError, match=r"ConnectionRefusedError|NewConnectionError"):
        download.ensure(gzip_set(server.url), tmp_path)


def test_all_mirrors_are_named_with_their_reasons(servers, tmp_path):
    first, second = servers(), servers()
    second.files.update(GZIPPED)
    second.always["images.gz"] = web_page
    with pytest.raises(download.DownloadError) as caught:
        download.ensure(gzip_set(second.url), tmp_path, mirror=first.url.rstrip("/"))
    message = str(caught.value)
    assert f"{first.url}images.gz: expected HTTP status 200, received 404; {second.url}images.gz: " in message


def test_file_mirror_and_its_failures(tmp_path):
    source = tmp_path / "with space"
    source.mkdir()
    with pytest.raises(download.DownloadError, match="received no such file"):
        download.ensure(gzip_set(), tmp_path, mirror=source.as_uri())
    for name, data in GZIPPED.items():
        (source / name).write_bytes(data)
    download.ensure(gzip_set(), tmp_path, mirror=source.as_uri())
    (source / "images.gz").unlink()
    os.mkfifo(source / "images.gz")
    with pytest.raises(download.DownloadError, match="received no such file"):
        download.ensure(gzip_set(), tmp_path, mirror=source.as_uri(), force=True)


# ---- variants ----

VARIANT = tar_bytes([("toy/one", b"uno"), ("toy/two", b"dos")])


def test_another_archive_needs_its_digest(servers, tmp_path, capsys):
    official, mirror = servers(), servers()
    official.files["toy.tar.gz"] = TAR
    mirror.files["toy.tar.gz"] = VARIANT
    data_set = tar_set(official.url)
    with pytest.raises(download.DownloadError) as caught:
        download.ensure(data_set, tmp_path, mirror=mirror.url)
    expectation = f"expected SHA-256 {sha256(TAR)}, received {sha256(VARIANT)}; --sha256 DIGEST accepts"
    assert expectation in str(caught.value) and official.requests == []
    for _ in range(2):
        download.ensure(data_set, tmp_path, mirror=mirror.url, sha256=sha256(VARIANT))
    download.ensure(data_set, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(f"a VARIANT, SHA-256 {sha256(VARIANT)}" in line for line in lines)
    record = json.loads((tmp_path / "toy" / "digests.json").read_text())
    assert record["official"] is False and record["source_sha256"] == sha256(VARIANT)
    assert mirror.requests == ["toy.tar.gz"] * 2 and official.requests == []
    download.ensure(data_set, tmp_path, force=True)
    assert capsys.readouterr().out.endswith("(official)\n")


def test_another_archive_at_a_public_mirror_is_passed_over(servers, tmp_path):
    bad, good = servers(), servers()
    bad.files["toy.tar.gz"], good.files["toy.tar.gz"] = VARIANT, TAR
    download.ensure(tar_set(bad.url, good.url), tmp_path)
    assert download.present(tar_set(), tmp_path / "toy")["official"] is True


def test_a_variant_is_never_looked_for_at_the_public_mirrors(servers, tmp_path):
    official, mirror = servers(), servers()
    official.files["toy.tar.gz"] = VARIANT
    with pytest.raises(download.DownloadError, match="received 404"):
        download.ensure(tar_set(official.url), tmp_path, mirror=mirror.url, sha256=sha256(VARIANT))
    assert official.requests == []


def test_asking_for_a_variant_replaces_the_official_data(servers, tmp_path):
    official, mirror = servers(), servers()
    official.files["toy.tar.gz"], mirror.files["toy.tar.gz"] = TAR, VARIANT
    download.ensure(tar_set(official.url), tmp_path)
    download.ensure(tar_set(official.url), tmp_path, mirror=mirror.url, sha256=sha256(VARIANT))
    assert (tmp_path / "toy" / "one").read_bytes() == b"uno"


# ---- archives that mean harm ----


def entry(name, kind=tarfile.REGTYPE, size=0, target="", **pax):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.pax_headers = kind, size, target, pax
    return info


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "2"}
SPARSE_MAP = b"1\n0\n1\n".ljust(512, b"\0")
BAD_ENTRIES = {  # the entry, its content, what the message says was received
    "absolute": ("/toy/one", b"x", "an entry '/toy/one'"),
    "absolute elsewhere": ("/etc/passwd", b"x", "an entry '/etc/passwd'"),
    "parent": ("toy/../one", b"x", "an entry 'toy/../one'"),
    "far parent": ("../../one", b"x", "an entry '../../one'"),
    "other folder": ("other/one", b"x", "an entry 'other/one'"),
    "other name": ("toy/three", b"x", "an entry 'toy/three'"),
    "line break": ("toy/on\ne", b"x", r"an entry 'toy/on\ne'"),
    "symbolic link": (entry("toy/one", tarfile.SYMTYPE, target="/etc/passwd"), b"", "one as a link"),
    "folder as link": (entry("toy", tarfile.SYMTYPE, target="/etc"), b"", "an entry 'toy'"),
    "hard link": (entry("toy/one", tarfile.LNKTYPE, target="/etc/passwd"), b"", "one as a link"),
    "character device": (entry("toy/one", tarfile.CHRTYPE), b"", "one as a link, device"),
    "block device": (entry("toy/one", tarfile.BLKTYPE), b"", "one as a link, device"),
    "pipe": (entry("toy/one", tarfile.FIFOTYPE), b"", "one as a link, device"),
    "directory": (entry("toy/one", tarfile.DIRTYPE), b"", "one as a link, device or other special"),
    "sparse": (entry("toy/one", size=513, **SPARSE), SPARSE_MAP + b"x", "one as a link, device or other"),
    "too large": ("toy/one", bytes(1001), "one of 1,001 bytes, where 1,000 are the most"),
    "bomb": ("toy/one", bytes(10_000_000), "one of 10,000,000 bytes"),
    "bomb to be skipped": ("toy/readme.html", bytes(10_000_000), "readme.html of 10,000,000 bytes"),
    "bomb in a header": (entry("toy/one", comment="x" * 10_000_000), b"", "more than 1,051,576 bytes"),
    "twice": ("toy/two", b"again", "toy/two twice"),
}


@pytest.mark.parametrize(("bad", "content", "reason"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_bad_archive_is_refused_before_anything_is_written(
    bad, content, reason, server, tmp_path, monkeypatch
):
    good = dict(GOOD_ENTRIES)
    server.files["toy.tar.gz"] = data = tar_bytes(
        [("toy/two", good["toy/two"]), (bad, content), *good.items()]
    )
    monkeypatch.setattr(shutil, "copyfileobj", lambda *_: pytest.fail("something was written"))
    with pytest.raises(download.DownloadError) as caught:
        download.ensure(tar_set(server.url, official=data), tmp_path)
    message = str(caught.value)
    assert message.startswith("toy.tar.gz: expected plain files toy/{one,two}, received " + reason)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tar_bytes(GOOD_ENTRIES[:1]), "received no two"),
        (TAR[: len(TAR) // 2], "end-of-stream|unexpected end"),
        (gzip.compress(b"no tar at all" * 100), "received"),
        (gzip.compress(b""), "received"),
        (TAR[:20] + bytes(20) + TAR[40:], "received"),
    ],
    ids=["member missing", "cut", "no tar", "empty", "garbled"],
)
def test_broken_archive_is_refused(data, reason, server, tmp_path):
    server.files["toy.tar.gz"] = data
    with pytest.raises(download.DownloadError, match=reason):
        download.ensure(tar_set(server.url, official=data), tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("cases", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_any_damage_to_an_archive_writes_its_members_or_nothing(cases, tmp_path):
    """As in a variant whose digest the user accepted; the damage is below the compression, so that it arrives."""
    content, rng, outcomes = gzip.decompress(TAR), np.random.default_rng(0), set()
    data_set = tar_set()
    for case in range(cases):
        stage = tmp_path / str(case) / "stage"
        stage.mkdir(parents=True)
        archive = stage / "toy.tar.gz"
        archive.write_bytes(gzip.compress(corrupted(content, rng), 1))
        try:
            with within(30):
                download.unpack(data_set, archive)
        except download.DownloadError as error:
            assert len(str(error).splitlines()) == 1
            assert names_in(stage) == ["toy.tar.gz"]
            outcomes.add("refused")
        else:
            assert names_in(stage) == ["one", "toy.tar.gz", "two"]
            assert all((stage / name).stat().st_size <= limit for name, limit in data_set.members.items())
            outcomes.add("unpacked")
        assert names_in(stage.parent) == ["stage"]
    assert outcomes == {"refused", "unpacked"}


# ---- as a program ----


def run(*args, cwd=ROOT, script=SCRIPT, **kwargs):
    command = [sys.executable, str(script), *map(str, args)]
    # Should a call ever look for a public mirror, it meets a closed door on this machine.
    env = {**os.environ, "https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, **kwargs)


def fails(result, returncode=1):
    """The one line on stderr of a failed call."""
    assert result.returncode == returncode, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("download.py: error: ")
    return line


CIFAR_VARIANT = tar_bytes(
    [(f"cifar-10-batches-py/{name}", name.encode()) for name in (*download.CIFAR_10.members, "readme.html")]
)
WANT_VARIANT = ("--data_set", "cifar-10", "--sha256", sha256(CIFAR_VARIANT).upper())


@pytest.fixture
def cifar_server(server):
    server.files["cifar-10-python.tar.gz"] = CIFAR_VARIANT
    return server


def test_variant_from_the_command_line(cifar_server, tmp_path):
    options = (*WANT_VARIANT, "--mirror", cifar_server.url, "--output", tmp_path)
    for done in ("wrote", "verified"):
        result = run(*options)
        assert (result.returncode, result.stderr) == (0, "")
        assert f"cifar-10: {done} 7 files" in result.stdout.splitlines()[-1]
        assert f"VARIANT, SHA-256 {sha256(CIFAR_VARIANT)}" in result.stdout
    assert cifar_server.requests == ["cifar-10-python.tar.gz"]
    assert names_in(tmp_path / "cifar-10-batches-py") == sorted([*download.CIFAR_10.members, "digests.json"])


def test_other_archive_in_one_line(cifar_server, tmp_path):
    result = run("--data_set", "cifar-10", "--mirror", cifar_server.url, "--output", tmp_path)
    line = fails(result)
    assert download.CIFAR_10.sha256 in line and sha256(CIFAR_VARIANT) in line and "--sha256 DIGEST" in line


@pytest.mark.parametrize("cwd", [".", "data"])
def test_data_land_beside_the_script_from_any_folder(cwd, cifar_server, tmp_path):
    copy = tmp_path / "data" / "download.py"
    copy.parent.mkdir()
    shutil.copy(SCRIPT, copy)
    script = copy.relative_to(tmp_path / cwd)
    result = run(*WANT_VARIANT, "--mirror", cifar_server.url, cwd=tmp_path / cwd, script=script)
    assert result.returncode == 0, result.stderr
    assert names_in(tmp_path / "data") == ["cifar-10-batches-py", "download.py"]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (
            ["--mirror", "ftp://host/folder"],
            "expected an http://, https:// or file:/// URL, received 'ftp://",
        ),
        (["--mirror", "folder"], "received 'folder'"),
        (["--mirror", "http://"], "received 'http://'"),
        (["--mirror", "file://host/folder"], "received 'file://host"),
        (["--sha256", "abc", "--mirror", "http://x"], "expected 64 hexadecimal digits, received 'abc'"),
        (["--sha256", "0" * 64], "--mirror"),
        (["--sha256", "0" * 64, "--mirror", "http://x", "--data_set", "MNIST"], "received --data_set MNIST"),
        (["--data_set", "svhn"], "svhn"),
    ],
)
def test_bad_command_lines(args, reason):
    assert reason in fails(run(*args), returncode=2)


def test_help_names_every_flag_and_loads_nothing_heavy():
    result = run("--help")
    assert result.returncode == 0
    assert all(f"--{flag}" in result.stdout for flag in ("data_set", "mirror", "sha256", "force", "output"))
    assert result.stdout.count("default:") == 5
    heavy = "{'pooch', 'requests', 'tqdm', 'numpy'}"
    probe = f"import runpy, sys; runpy.run_path(sys.argv[1]); print({heavy} & set(sys.modules))"
    check = subprocess.run(
        [sys.executable, "-c", probe, str(SCRIPT)], capture_output=True, text=True, check=True
    )
    assert check.stdout == "set()\n"


def start_stalled(server, output):
    """A call of the program that hangs in the middle of its download."""
    server.habits["cifar-10-python.tar.gz"] = [stall]
    args = [*WANT_VARIANT, "--mirror", server.url, "--output", str(output)]
    process = subprocess.Popen([sys.executable, str(SCRIPT), *args], stderr=subprocess.PIPE, text=True)
    assert server.stalled.wait(30)
    return process


def test_killed_download_does_not_count_and_is_swept_up(cifar_server, tmp_path):
    process = start_stalled(cifar_server, tmp_path)
    process.kill()
    process.communicate()
    assert names_in(tmp_path) == [".cifar-10-batches-py.partial"]
    assert download.present(download.CIFAR_10, tmp_path / "cifar-10-batches-py") is None
    assert names_in(tmp_path) == []
    assert run(*WANT_VARIANT, "--mirror", cifar_server.url, "--output", tmp_path).returncode == 0
    assert names_in(tmp_path) == ["cifar-10-batches-py"]


def test_half_an_archive_of_a_killed_call_is_not_taken_for_one(cifar_server, tmp_path):
    stage = tmp_path / ".cifar-10-batches-py.partial"
    stage.mkdir()
    (stage / "cifar-10-python.tar.gz").write_bytes(CIFAR_VARIANT[:99])
    options = (*WANT_VARIANT, "--mirror", cifar_server.url, "--output", tmp_path)
    assert run(*options, "--force").returncode == 0
    assert names_in(tmp_path) == ["cifar-10-batches-py"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_in_one_line(cifar_server, tmp_path, number, status):
    process = start_stalled(cifar_server, tmp_path)
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == status
    assert stderr.startswith("download.py: error: ") and stderr.count("\n") == 1
    assert names_in(tmp_path) == []


def test_two_downloads_at_once(cifar_server, tmp_path):
    process = start_stalled(cifar_server, tmp_path)
    try:
        second = run(*WANT_VARIANT, "--mirror", cifar_server.url, "--output", tmp_path)
    finally:
        process.kill()
        process.communicate()
    assert "received one under way" in fails(second)


def test_no_room_on_the_disk(cifar_server, tmp_path):
    """A limit on the size of files stands in for a full disk."""
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100, 100))
    options = (*WANT_VARIANT, "--mirror", cifar_server.url, "--output", tmp_path)
    assert "File too large" in fails(run(*options, preexec_fn=limit))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_failing_disk_is_not_blamed_on_mirrors(code, tar_server, tmp_path, monkeypatch, capsys):
    def sync(path):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(download, "sync", sync)
    monkeypatch.setattr(download, "CIFAR_10", tar_set(tar_server.url))
    monkeypatch.setattr(download, "DATA_SETS", {"cifar-10": download.CIFAR_10})
    assert download.main(["--data_set", "cifar-10", "--output", str(tmp_path)]) == 1
    assert os.strerror(code) in capsys.readouterr().err
    assert names_in(tmp_path) == [] and len(tar_server.requests) == 1


def test_output_that_cannot_be_a_folder(cifar_server, tmp_path):
    (tmp_path / "file").write_text("")
    options = (*WANT_VARIANT, "--mirror", cifar_server.url)
    assert "Not a directory" in fails(run(*options, "--output", tmp_path / "file" / "sub"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(cifar_server, tmp_path):
    tmp_path.chmod(0o555)
    line = fails(run(*WANT_VARIANT, "--mirror", cifar_server.url, "--output", tmp_path))
    assert "Permission denied" in line and cifar_server.requests == []


# ---- the real thing ----


def test_stated_digest_of_mnist_is_that_of_its_listing():
    pairs = sorted(
        (name.removesuffix(".gz"), digest) for name, (_, digest) in download.MNIST.contents.items()
    )
    listing = "".join(f"{digest}  {name}\n" for name, digest in pairs)
    assert download.MNIST.sha256 == sha256(listing.encode())
    assert download.MNIST.downloads.keys() == download.MNIST.contents.keys()


def test_readers_call_the_same_data_official():
    assert {data_set.name: data_set.sha256 for data_set in download.DATA_SETS.values()} == datasets.OFFICIAL


def test_public_mirrors_are_folders_over_https():
    for data_set in download.DATA_SETS.values():
        assert all(url.startswith("https://") and url.endswith("/") for url in data_set.mirrors)
        assert dataclasses.replace(data_set, mirrors=()).stored == data_set.stored


@needs_mnist
def test_real_mnist_from_a_folder_and_again_without_it(tmp_path):
    first = run("--data_set", "MNIST", "--mirror", REAL_MNIST.as_uri(), "--output", tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    again = run("--data_set", "MNIST", "--output", tmp_path)
    assert again.stdout == f"MNIST: verified 4 files in {tmp_path / 'MNIST'} (official)\n"
    damaged = tmp_path / "MNIST" / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    repaired = run("--data_set", "MNIST", "--mirror", REAL_MNIST.as_uri(), "--output", tmp_path)
    assert "t10k-labels-idx1-ubyte.gz: expected SHA-256" in repaired.stdout and repaired.returncode == 0


@needs_mnist
def test_real_mnist_over_http(server, tmp_path):
    server.files = {path.name: path.read_bytes() for path in REAL_MNIST.glob("*.gz")}
    result = run("--data_set", "MNIST", "--mirror", server.url, "--output", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(server.requests) == sorted(download.MNIST.stored)
