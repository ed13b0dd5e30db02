"""What is shown during training: lines of 80 columns, and the text beside the progress bar."""

import contextlib
import fcntl
import io
import os
import pty
import struct
import sys
import termios
import threading

import pytest

from bnn import training
from bnn.console.progress_bars import Bar, Lines
from bnn.training import display
from tests.support import small_data, start

ROW = {
    "epoch": 7,
    "loss": 0.01234,
    "accuracy": 0.98765,
    "val_loss": 1.5,
    "val_accuracy": 1.0,
    "flip_ratio": 0.00321,
    "seconds": 12345.678,
}


def test_the_line_of_an_epoch_fits_80_columns_and_is_aligned_with_its_headings():
    line, heading = display.epoch_line(ROW, 100), display.heading(100)
    assert line.split() == ["epoch", "7/100", "0.0123", "0.9877", "1.5000", "1.0000", "0.00321", "12345.7"]
    assert heading.split() == ["loss", "accuracy", "val_loss", "val_accuracy", "flip_ratio", "seconds"]
    assert len(line) == len(heading) <= 80
    ends = [i for i in range(1, len(line) + 1) if line[i : i + 1] in ("", " ") and line[i - 1] != " "]
    assert ends[2:] == [
        i for i in range(1, len(heading) + 1) if heading[i : i + 1] in ("", " ") and heading[i - 1] != " "
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (600, "10 min"), (9000, "2.5 h"), (360_000, "4.2 d")]
)
def test_durations(seconds, text):
    assert display.duration(seconds) == text


def test_the_text_beside_the_bar_gives_speed_means_and_times_left():
    state = {"n": 600, "initial": 100, "total": 1000, "elapsed": 10.0, "rate": None}
    logs = {"loss": 0.21345, "accuracy": 0.8, "other": 1}
    text = display.beside_bar(state, logs, 3, None)  # 50 images/s; 8 s, and 3 more epochs of 20 s
    assert text == "50 images/s  loss 0.213  accuracy 0.800  left 8 s, all 1 min"
    assert display.beside_bar(state, logs, 3, 1000).endswith("left 8 s, all 50 min")
    assert display.beside_bar(state | {"rate": 4.0}, {}, 0, None) == "4 images/s  left 2 min, all 2 min"
    assert display.beside_bar(state | {"n": 100}, {}, 3, 10) == ""


class Terminal:
    """A terminal of 80 columns: write to `stream`; afterwards, `shown` holds the lines."""

    def __enter__(self):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self.stream, self.parts = open(slave, "w"), []  # noqa: PTH123, a descriptor
        self.reader = threading.Thread(target=self._read, args=(master,))
        self.reader.start()
        return self

    def _read(self, master):
        with contextlib.suppress(OSError):  # raised by Linux when the other end is closed
            while part := os.read(master, 1000):
                self.parts.append(part)
        os.close(master)

    def __exit__(self, *_):
        self.stream.close()
        self.reader.join()
        self.shown = b"".join(self.parts).decode().replace("\r", "\n").splitlines()


@pytest.fixture(autouse=True)
def all_steps_are_shown(monkeypatch):
    for kind in (Bar, Lines):
        monkeypatch.setattr(kind, "every_s", 0)
        monkeypatch.setattr(kind, "first_s", 0)


def train(folder, stream, monkeypatch, **settings):
    model, run = start(folder, small_data(), epochs=2, conv=(), **settings)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        training.fit(model, run, small_data())


def assert_every_step_is_shown(lines):
    steps = [line for line in lines if line.startswith("epoch 1/2") and "images/s" in line]
    assert len(steps) == 10
    assert all("loss" in line and "accuracy" in line and ", all " in line for line in steps)
    assert all(len(line) < 80 for line in lines)


def test_a_terminal_shows_a_bar_within_an_epoch(tmp_path, monkeypatch):
    with Terminal() as terminal:
        train(tmp_path / "run", terminal.stream, monkeypatch, log_geometry=1)
    assert_every_step_is_shown(terminal.shown)
    said = [line.split()[0] for line in terminal.shown if line.endswith(" measuring the geometry")]
    assert said == ["start", "epoch", "epoch"]
    assert any(line.endswith("validating") for line in terminal.shown)


def test_without_a_terminal_progress_is_printed_as_lines(tmp_path, monkeypatch):
    stream = io.StringIO()
    train(tmp_path / "run", stream, monkeypatch)
    lines = stream.getvalue().splitlines()
    assert_every_step_is_shown(lines)
    assert lines[1].startswith("epoch 1/2  10%  ") or lines[0].startswith("epoch 1/2  10%  ")
