"""Which part of the package may import which, read from the source: no arrow upward, no circle, no long module."""

import ast
import importlib
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.support import ROOT

GROUND = {"errors", "tables", "console", "faces", "arguments", "suggestions", "quiet", "progress_bars"}
SETTINGS = {"config", "presets", "fields", "estimators", "flags", "optimizers", "backend", "paper"}
MODELS = GROUND | SETTINGS | {"models", "layers", "files", "datasets"}
RUNS = MODELS | {"runs"}
# What a package or module may import besides itself: packages, or single modules of one. The table of design.md.
MAY_IMPORT = {
    "": GROUND,
    "__main__": GROUND,  # commands are loaded by their names
    **{name: set() for name in GROUND},
    "console": {"errors", "progress_bars"},
    "faces": {"quiet"},
    "arguments": {"suggestions"},
    "geometry": GROUND,
    "layers": GROUND | {"optimizers"},
    "bits": GROUND,
    "files": GROUND,
    "datasets": GROUND | {"files"},
    **dict.fromkeys(SETTINGS, GROUND | SETTINGS | {"datasets.catalog"}),
    "models": MODELS,
    "runs": RUNS,
    "analysis": RUNS | {"geometry", "analysis"},
    "packed": RUNS | {"bits", "packed"},
    "training": RUNS | {"analysis.geometry_log", "training"},
    "plots": GROUND | {"geometry", "files"},
    "commands": None,  # everything
}
NUMPY_ALONE = ("geometry", "bits", "files")
MOST_LINES = 300
# Arrows that the table forbids, (from, to): to be mended, and taken out here.
FORBIDDEN = set()


def _modules():
    """Every module of the package: dotted name without "bnn.", "" for the package itself, to its syntax tree."""
    paths = sorted((ROOT / "bnn").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT / "bnn").with_suffix("").parts) for path in paths]
    names = [name.removesuffix("__init__").removesuffix(".") for name in names]
    return {name: ast.parse(path.read_text()) for name, path in zip(names, paths, strict=True)}


MODULES = _modules()
PACKAGES = {name.partition(".")[0] for name in MODULES if "." in name}


def _homes(package):
    """What a package's face shows: name to the module it comes from."""
    homes = {}
    for node in ast.walk(MODULES[package]):
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.asname or alias.name: node.module.removeprefix("bnn.") for alias in node.names}
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "face":
            homes |= {n: f"{package}.{k.arg}" for k in node.keywords for n in ast.literal_eval(k.value)}
    return homes


FACES = {package: _homes(package) for package in PACKAGES}


def _imported(tree):
    """The modules of the package that a syntax tree imports, wherever; names of a face count as their modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "bnn":
                    yield alias.name.removeprefix("bnn").removeprefix(".")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "bnn":
            base = node.module.removeprefix("bnn").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".removeprefix(".")
                yield inner if inner in MODULES else FACES.get(base, {}).get(alias.name, base)


IMPORTS = {name: set(_imported(tree)) - {name, ""} for name, tree in MODULES.items()}


def _room(name):
    return name.partition(".")[0]


def _allowed(name, target):
    may = MAY_IMPORT[_room(name)]
    return may is None or _room(name) == _room(target) or target in may or _room(target) in may


def test_every_room_is_in_the_table():
    assert {_room(name) for name in MODULES} <= set(MAY_IMPORT)


def test_no_arrow_runs_upward():
    found = {
        (name, target)
        for name, targets in IMPORTS.items()
        for target in targets
        if not _allowed(name, target)
    }
    assert found == FORBIDDEN


def test_there_is_no_circle():
    for graph in (
        {name: targets - {_room(name)} for name, targets in IMPORTS.items()},
        {
            room: {_room(t) for n, ts in IMPORTS.items() if _room(n) == room for t in ts} - {room}
            for room in MAY_IMPORT
        },
    ):
        TopologicalSorter(graph).prepare()  # raises `CycleError`


def test_no_module_uses_the_face_of_its_own_package():
    faces = [name for name, targets in IMPORTS.items() if "." in name and _room(name) in targets]
    names = [
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if "." in name
        and isinstance(node, ast.ImportFrom)
        and node.module == f"bnn.{_room(name)}"
        and any(f"{_room(name)}.{alias.name}" not in MODULES for alias in node.names)
    ]
    assert not faces + names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_name_of_a_face_can_be_used_twice(package):
    """A module of the same name as a function would take its place once it is imported."""
    face = importlib.import_module(f"bnn.{package}")
    modules = {name.partition(".")[2] for name in MODULES if _room(name) == package}
    assert not modules & set(FACES[package])
    for name in getattr(face, "__all__", ()):
        assert getattr(face, name) is getattr(face, name)
        home = FACES[package].get(name, package)  # a name that the face itself defines is at home there
        assert getattr(face, name) is getattr(importlib.import_module(f"bnn.{home}"), name)
    with pytest.raises(AttributeError):
        face.nothing_of_this_name  # noqa: B018


def test_packages_are_attributes_that_load_when_they_are_touched():
    code = "import sys, bnn; assert bnn.geometry.angle([0, 1], [1, 1]) < 1; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("package", sorted(PACKAGES & set(NUMPY_ALONE)))
def test_packages_on_arrays_load_no_keras(package):
    loaded = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for name in MODULES
        if _room(name) == package
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {_room(name) for name in loaded} & {"keras", "tensorflow", "jax", "torch", "matplotlib"}


def test_no_module_is_long():
    lengths = {
        name: len((ROOT / "bnn" / name.replace(".", "/")).with_suffix(".py").read_text().splitlines())
        for name in MODULES
        if name and name not in PACKAGES
    }
    assert {name for name, lines in lengths.items() if lines > MOST_LINES} == set()


def test_nobody_imports_a_program():
    programs = {"train", "analyze", "test", "tools", "benchmarks"}
    folders = ("bnn", "tools", "experiments", "benchmarks")
    for path in [*ROOT.glob("*.py"), *(p for f in folders for p in (ROOT / f).rglob("*.py"))]:
        nodes = [
            n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import | ast.ImportFrom)
        ]
        names = {
            _room(n.module or "") if isinstance(n, ast.ImportFrom) else _room(a.name)
            for n in nodes
            for a in n.names
        }
        assert not names & programs, path
