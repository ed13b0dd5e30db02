"""The index of figures lists all functions, and all functions follow the same convention."""

import importlib
import inspect
import re
import subprocess
import sys

import pytest

from bnn import plots

MODULES = [
    importlib.import_module(f"bnn.plots.{name}")
    for name in (
        "classification",
        "comparison",
        "first_layer",
        "gain",
        "history",
        "kernels",
        "law",
        "products",
        "quantizers",
        "runs",
        "theory",
    )
]
INDEX = {
    name: number
    for number, name in re.findall(
        r"^    (Figs? .*?|section \d|appendix|ternary|-)  +(\w+)  ", plots.__doc__, re.M
    )
}
FIGURES = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
}


def test_the_index_lists_every_figure_and_nothing_else():
    assert set(INDEX) == set(FIGURES)
    assert all(getattr(plots, name) is figure for name, figure in FIGURES.items())
    assert {re.sub(r"\D", "", number[:6]) for number in INDEX.values() if "Fig" in number} == set("2345")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_accepts_axes_and_names_its_number(name):
    figure = FIGURES[name]
    assert inspect.signature(figure).parameters["axes"].default is None
    assert hasattr(figure, "__wrapped__")  # drawn in our style
    number = re.match(r"Fig \d\w?( left| right)?", INDEX[name])
    assert number is None or number[0] in inspect.getdoc(figure)


def test_matplotlib_loads_when_a_figure_is_used():
    code = (
        "import sys, bnn.plots; dir(bnn.plots); print('matplotlib' in sys.modules); "
        "bnn.plots.figure; print(*(name in sys.modules for name in ('matplotlib', 'matplotlib.pyplot', 'keras')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False", "False"]
