"""The watchdog that limits the time of a transfer."""

import contextlib
import socket
import time

import pytest

from bnn.datasets import deadline
from bnn.datasets.deadline import Budget, Clock, OutOfTimeError, Transfer, watched


@pytest.fixture(autouse=True)
def short(monkeypatch):
    for name, value in {"CONNECT_S": 0.1, "PACE_S": 0.1, "SLOWEST": 1000, "TICK_S": 0.01}.items():
        monkeypatch.setattr(deadline, name, value)


def watch(read, transfer=None, connecting=None, waiting=None):
    """Run a transfer; return the seconds that it took, and its error, if any."""
    transfer = transfer or Transfer()
    clock = Clock(transfer, connecting or Budget(10), waiting or Budget(0.2))
    begin, message = time.monotonic(), None
    try:
        watched(read, transfer, clock, lambda _: None)
    except OutOfTimeError as error:
        message = str(error)
    return time.monotonic() - begin, message


def sleeper(seconds=2.0):
    return lambda: time.sleep(seconds)


def test_transfers_within_the_limit_are_not_changed():
    seconds, message = watch(sleeper(0.03), Transfer(connected=True), waiting=Budget(5))
    assert message is None and seconds < 1


@pytest.mark.parametrize("error", [ValueError("x"), OSError(28, "full"), SystemExit(3)])
def test_errors_are_passed_on(error):
    def read():
        raise error

    with pytest.raises(type(error)) as caught:
        watch(read)
    assert caught.value is error


def test_a_connection_has_a_time_limit():
    seconds, message = watch(sleeper())
    assert message == "expected a connection within 0 s, received none" and seconds < 1


def test_connections_share_a_budget():
    connecting = Budget(0.25)
    times = [watch(sleeper(), connecting=connecting)[0] for _ in range(5)]
    assert sum(times) < 2 and connecting.left <= 0
    assert times[-1] < times[0]


def test_successful_connections_do_not_use_the_budget():
    connecting, transfer = Budget(0.25), Transfer(connected=True)
    watch(sleeper(0.1), transfer, connecting)
    assert connecting.left == 0.25


def test_an_answer_has_one_time_limit_for_all_attempts():
    waiting = Budget(1)
    assert watch(sleeper(0.3), Transfer(connected=True), waiting=waiting)[1] is None
    assert 0 < waiting.left <= 0.7
    seconds, message = watch(sleeper(), Transfer(connected=True), waiting=waiting)
    assert message.startswith("expected an answer within ") and seconds < 1.5 and waiting.left <= 0


def test_the_time_of_a_body_does_not_count_as_waiting_for_the_answer():
    waiting, transfer = Budget(0.2), Transfer(connected=True, answered=True)

    def read():
        for _ in range(40):
            transfer.received += 10**6
            time.sleep(0.01)

    assert watch(read, transfer, waiting=waiting)[1] is None
    assert waiting.left > 0.1


def test_a_body_has_a_minimal_speed():
    transfer = Transfer(connected=True, answered=True)

    def read():
        while not transfer.abandoned:
            transfer.received += 1
            time.sleep(0.01)

    seconds, message = watch(read, transfer)
    assert message.startswith("expected at least 1,000 bytes per second, received ") and seconds < 2


def test_a_stall_at_the_end_is_detected():
    transfer = Transfer(connected=True, answered=True, received=10**9)
    assert "received 0 bytes in 0.1 s" in watch(sleeper(), transfer)[1]


def test_progress_is_shown():
    shown, transfer = [], Transfer(connected=True, answered=True)

    def read():
        transfer.received = 7
        time.sleep(0.05)

    watched(read, transfer, Clock(transfer, Budget(1), Budget(1)), shown.append)
    assert shown[-1] == 7


@pytest.mark.parametrize("late", [False, True], ids=["connected", "connects late"])
def test_an_abandoned_connection_is_closed(late):
    here, there = socket.socketpair()
    transfer = Transfer()
    with contextlib.closing(here), contextlib.closing(there):
        if late:
            transfer.abandon()
        transfer.connect(here)
        if not late:
            transfer.abandon()
        there.settimeout(1)
        assert there.recv(1) == b""


def test_abandoning_a_closed_connection_is_no_error():
    here, there = socket.socketpair()
    transfer = Transfer()
    transfer.connect(here)
    here.close()
    there.close()
    transfer.abandon()
