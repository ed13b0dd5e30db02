"""Starts programs by forking, so that they find Keras loaded; warm.py is the client.

Requests come through standard input, a Unix socket: a JSON object with arguments, folder and environment, and four
file descriptors, which are the program's standard input, output and error and a socket for answers. These are the
process's number at its start, and at its end its exit code, negative if a signal ended it. The server ends with its
client.
"""

import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def serve(requests):
    """Take requests until there is no client any more; returns in the process that is to do one, with that."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
    while True:
        message, descriptors, *_ = socket.recv_fds(requests, 1 << 20, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            return supervised(json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def supervised(request, descriptors):
    """Fork once more, and tell of that child; returns in the child."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        return request, descriptors
    *standard, answers = descriptors
    for descriptor in (0, *standard):
        os.close(descriptor)
    os.write(answers, str(pid).encode())
    os.write(answers, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def become(request, descriptors):
    """Take over the request's standard files, folder, environment and arguments."""
    *standard, answers = descriptors
    os.close(answers)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # The server's own would take a pipe for a file of its kind, in which one can seek.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]
    sys.path[0] = "" if sys.argv[0] == "-m" else str(Path(sys.argv[0]).parent)


def run():
    """Do what Python does with the arguments: a script's path, or "-m" and a module."""
    if sys.argv[0] == "-m":
        module = sys.argv.pop(1)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from bnn import backend

    backend.load()
    import matplotlib.pyplot  # noqa: F401

    from bnn.analysis import analyze  # noqa: F401
    from bnn.plots import save_all  # noqa: F401
    from bnn.training import train  # noqa: F401

    become(*serve(socket.socket(fileno=os.dup(0))))
    run()
