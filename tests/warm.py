"""Runs programs in processes forked from one that has already loaded Keras, which saves seconds: see warm_server.py."""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVER = Path(__file__).with_name("warm_server.py")


@functools.cache
def server():
    """Connect to the server of this test session and return the socket. If no server runs, start one."""
    name = f"bnn-tests-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    started = None
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.suppress(ConnectionRefusedError):
            connection.connect(f"\0{name}")
            return connection
        connection.close()
        if started is None or started.poll() is not None:
            started = subprocess.Popen([sys.executable, str(SERVER), name], stdout=subprocess.DEVNULL)
        time.sleep(0.05)


class Process:
    """A running program, with the interface of `subprocess.Popen`."""

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
    """A running program whose output can be read from `stdout` and `stderr`."""

    def __init__(self, arguments, folder=None):
        (stdout, to_stdout), (stderr, to_stderr) = os.pipe(), os.pipe()
        self.stdout, self.stderr = os.fdopen(stdout), os.fdopen(stderr)
        with os.fdopen(to_stdout, "wb") as out, os.fdopen(to_stderr, "wb") as err:
            super().__init__(arguments, folder, out, err)

    def communicate(self, timeout=None):
        """Wait until the program ends; return (rest of standard output, standard error), the latter of a few lines."""
        with self.stdout, self.stderr:
            said = self.stdout.read(), self.stderr.read()
        self.wait(timeout)
        return said


def begin(arguments, folder=None):
    """Start a program; the first argument is its path."""
    return Piped(arguments, folder)


def call(arguments, folder=None, timeout=300):
    """Run a program to its end, like `subprocess.run` with text=True."""
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
