"""Time limits of a transfer, which are checked outside the thread or process that transfers.

A server can block a reading thread forever where the time limit of a socket does not apply. For example, it can send
one byte per second of a header, a redirect or a chunk extension. Therefore one thread reads, and another thread checks
the time and the number of bytes that have arrived.
"""

import contextlib
import threading
import time
from dataclasses import dataclass, field

CONNECT_S = 5  # limit for one connection
CONNECT_IN_ALL_S = 18  # limit for all failed connections of one call of the program
HEADERS_S = 60  # limit from the start to the end of the headers, including redirects and repeated attempts
PACE_S = 30  # the speed is checked over intervals of this length
SLOWEST = 1000  # bytes per second, the lowest average speed in an interval
TICK_S = 0.05  # time between two checks


class OutOfTimeError(Exception):
    """A transfer has used up its time. The message says what was expected and what was received."""


@dataclass
class Budget:
    """Seconds that may still be spent."""

    left: float

    def spend(self, seconds):
        """Subtract time from the budget."""
        self.left -= seconds


@dataclass
class Transfer:
    """The state of a transfer, which the reading thread shares with the watching thread.

    Attributes:
        connected: bool, whether a server has accepted the connection.
        answered: bool, whether the headers have arrived. The requested bytes follow.
        received: int, the number of requested bytes that have arrived.
        abandoned: bool, whether no thread waits for the transfer any more.
        socket: the socket of the connection, which is shut down when the transfer is abandoned.
    """

    connected: bool = False
    answered: bool = False
    received: int = 0
    abandoned: bool = False
    socket: object = None

    def connect(self, socket):
        """Record that a connection is established."""
        self.connected, self.socket = True, socket
        if self.abandoned:
            self.abandon()

    def abandon(self):
        """End the transfer. A read that waits for the connection returns immediately."""
        self.abandoned = True
        if self.socket is not None:
            with contextlib.suppress(OSError, ValueError):  # it may already be closed
                self.socket.shutdown(2)


@dataclass
class Clock:
    """The time limits of one transfer.

    Attributes:
        transfer: Transfer.
        connecting: Budget of seconds for failed connections, shared by all transfers of a call.
        waiting: Budget of seconds until the headers arrive, shared by all attempts at a source.
    """

    transfer: Transfer
    connecting: Budget
    waiting: Budget
    start: float = field(default_factory=time.monotonic)
    answered_at: float | None = None
    mark: float = 0.0
    marked: int = 0

    def check(self):
        """Raise `OutOfTimeError` if the transfer has used up its time."""
        now = time.monotonic()
        if not self.transfer.connected:
            self._expect(now - self.start, min(CONNECT_S, self.connecting.left), "a connection")
        elif not self.transfer.answered:
            self._expect(now - self.start, self.waiting.left, "an answer")
        else:
            self._expect_pace(now)

    def stop(self):
        """Subtract the time of this transfer from the budgets."""
        spent = (self.answered_at or time.monotonic()) - self.start
        self.waiting.spend(spent)
        if not self.transfer.connected:
            self.connecting.spend(spent)

    @staticmethod
    def _expect(seconds, limit, what):
        if seconds > limit:
            raise OutOfTimeError(f"expected {what} within {max(limit, 0):.0f} s, received none")

    def _expect_pace(self, now):
        if self.answered_at is None:
            self.answered_at = self.mark = now
        elif now - self.mark > PACE_S:
            received = self.transfer.received - self.marked
            if received < SLOWEST * PACE_S:
                raise OutOfTimeError(
                    f"expected at least {SLOWEST:,} bytes per second, received {received:,} bytes in {PACE_S} s"
                )
            self.mark, self.marked = now, self.transfer.received


def watched(read, transfer, clock, show):
    """Run `read()` in a separate thread, within time limits.

    Args:
        read: function without arguments that records its progress in `transfer`.
        transfer: Transfer.
        clock: Clock.
        show: function that is called with the number of bytes received so far.

    Raises:
        OutOfTimeError: the time is used up. The connection is shut down and the thread ends by itself.
        Exception: any error that `read` raises.
    """
    errors = []

    def run():
        try:
            read()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(TICK_S)
            show(transfer.received)
            if thread.is_alive():
                clock.check()
    finally:
        transfer.abandon()
        clock.stop()
    if errors:
        raise errors[0]
