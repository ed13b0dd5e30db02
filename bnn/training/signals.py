"""SIGINT and SIGTERM during a training: a request to stop, which waits for the end of a step."""

import signal
import threading
import time

from bnn.console import Terminated

NUMBERS = (signal.SIGINT, signal.SIGTERM)
SAME_S = 1  # a batch system sends SIGTERM to the process and through its parent: within this time it is one request


class Interrupted(Exception):
    """A training was asked to stop, and has saved; `bnn.resume` continues it.

    Attributes:
        run: Run.
        signal: int, SIGINT or SIGTERM.
    """

    def __init__(self, run, number):
        super().__init__(
            f"interrupted; saved {run.checkpoint('last')}; continue with bnn.resume({str(run.folder)!r})"
        )
        self.run, self.signal = run, number


class StopRequests:
    """As a context manager it turns SIGINT and SIGTERM into a request; a second SIGINT or SIGTERM stops at once.

    A SIGTERM within a second of the first one is the same request.

    Only the main thread receives signals; in another one it does nothing.

    Args:
        largest: function from a number to the largest one of all processes that train together; None: there are no
            others.

    Attributes:
        signal: int, the signal that asked to stop, of this process or, after `look`, of any; None: none has.
    """

    def __init__(self, largest=None):
        self.signal = self._received = None
        self._largest = largest

    def look(self):
        """Let all processes know the signal that one of them has received; all call it after the same step."""
        if self._largest is not None:
            self.signal = self._largest(self._received or 0) or None

    def __enter__(self):
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._ask_to_stop) for number in NUMBERS}
        return self

    def __exit__(self, *_):
        for number, handler in self._handlers.items():
            # None: a handler that was not installed from Python, and which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _ask_to_stop(self, number, _):
        if number == self._received == signal.SIGTERM and time.monotonic() < self._same_until:
            return
        if self._received is not None:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        self._received, self._same_until = number, time.monotonic() + SAME_S
        if self._largest is None:
            self.signal = number
