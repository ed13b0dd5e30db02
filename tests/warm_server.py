"""Starts programs by forking, so that Keras is already loaded; warm.py is the client.

The argument is the name of a Unix socket. Each request is a JSON object with arguments, folder and environment, and
four file descriptors: the program's standard input, output and error, and a socket for the answers. The answers are the
process id when the program starts and its exit code when it ends, negative if a signal ended it. The server ends when
its last client ends.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ended_with = None  # the exit code of a program that has ended


@atexit.register  # before all modules that are loaded later, and so called last
def end_without_freeing():
    """End the process at once: to free the memory that it shares with the server, it would first copy it (0.4 s)."""
    if ended_with is not None:
        with contextlib.suppress(OSError, ValueError):  # such an error is for Python to report
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended_with)


def listener(name):
    """Listen at a name without a file; end the process if another server already does."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listening.bind(f"\0{name}")
    except OSError:
        os._exit(0)
    listening.listen()
    return listening


def serve(listening):
    """Accept requests until the last client ends; return one request, in the process that is to run it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for the supervisors
    clients = [listening.accept()[0]]
    while clients:
        ready, *_ = select.select([listening, *clients], [], [])
        for client in set(ready) - {listening}:
            message, descriptors, *_ = socket.recv_fds(client, 1 << 20, 4)
            if not message:
                clients.remove(client)
                client.close()
            elif os.fork() == 0:
                for open_socket in (listening, *clients):
                    open_socket.close()
                return supervised(json.loads(message), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
        if listening in ready:
            clients.append(listening.accept()[0])
    os._exit(0)


def supervised(request, descriptors):
    """Fork again, and report the child's process id and exit code; return in the child."""
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
    """Set the standard files, folder, environment and arguments of the request."""
    *standard, answers = descriptors
    os.close(answers)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # The server's objects were made for its own files, and would treat a pipe as seekable.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]
    sys.path[0] = "" if sys.argv[0] in ("-m", "-c") else str(Path(sys.argv[0]).parent)


def run():
    """Run the arguments like Python: the path of a script, "-m" and a module, or "-c" and code."""
    if sys.argv[0] == "-c":
        exec(sys.argv.pop(1), {"__name__": "__main__"})
    elif sys.argv[0] == "-m":
        module = sys.argv.pop(1)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    requests = listener(sys.argv[1])
    sys.path[0] = str(ROOT)
    from bnn import backend

    backend.load()
    import matplotlib.pyplot  # noqa: F401

    from bnn.analysis import analyze  # noqa: F401
    from bnn.plots import save_all  # noqa: F401
    from bnn.training import train  # noqa: F401

    gc.collect()
    gc.freeze()  # else each program copies most of this memory when it collects garbage, which takes a second
    become(*serve(requests))
    try:
        run()
        ended_with = 0
    except SystemExit as ending:
        ended_with = 0 if ending.code is None else ending.code if isinstance(ending.code, int) else None
        raise
