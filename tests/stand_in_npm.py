"""A program of the name npm for the tests of the downloader, which does what a line of shell tells it."""

import os
import stat
import time
from pathlib import Path

import pytest

# It ends some day even where the tests fail to end it.
STUBBORN = "trap '' TERM; sleep 60 & echo $$ $! > {pids}; for i in $(seq 600); do sleep 0.1; done"


class Npm:
    """Puts programs named npm on the PATH.

    Attributes:
        calls: Path of a file that gets one line per call, the arguments.
        pids: Path of a file for process ids.
    """

    def __init__(self, folder, monkeypatch):
        self.folder, self.calls, self.pids = folder / "bin", folder / "calls", folder / "pids"
        self.folder.mkdir()
        monkeypatch.setenv("PATH", f"{self.folder}:{os.environ['PATH']}")

    def does(self, script):
        """Install an npm that runs a shell script in the folder that it is called in."""
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
        """Install an npm that never ends, does not mind SIGTERM and starts a process."""
        self.does(STUBBORN)

    def started(self):
        """The process ids of an npm that hangs, once it has begun to."""
        for _ in range(1000):
            if self.pids.exists() and len(pids := self.pids.read_text().split()) == 2:
                return [int(pid) for pid in pids]
            time.sleep(0.01)
        raise AssertionError("expected npm to be called, received no call")

    def assert_gone(self):
        """None of the processes is there, but for dead ones that init has not swept up yet."""
        for pid in self.started():
            for _ in range(1000):
                if not alive(pid):
                    break
                time.sleep(0.01)
            assert not alive(pid)


def alive(pid):
    """Whether a process runs."""
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
