"""Programs in processes forked from one that has loaded Keras, which takes seconds: see warm_server.py."""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = Path(__file__).with_name("warm_server.py")


@functools.cache
def server():
    """The socket of this process's server, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen([sys.executable, str(SERVER)], stdin=theirs, stdout=subprocess.DEVNULL)
    return ours


class Process:
    """A program under way; used as a `subprocess.Popen` is."""

    def __init__(self, arguments, folder, stdout, stderr):
        request = {"arguments": arguments, "folder": str(folder or Path.cwd()), "environment": {**os.environ}}
        self.answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Path(os.devnull).open("rb") as stdin:
            descriptors = [stdin.fileno(), stdout.fileno(), stderr.fileno(), theirs.fileno()]
            socket.send_fds(server(), [json.dumps(request).encode()], descriptors)
        self.pid = int(self.answers.recv(20))
        self.returncode = None

    def wait(self, timeout=None):
        if self.returncode is None:
            self.answers.settimeout(timeout)
            self.returncode = int(self.answers.recv(20))
            self.answers.close()
        return self.returncode

    def send_signal(self, number):
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


class Piped(Process):
    """One whose output is read as it comes, from `stdout` and `stderr`."""

    def __init__(self, arguments, folder=None):
        (stdout, to_stdout), (stderr, to_stderr) = os.pipe(), os.pipe()
        self.stdout, self.stderr = os.fdopen(stdout), os.fdopen(stderr)
        with os.fdopen(to_stdout, "wb") as out, os.fdopen(to_stderr, "wb") as err:
            super().__init__(arguments, folder, out, err)

    def communicate(self, timeout=None):
        """(the rest of standard output, standard error: a few lines), when the program has ended."""
        with self.stdout, self.stderr:
            said = self.stdout.read(), self.stderr.read()
        self.wait(timeout)
        return said


def begin(arguments, folder=None):
    """Start a program: arguments from its path on."""
    return Piped(arguments, folder)


def call(arguments, folder=None, timeout=300):
    """Run a program to its end, as `subprocess.run` does, and as text."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = Process(arguments, folder, stdout, stderr)
        try:
            process.wait(timeout)
        except TimeoutError:
            process.kill()
            raise
        for file in (stdout, stderr):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout.read(), stderr.read())
