"""Time limits of a transfer, kept from outside of the thread or process that transfers.

A server can hold a reading thread for ever in places where no time limit of a socket applies: one byte a second of a
header, a redirect, a chunk's extension. So one thread reads, and another watches the clock and what has arrived.
"""

import contextlib
import threading
import time
from dataclasses import dataclass, field

CONNECT_S = 5  # at most, for one connection
CONNECT_IN_ALL_S = 18  # that one call of the program waits for connections which do not come about
HEADERS_S = 60  # at most, from the start to the end of the headers, redirects and further attempts included
PACE_S = 30  # in each such time, on average at least
SLOWEST = 1000  # bytes per second must arrive
TICK_S = 0.05


class OutOfTimeError(Exception):
    """A transfer used up its time; the message says what was expected and received."""


@dataclass
class Budget:
    """Seconds that may still be spent."""

    left: float

    def spend(self, seconds):
        """Take time from the budget."""
        self.left -= seconds


@dataclass
class Transfer:
    """What a reading thread tells the one that watches it.

    Attributes:
        connected: a server has accepted the connection.
        answered: its headers have come; what follows are the bytes that were asked for.
        received: how many of these have come.
        abandoned: nobody waits for the transfer any more.
        socket: the connection's, to be shut when the transfer is abandoned.
    """

    connected: bool = False
    answered: bool = False
    received: int = 0
    abandoned: bool = False
    socket: object = None

    def connect(self, socket):
        """Note that a connection stands."""
        self.connected, self.socket = True, socket
        if self.abandoned:
            self.abandon()

    def abandon(self):
        """End the transfer: a read that waits on its connection returns at once."""
        self.abandoned = True
        if self.socket is not None:
            with contextlib.suppress(OSError, ValueError):  # it is closed already
                self.socket.shutdown(2)


@dataclass
class Clock:
    """The time limits of one transfer.

    Attributes:
        transfer: Transfer.
        connecting: Budget of seconds for connections that do not come about, shared by all transfers of a call.
        waiting: Budget of seconds until the headers have come, shared by all attempts at a source.
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
        """Take from the budgets what the transfer spent of them."""
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
    """Run `read()` in a thread of its own, within time limits.

    Args:
        read: function without arguments, which notes its progress in `transfer`.
        transfer: Transfer.
        clock: Clock.
        show: function, called with the number of bytes received so far.

    Raises:
        OutOfTimeError: the time is used up; the thread is left to itself, its connection shut.
        Exception: whatever `read` raises.
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
