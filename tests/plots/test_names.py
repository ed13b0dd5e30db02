"""Names of users in figures: nothing is parsed, dropped or made equal; settings of users do not matter."""

import matplotlib
import numpy as np
import pytest

from bnn import plots
from bnn.plots.names import plain, shortened

NAMES = ["$x_1$", r"a\frac$b$", "_hidden", "x^2_$$", "a" * 30 + "1", "a" * 30 + "2", "new\nline", "caf\udce9"]

LOG = {"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "loss": 1.0, "val_loss": 1.0, "flip_ratio": 0.1}


def test_a_class_name_is_drawn_as_it_is(tmp_path):
    fig = plots.confusion_matrix(np.eye(len(NAMES), dtype=int), NAMES)
    plots.save(fig, tmp_path / "c", ("svg",))
    drawn = (tmp_path / "c.svg").read_text()
    assert all(f">{text}<" in drawn for text in ("$x_1$", r"a\frac$b$", " _hidden", "x^2_$$"))
    ticks = [label.get_text() for label in fig.axes[0].get_xticklabels()]
    assert len(set(ticks)) == len(NAMES)


def test_names_are_told_apart_after_a_cut():
    assert shortened(["a" * 30 + "1", "a" * 30 + "2", "short"], 8) == ["aaaaaa…0", "aaaaaaa…", "short"]
    assert shortened(["a" * 30, "b"], 8) == ["aaaaaaa…", "b"]
    assert plain("caf\udce9") == "caf\ufffd"


@pytest.mark.parametrize("settings", [{"text.usetex": True}, {"font.family": ["fantasy"], "savefig.dpi": 7}])
def test_settings_of_a_user_change_nothing(tmp_path, settings):
    for name, options in (("plain", {}), ("own", settings)):
        with matplotlib.rc_context(options):
            plots.save(plots.training([LOG]), tmp_path / name, ("png",))
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
