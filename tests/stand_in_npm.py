"""A replacement for npm in the tests of the downloader: a program named npm that runs a given shell script."""

import os
import stat
import time
from pathlib import Path

import pytest

# It ends by itself after a minute, in case a test fails to end it.
STUBBORN = "trap '' TERM; sleep 60 & echo $$ $! > {pids}; for i in $(seq 600); do sleep 0.1; done"


class Npm:
    """Puts programs named npm on the PATH.

    Attributes:
        calls: Path of a file with the arguments of each call, one line per call.
        pids: Path of a file for process ids.
    """

    def __init__(self, folder, monkeypatch):
        self.folder, self.calls, self.pids = folder / "bin", folder / "calls", folder / "pids"
        self.folder.mkdir()
        monkeypatch.setenv("PATH", f"{self.folder}:{os.environ['PATH']}")

    def does(self, script):
        """Install an npm that runs a shell script in the current folder."""
        text = f'#!/bin/sh\necho "$@" >> {self.calls}\n' + script.replace("{pids}", str(self.pids)) + "\n"
        self.write(text.encode())

    def packs(self, content):
        """Install an npm that writes this .tgz file."""
        source = self.folder.parent / "package.tgz"
        source.write_bytes(content)
        self.does(f"cp {source} toy-1.0.0.tgz")

    def write(self, content):
        """Install these bytes as npm."""
        path = self.folder / "npm"
        path.write_bytes(content)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def hangs(self):
        """Install an npm that hangs, ignores SIGTERM and starts another process."""
        self.does(STUBBORN)

    def started(self):
        """Wait until the hanging npm has started; return its process id and that of its child."""
        for _ in range(1000):
            if self.pids.exists() and len(pids := self.pids.read_text().split()) == 2:
                return [int(pid) for pid in pids]
            time.sleep(0.01)
        raise AssertionError("expected npm to be called, received no call")

    def assert_gone(self):
        """Check that none of the processes runs; zombies do not count."""
        for pid in self.started():
            for _ in range(1000):
                if not alive(pid):
                    break
                time.sleep(0.01)
            assert not alive(pid)


def alive(pid):
    """Whether a process is running and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def npm(tmp_path_factory, monkeypatch):
    return Npm(tmp_path_factory.mktemp("npm"), monkeypatch)


@pytest.fixture
def no_npm(tmp_path_factory, monkeypatch):
    """A PATH without npm."""
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
