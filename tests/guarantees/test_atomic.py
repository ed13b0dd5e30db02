"""Files are replaced in one step, also on disks that are full, read-only or missing; the programs' messages then."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bnn import runs, training
from bnn.console.errors import RunError
from bnn.files import atomic, lock
from bnn.training import Journal
from tests.support import ROOT, assert_refused, call, small_data, start, without_keras

STEPS = 10  # per epoch: 200 images in batches of 20
WRITES = re.compile(
    r"""\.write_(text|bytes)\(|open\([^)]*["'][wax]b?["']|fig\.savefig\(|\bnp\.savez?\((?!content)"""
)
ELSEWHERE = {
    "console/program.py": "standard error",
    "commands/test.py": "a temporary folder",
    **dict.fromkeys(("convert.py", "transfer.py"), "a folder whose files storing.install moves"),
}


def test_content_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.txt"
    atomic.write(path, b"old")
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.name == f".{os.getpid()}.a.txt"
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_every_module_writes_files_in_one_step():
    writers = {
        path.relative_to(ROOT / "bnn").as_posix().removeprefix("datasets/")
        for path in (ROOT / "bnn").rglob("*.py")
        if WRITES.search(path.read_text()) and "atomic" not in path.read_text()
    }
    assert writers == ELSEWHERE.keys()


def test_two_processes_may_write_the_same_file(tmp_path):
    """Such as two analyses of one run, which take no lock."""
    path = tmp_path / "a.txt"
    code = "import sys; from pathlib import Path; from bnn.files import atomic; "
    code += "atomic.write(Path(sys.argv[1]), b'theirs')"
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(b"half of ")
        subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=True, timeout=60)
        assert path.read_bytes() == b"theirs"
        with temporary.open("ab") as file:
            file.write(b"ours")
    assert path.read_bytes() == b"half of ours"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_holder_of_the_lock_uses_the_same_temporary_file_again(tmp_path):
    lock.hold(tmp_path)
    with atomic.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_bytes(b"new")
    assert temporary == tmp_path / ".a.txt"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to find the file of a descriptor")
def test_file_and_name_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    """The order that is safe if the machine crashes: flush the content, rename, flush the directory."""
    calls = []

    def fsync(descriptor, original=os.fsync):
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        original(descriptor)

    def replace(temporary, path, original=Path.replace):
        calls.append("rename")
        original(temporary, path)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    atomic.write(tmp_path / "a.txt", b"new")
    assert calls == [tmp_path / f".{os.getpid()}.a.txt", "rename", tmp_path]


@pytest.mark.parametrize("error", [ValueError("no number"), KeyboardInterrupt()])
def test_an_interrupted_write_keeps_the_old_file_and_leaves_no_other(tmp_path, error):
    path = tmp_path / "a.txt"
    atomic.write(path, b"old")
    with pytest.raises(type(error)), atomic.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_error_of_a_failing_disk_names_the_file(tmp_path):
    path = tmp_path / "a.txt"
    for kept in ("", "; the old file is kept"):
        with pytest.raises(atomic.WriteError) as caught, atomic.replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(errno.EIO, "Input/output error")
        assert str(caught.value) == f"{path}: expected to write it, received Input/output error{kept}"
        path.write_bytes(b"old")


# a disk of one megabyte


@pytest.fixture
def disk(tmp_path):
    """A mounted file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small disk: {error}")  # test_loop.py injects such errors instead
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # lazy: this process still holds its lock there


def fill(disk, room):
    """Fill the disk until only `room` bytes are free, rounded to pages."""
    status = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(status.f_bavail * status.f_frsize - room))


def after_an_epoch(monkeypatch, action):
    """Run an action in the second epoch, before its row and checkpoint are written."""
    original = Journal.on_train_batch_end

    def spied(self, *args, **kwargs):
        if int(self.model.optimizer.iterations) == STEPS + 2:
            action()
        original(self, *args, **kwargs)

    monkeypatch.setattr(Journal, "on_train_batch_end", spied)


@pytest.mark.parametrize(
    ("room", "name"), [(0, "geometry.csv"), (8_192, "best.keras"), (40_960, "last.keras")]
)
def test_a_training_whose_disk_fills_up_keeps_the_last_checkpoint(disk, monkeypatch, room, name):
    data = small_data()
    model, run = start(disk / "run", data, conv=(), log_geometry=1)
    after_an_epoch(monkeypatch, lambda: fill(disk, room))
    message = rf"/{name}: expected to write it, received No space left on device; the old file is kept$"
    with pytest.raises(atomic.WriteError, match=message):
        training.fit(model, run, data)
    assert_as_after_an_epoch(run)


def test_an_interruption_on_a_full_disk_keeps_the_last_checkpoint(disk, monkeypatch):
    data = small_data()
    model, run = start(disk / "run", data, conv=(), log_geometry=1)
    after_an_epoch(monkeypatch, lambda: (fill(disk, 0), signal.raise_signal(signal.SIGTERM)))
    message = rf"/partial-{STEPS + 2}\.npz: expected to write it, received No space left on device$"
    with pytest.raises(atomic.WriteError, match=message):
        training.fit(model, run, data)
    assert_as_after_an_epoch(run)


def assert_as_after_an_epoch(run):
    assert int(run.load_model("last", compiled=True).optimizer.iterations) == STEPS
    assert run.log()[0]["epoch"] == 1
    files = {".lock", "best.keras", "config.json", "geometry.csv", "last.keras", "log.csv"}
    assert {path.name for path in run.folder.iterdir()} == files


def test_a_full_disk_ends_the_programs_in_one_line(trained, disk):
    run = shutil.copytree(trained[0], disk / "run")
    config = json.loads((run / "config.json").read_text())
    config["training"]["epochs"] += 1
    del config["settings_sha256"]
    (run / "config.json").write_text(json.dumps(config))
    checkpoints = {name: (run / name).read_bytes() for name in ("last.keras", "best.keras")}
    fill(disk, 0)
    assert_refused(
        call("train.py", "--resume", run), f"{run}/log.csv: expected to write it, received No space left"
    )
    assert_refused(
        call("analyze.py", run), f"{run}/summary.txt: expected to write it, received No space left"
    )
    assert {name: (run / name).read_bytes() for name in checkpoints} == checkpoints
    assert not (run / "metrics.json").exists() and not list(run.glob("*.png"))


def test_a_read_only_run_is_refused_before_keras_loads(trained, disk, tmp_path):
    run = shutil.copytree(trained[0], disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    refused = call("train.py", "--resume", run, env=without_keras(tmp_path))
    assert_refused(refused, f"{run}: expected a writable directory, received Read-only file system")


# a directory that disappears


@pytest.mark.parametrize(("successor", "received"), [(False, "none"), (True, "another in its place")])
def test_if_its_directory_disappears_a_training_stops_and_does_not_write_into_a_new_one(
    tmp_path, monkeypatch, successor, received
):
    data = small_data()
    model, run = start(tmp_path / "run", data, conv=(), log_geometry=1)

    def replace():
        shutil.rmtree(run.folder)
        if successor:
            shutil.copytree(other.folder, run.folder)

    _, other = start(tmp_path / "other", data, conv=(), seed=5)
    after_an_epoch(monkeypatch, replace)
    with pytest.raises(RunError, match=f"^{run.folder}: expected the run directory .* received {received}$"):
        training.fit(model, run, data)
    if successor:
        assert runs.open_run(run.folder).training.seed == 5
        assert sorted(p.name for p in run.folder.iterdir()) == [".lock", "config.json"]
    else:
        assert not run.folder.exists()
