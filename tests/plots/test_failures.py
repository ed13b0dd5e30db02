"""Figures that cannot be drawn cost nothing that was measured; a bad backend costs no figure."""

import os
import subprocess
import sys

import pytest

from bnn import plots
from bnn.commands import figures
from bnn.console.errors import UserError
from tests.plots.test_names import LOG


def test_an_unknown_backend_is_dropped_before_figures_are_drawn(tmp_path):
    code = f"from bnn import plots; plots.save(plots.training([{LOG}]), {str(tmp_path / 'a')!r}, ('png',))"
    environment = os.environ | {"MPLBACKEND": "no such backend"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert (tmp_path / "a.png").is_file()


def test_a_module_of_figures_can_be_imported_with_an_unknown_backend():
    environment = os.environ | {"MPLBACKEND": "no such backend"}
    subprocess.run([sys.executable, "-c", "import bnn.plots.kernels"], env=environment, check=True)


def test_the_figures_that_can_be_drawn_are_saved_and_the_others_named(tmp_path):
    with (
        pytest.raises(
            UserError, match=r"^figures that could not be drawn: .*training .*; wrote metrics.json$"
        ),
        figures.expected("all", kept="metrics.json"),
    ):
        plots.save_all([], tmp_path, log=[{"epoch": 1}], geometry=[{"layer": "a", "epoch": 1}])
    assert (tmp_path / "geometry_history.png").is_file() and not (tmp_path / "training.png").exists()


def test_any_failure_of_a_figure_is_one_line():
    with (
        pytest.raises(
            UserError, match=r"^figures that could not be drawn: comparison \(KeyError: 'a'\); wrote x$"
        ),
        figures.expected("comparison", kept="x"),
    ):
        {}["a"]
