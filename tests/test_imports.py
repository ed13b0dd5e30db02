"""The imports between modules of the package, read from the source, and the length of modules.

A module imports only what the table allows, there are no circular imports, and no module is long.
"""

import ast
import functools
import importlib
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from bnn.lazy_exports import FORMER
from tests.support import ROOT

GROUND = {"console", "lazy_exports"}
MODELS = GROUND | {"backend", "datasets", "files", "layers", "models"}
RUNS = MODELS | {"networks", "runs", "settings"}
# The packages and modules that each package or module may import besides itself.
MAY_IMPORT = {
    "": GROUND,
    "__main__": GROUND,  # commands are loaded by their names
    "console": set(),
    "lazy_exports": set(),
    "backend": GROUND,
    "geometry": GROUND,
    "bits": GROUND,
    "files": GROUND,
    "datasets": GROUND | {"files"},
    "layers": GROUND | {"backend", "bits", "geometry"},
    "networks": GROUND | {"backend", "geometry.estimators", "layers"},
    "settings": GROUND | {"datasets", "files", "geometry.estimators", "networks"},
    "models": MODELS,
    "runs": RUNS,
    "analysis": RUNS | {"bits", "geometry", "packed", "analysis.core", "analysis.keras", "analysis.torch"},
    "analysis.core": GROUND | {"geometry", "files", "datasets.data_set", "models.inputs"},
    "analysis.keras": RUNS | {"geometry", "analysis.core"},
    "analysis.torch": GROUND | {"geometry", "analysis.core", "models.inputs", "models.loading"},
    "binarization": MODELS | {"analysis", "geometry"},
    "packed": MODELS | {"bits"},
    "training": RUNS | {"analysis.keras.geometry_log", "geometry.estimators"},
    "training.sweeps": RUNS | {"training", "analysis"},
    "plots": GROUND | {"geometry", "files"},
    "pages": RUNS | {"analysis", "plots"},
    "commands": None,  # everything
}
NUMPY_ALONE = ("geometry", "bits", "files", "analysis.core")
MOST_LINES = 500
FEWEST_LINES = 40
# Imports (from, to) that the table forbids but that still exist.
FORBIDDEN = set()


PACKAGES = {
    ".".join(path.parent.relative_to(ROOT / "bnn").parts) for path in (ROOT / "bnn").glob("*/**/__init__.py")
}


@functools.cache
def _modules():
    """A dict from each module's dotted name, without "bnn.", to its syntax tree; "" is the package itself."""
    paths = sorted((ROOT / "bnn").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT / "bnn").with_suffix("").parts) for path in paths]
    names = [name.removesuffix("__init__").removesuffix(".") for name in names]
    return {name: ast.parse(path.read_text()) for name, path in zip(names, paths, strict=True)}


@functools.cache
def _homes(package):
    """A dict from each public name of a package to the module that defines it."""
    homes = {}
    for node in ast.walk(_modules()[package]):
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.asname or alias.name: node.module.removeprefix("bnn.") for alias in node.names}
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "face":
            for keyword in node.keywords:
                value = ast.literal_eval(keyword.value)
                rooms = {keyword.arg: value} if keyword.arg else value  # `**{"room.module": names}`
                homes |= {name: f"{package}.{room}" for room, names in rooms.items() for name in names}
    return homes


def _imported(tree):
    """Yield the modules of the package that a syntax tree imports; public names count as the modules defining them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "bnn":
                    yield alias.name.removeprefix("bnn").removeprefix(".")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "bnn":
            base = node.module.removeprefix("bnn").removeprefix(".")
            homes = _homes(base) if base in PACKAGES else {}
            for alias in node.names:
                inner = f"{base}.{alias.name}".removeprefix(".")
                yield inner if inner in _modules() else homes.get(alias.name, base)


@functools.cache
def _imports():
    """A dict from each module's name to the names of the modules that it imports."""
    return {name: set(_imported(tree)) - {name, ""} for name, tree in _modules().items()}


def _root(name):
    return name.partition(".")[0]


def _within(name):
    """The packages around a module, and itself, from the innermost to the outermost."""
    parts = name.split(".")
    return [".".join(parts[:stop]) for stop in range(len(parts), 0, -1)]


def _row(name):
    """The row of the table for a module: its own, or that of the nearest package around it that has one."""
    return next(part for part in _within(name) if part in MAY_IMPORT)


def _allowed(name, target):
    may = MAY_IMPORT[_row(name)]
    return may is None or _row(name) == _row(target) or not may.isdisjoint(_within(target))


def test_every_package_and_module_is_in_the_table():
    assert {_root(name) for name in _modules()} <= set(MAY_IMPORT)


def test_imports_are_allowed_by_the_table():
    found = {
        (name, target)
        for name, targets in _imports().items()
        for target in targets
        if not _allowed(name, target)
    }
    assert found == FORBIDDEN


def test_there_are_no_circular_imports():
    for graph in (
        {name: targets - {_root(name)} for name, targets in _imports().items()},
        {
            top: {_root(t) for n, ts in _imports().items() if _root(n) == top for t in ts} - {top}
            for top in MAY_IMPORT
        },
        {
            row: {_row(t) for n, ts in _imports().items() if _row(n) == row for t in ts} - {row}
            for row in MAY_IMPORT
        },
    ):
        TopologicalSorter(graph).prepare()  # raises `CycleError`


def test_the_package_has_at_most_nine_floors():
    """A package or module stands one floor above the highest one that it imports."""
    graph = {
        top: {_root(t) for name, targets in _imports().items() if _root(name) == top for t in targets} - {top}
        for top in MAY_IMPORT
        if top and "." not in top
    }
    floors = {}
    for top in TopologicalSorter(graph).static_order():
        floors[top] = 1 + max((floors[target] for target in graph[top]), default=0)
    assert max(floors.values()) == floors["commands"] == 9
    assert len(floors) <= 20


def test_no_module_imports_its_own_package():
    packages = [name for name, targets in _imports().items() if "." in name and _root(name) in targets]
    names = [
        name
        for name, tree in _modules().items()
        for node in ast.walk(tree)
        if "." in name
        and isinstance(node, ast.ImportFrom)
        and node.module == f"bnn.{_root(name)}"
        and any(f"{_root(name)}.{alias.name}" not in _modules() for alias in node.names)
    ]
    assert not packages + names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_public_name_can_be_read_repeatedly(package):
    """A module with the name of a function would replace the function when it is imported."""
    imported = importlib.import_module(f"bnn.{package}")
    modules = {name.rpartition(".")[2] for name in _modules() if name.rpartition(".")[0] == package}
    assert not modules & set(_homes(package))
    for name in getattr(imported, "__all__", ()):
        assert getattr(imported, name) is getattr(imported, name)
        home = _homes(package).get(name, package)  # the package itself defines the other names
        assert getattr(imported, name) is getattr(importlib.import_module(f"bnn.{home}"), name)
    with pytest.raises(AttributeError):
        imported.nothing_of_this_name  # noqa: B018


def test_packages_are_attributes_that_load_on_first_use():
    code = "import sys, bnn; assert bnn.geometry.angle([0, 1], [1, 1]) < 1; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


VERBS = {
    "train": "training",
    "resume": "training",
    "open_run": "runs",
    "analyze": "analysis",
    "compare": "analysis",
    "build": "settings",
    "pack": "packed",
    "predict": "analysis.prediction",
}


def test_verbs_are_names_of_the_package_and_load_on_first_use():
    import bnn

    assert set(VERBS) <= set(dir(bnn))
    for verb, package in VERBS.items():
        assert getattr(bnn, verb) is getattr(importlib.import_module(f"bnn.{package}"), verb)
    assert bnn.packed.fold is bnn.pack
    code = "import sys, bnn; bnn.open_run; print({'numpy', 'keras'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "keras" not in done.stdout


@pytest.mark.parametrize("package", sorted(PACKAGES & set(NUMPY_ALONE)))
def test_packages_on_arrays_load_no_keras(package):
    loaded = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for name in _modules()
        if package in _within(name)
        for node in ast.walk(_modules()[name])
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {_root(name) for name in loaded} & {"keras", "tensorflow", "jax", "torch", "matplotlib"}


def test_no_module_is_long_or_one_idea_in_pieces():
    lengths = {
        name: len((ROOT / "bnn" / name.replace(".", "/")).with_suffix(".py").read_text().splitlines())
        for name in _modules()
        if name and name not in PACKAGES
    }
    assert {name for name, lines in lengths.items() if lines > MOST_LINES} == set()
    assert {name for name, lines in lengths.items() if lines < FEWEST_LINES} == {"analysis.paper"}  # data


def test_no_module_imports_a_program():
    programs = {"train", "analyze", "test", "tools", "benchmarks"}
    folders = ("bnn", "tools", "experiments", "benchmarks")
    for path in [*ROOT.glob("*.py"), *(p for f in folders for p in (ROOT / f).rglob("*.py"))]:
        nodes = [
            n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import | ast.ImportFrom)
        ]
        names = {
            _root(n.module or "") if isinstance(n, ast.ImportFrom) else _root(a.name)
            for n in nodes
            for a in n.names
        }
        assert not names & programs, path


def test_former_names_of_modules_still_work():
    import bnn.analysis.torch_modules as former
    import bnn.train_config
    from bnn.config import ModelConfig

    from bnn import config, optimizers
    from bnn.analysis import geometry_log
    from bnn.analysis.keras import geometry_log as present

    assert geometry_log is present and former.find.__module__ == "bnn.analysis.torch.kernels"
    assert ModelConfig is bnn.settings.ModelConfig is config.ModelConfig is bnn.config.ModelConfig
    assert optimizers is bnn.layers.optimizers is bnn.optimizers
    for name, new in FORMER.items():
        module = importlib.import_module(name)
        assert module is importlib.import_module(new)
        assert module.__spec__.name == module.__name__ == new
