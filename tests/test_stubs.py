"""The stubs from which editors and type checkers read the names that packages load when they are first used."""

import ast

import pytest

from tests.support import ROOT

PACKAGE = ROOT / "bnn"


def _call(path):
    """The call of `face` in a package's `__init__`, or None."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return next((call for call in calls if getattr(call.func, "id", None) == "face"), None)


def _homes(call):
    """A dict from each public name to the module, within the package, that it comes from; "" for a module itself."""
    homes = {ast.literal_eval(room): "" for room in call.args[1:]}
    for keyword in call.keywords:
        found = ast.literal_eval(keyword.value)
        for module, names in ({keyword.arg: found} if keyword.arg else found).items():
            homes |= dict.fromkeys(names, module)
    return homes


def _stub(path):
    """The same dict of a stub, whose names are exported: `from .module import name as name`."""
    return {
        alias.asname: node.module or ""
        for node in ast.parse(path.with_suffix(".pyi").read_text()).body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
        if alias.name == alias.asname
    }


FACES = [path for path in sorted(PACKAGE.rglob("__init__.py")) if _call(path)]


@pytest.mark.parametrize("path", FACES, ids=lambda path: path.parent.name)
def test_a_stub_has_the_names_of_its_package(path):
    assert _stub(path) == _homes(_call(path))


def test_every_stub_belongs_to_a_package_that_loads_its_names_on_first_use():
    assert {path.with_suffix(".py") for path in PACKAGE.rglob("*.pyi")} == set(FACES)
    assert len(FACES) >= 9
