"""SIGINT and SIGTERM as requests to stop."""

import signal
import threading

import pytest

from bnn import runs
from bnn.console import Terminated
from bnn.training import Interrupted, StopRequests
from bnn.training.signals import NUMBERS
from tests.support import small_config


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_recorded_and_handlers_are_restored(number):
    before = [signal.getsignal(n) for n in NUMBERS]
    with StopRequests() as requests:
        assert requests.signal is None
        signal.raise_signal(number)
        assert requests.signal == number
    assert [signal.getsignal(n) for n in NUMBERS] == before


def test_a_second_ctrl_c_stops_at_once():
    for number, stop in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)):
        with pytest.raises(KeyboardInterrupt) as raised, StopRequests() as requests:
            signal.raise_signal(signal.SIGINT)
            assert requests.signal == signal.SIGINT
            signal.raise_signal(number)
        assert raised.type is stop


def test_a_handler_that_python_did_not_install_is_replaced_by_the_default(monkeypatch):
    set_handler, seen = signal.signal, []
    monkeypatch.setattr(signal, "signal", lambda number, handler: seen.append(handler))
    with StopRequests():
        pass
    monkeypatch.setattr(signal, "signal", set_handler)
    assert seen[2:] == [signal.SIG_DFL, signal.SIG_DFL]


def test_other_threads_do_not_change_the_handlers():
    before, failed = [signal.getsignal(n) for n in NUMBERS], []

    def enter():
        try:
            with StopRequests() as requests:
                assert [signal.getsignal(n) for n in NUMBERS] == before
            assert requests.signal is None
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not failed


def test_an_interruption_says_how_to_continue(tmp_path):
    stop = Interrupted(runs.Run(tmp_path, small_config(), {}), signal.SIGINT)
    assert str(stop) == f"interrupted; saved {tmp_path}/last.keras; continue with bnn.resume('{tmp_path}')"
