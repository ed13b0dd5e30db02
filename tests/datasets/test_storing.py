"""Data sets on the disk: they are verified by their content, and installed completely or not at all."""

import errno
import fcntl
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from bnn.datasets.storing import DataError, install, stage_of, staging, sweep, verify
from bnn.files import atomic
from tests.toy_data_sets import MEMBERS, VARIANT_MEMBERS, names_in, sha256, tar_toy

ENTRY, SOURCE = tar_toy(), "cd" * 32
sets = pytest.mark.parametrize("kind", ["official", "variant"])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "toy"


def put(folder, kind="official"):
    """Install the toy data; return what `install` returns."""
    files = MEMBERS if kind == "official" else VARIANT_MEMBERS
    with staging(folder) as stage:
        for name, content in files.items():
            (stage / name).write_bytes(content)
        return install(ENTRY, stage, folder, "somewhere", SOURCE if kind == "variant" else None)


# ---- verifying ----


@sets
def test_what_is_installed_is_verified(kind, folder):
    stored = put(folder, kind)
    assert verify(ENTRY, folder) == stored
    assert stored.official is (kind == "official")
    assert stored.label == {"official": "official", "variant": f"a VARIANT, SHA-256 {SOURCE}"}[kind]


def test_official_data_need_no_record(folder):
    folder.mkdir()
    for name, content in MEMBERS.items():
        (folder / name).write_bytes(content)
    stored = verify(ENTRY, folder)
    assert stored.official and stored.digest == ENTRY.digest


def test_the_record_says_where_the_data_come_from(folder):
    stored = put(folder, "variant")
    assert json.loads((folder / "digests.json").read_text()) == {
        "data_set": "toy",
        "digest": stored.digest,
        "official": False,
        "source": "somewhere",
        "source_sha256": SOURCE,
        "files": {name: sha256(content) for name, content in VARIANT_MEMBERS.items()},
    }


def test_a_variant_is_also_identified_by_the_digest_of_its_archive(folder):
    stored = put(folder, "variant")
    assert stored.digests == {stored.digest, SOURCE} and ENTRY.digest not in stored.digests


def edit(**changes):
    def damage(folder):
        record = json.loads((folder / "digests.json").read_text())
        (folder / "digests.json").write_text(json.dumps(record | changes))

    return damage


def write(content):
    return lambda folder: (folder / "digests.json").write_bytes(content)


DAMAGES = {
    "bit": lambda folder: (folder / "one").write_bytes((folder / "one").read_bytes()[:-1] + b"0"),
    "truncated": lambda folder: (folder / "one").write_bytes((folder / "one").read_bytes()[:100]),
    "longer": lambda folder: (folder / "one").write_bytes((folder / "one").read_bytes() + b"0"),
    "file missing": lambda folder: (folder / "two").unlink(),
    "folder for a file": lambda folder: ((folder / "two").unlink(), (folder / "two").mkdir()),
}
DAMAGED_RECORDS = {
    "missing": lambda folder: (folder / "digests.json").unlink(),
    "truncated": write(b'{"data_set": "toy", "so'),
    "empty": write(b""),
    "list": write(b"[]"),
    "null": write(b"null"),
    "no keys": write(b"{}"),
    "deeply nested": write(b"[" * 100_000),
    "not text": write(b"\xff\xfe"),
    "no source": edit(source_sha256=None),
    "no files": edit(files={}),
    "list of files": edit(files=[]),
    "numbers": edit(files={"one": 1, "two": 2}),
    "other files": edit(files=dict.fromkeys(MEMBERS, "ab" * 32)),
}


@sets
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_named(kind, damage, folder):
    put(folder, kind)
    damage(folder)
    with pytest.raises(
        DataError, match=r"toy/(one|two): expected SHA-256 \w+, received (\w{64}|no such file)$"
    ):
        verify(ENTRY, folder)


@pytest.mark.parametrize("damage", DAMAGED_RECORDS.values(), ids=DAMAGED_RECORDS)
def test_a_variant_needs_its_record_and_official_data_do_not(damage, folder):
    put(folder, "variant")
    damage(folder)
    with pytest.raises(DataError, match=r"toy/one: expected SHA-256 \w+, received \w{64}$"):
        verify(ENTRY, folder)
    shutil.rmtree(folder)
    put(folder)
    damage(folder)
    assert verify(ENTRY, folder).official


def test_a_record_cannot_make_other_content_official(folder):
    put(folder, "variant")
    edit(official=True, digest=ENTRY.digest, source_sha256=ENTRY.digest)(folder)
    stored = verify(ENTRY, folder)
    assert not stored.official and stored.label.startswith("a VARIANT")


def test_files_that_the_record_does_not_list_are_refused(folder):
    put(folder, "variant")
    (folder / "one").unlink()
    edit(files={"two": sha256(VARIANT_MEMBERS["two"])})(folder)
    with pytest.raises(DataError, match="toy/one: expected SHA-256 None, received no such file"):
        verify(ENTRY, folder)


def test_a_record_cannot_name_files_outside_the_folder(folder, tmp_path):
    (tmp_path / "secret").write_text("secret")
    put(folder, "variant")
    edit(files={"../secret": sha256(b"secret")})(folder)
    with pytest.raises(DataError, match="toy/one: expected"):
        verify(ENTRY, folder)


# ---- installing ----


def test_installed_files_are_readable_by_everyone_and_other_files_are_kept(folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    put(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert all((folder / name).stat().st_mode & 0o044 == 0o044 for name in (*MEMBERS, "digests.json"))
    assert names_in(folder.parent) == ["toy"]


def test_partly_installed_data_are_refused(folder, monkeypatch):
    """Official data replace a variant; the program crashes after the first of two files."""
    put(folder, "variant")
    replace = atomic.replace

    def crash_at_the_second(temporary, path):
        if path.name == "two":
            raise OSError(errno.EIO, "crash")
        replace(temporary, path)

    monkeypatch.setattr(atomic, "replace", crash_at_the_second)
    with pytest.raises(OSError, match="crash"):
        put(folder)
    assert names_in(folder) == ["one", "two"]
    with pytest.raises(DataError, match="toy/two: expected SHA-256"):
        verify(ENTRY, folder)


# ---- staging ----


def test_a_staging_folder_is_beside_the_data_and_is_removed(folder):
    with staging(folder) as stage:
        (stage / "sub").mkdir()
        (stage / "file").write_text("")
        assert stage == stage_of(folder) and stage.parent == folder.parent
    assert names_in(folder.parent) == []


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_staging_folder_is_removed_after_failures(error, folder):
    with pytest.raises(error), staging(folder) as stage:
        (stage / "file").write_text("")
        raise error
    assert names_in(folder.parent) == []


def test_files_left_by_a_killed_download_are_removed(folder, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("")
    stage = stage_of(folder)
    (stage / "npm" / "cache").mkdir(parents=True)
    (stage / "half").write_text("")
    (stage / "link").symlink_to(tmp_path / "precious")
    with staging(folder):
        assert names_in(stage) == []
    stage.mkdir()
    sweep(folder)
    assert names_in(tmp_path) == ["precious"] and names_in(tmp_path / "precious") == ["file"]


def test_a_second_download_into_the_same_folder_is_refused(folder):
    with staging(folder) as stage:
        (stage / "file").write_text("")
        sweep(folder)
        with pytest.raises(DataError) as caught, staging(folder):
            pass
        assert str(caught.value) == f"expected no other download into {folder}, received one that is running"
        assert names_in(stage) == ["file"]


def test_a_lock_on_a_removed_folder_is_not_enough(folder, monkeypatch):
    """The other download removes its folder between our check of the folder and our lock."""
    lock = fcntl.flock

    def late(descriptor, operation):
        stage_of(folder).rmdir()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(DataError, match="received one that is running"), staging(folder):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_one_line_and_no_obstacle(folder, monkeypatch, capsys, code):
    def unsupported(*_):
        raise OSError(code, os.strerror(code))

    stage_of(folder).mkdir(parents=True)
    (stage_of(folder) / "of a killed download").touch()
    monkeypatch.setattr(fcntl, "flock", unsupported)
    sweep(folder)
    with staging(folder) as stage:
        assert names_in(stage) == []
    assert not stage_of(folder).exists()
    assert capsys.readouterr().err == (
        f"{stage_of(folder)}: expected file locks, which prevent a second download into this folder, received "
        f"{os.strerror(code)}; do not start another download there\n"
    )


def hammer(folder, outcomes):
    """Enter the staging folder many times, and check that no other process is in it."""
    for _ in range(300):
        try:
            with staging(Path(folder)) as stage:
                (stage / "mine").touch(exist_ok=False)
                assert names_in(stage) == ["mine"]
            outcomes.put("alone")
        except DataError:
            pass
        except BaseException as error:
            outcomes.put(repr(error))


def test_many_processes_never_share_a_staging_folder(folder):
    context = multiprocessing.get_context("fork")
    outcomes = context.SimpleQueue()
    processes = [context.Process(target=hammer, args=(folder, outcomes)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    received = set()
    while not outcomes.empty():
        received.add(outcomes.get())
    assert received == {"alone"}
